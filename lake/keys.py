"""Keys: the paths of files below a root, which never lead out of it."""

import re

from lake.errors import StoreError

_CHUNK = re.compile(r"([^/]+)/(?:c\.)?(\d+(?:\.\d+)*)")
_DISK = re.compile(r"[A-Za-z]:[/\\]|[/\\]")


def outward(path: str) -> str:
    r"""Return why a path could lead out of the folder that it is below; empty if it cannot.

    Notes
    -----
    Both slashes part a path, whatever the system: a store that was made on one is read on another. So ``a\..\..\b``
    could, and ``C:\a``. A path that leads out and in again could as well.
    """
    if not path:
        return "it is empty"
    if "\0" in path:
        return "it holds a NUL"
    if _DISK.match(path):
        return "it begins at the root of a disk"
    return "it leads out of a folder (..)" if ".." in re.split(r"[/\\]", path) else ""


def chunk_of(key: str) -> tuple[str, tuple[int, ...]]:
    """Return the array and the position of the chunk or shard that a key of a store is of; ``("", ())`` if of none."""
    found = _CHUNK.fullmatch(key)
    return ("", ()) if found is None else (found[1], tuple(map(int, found[2].split("."))))


def inside(path: str, place: str) -> str:
    """Return a path that leads nowhere out of its root; ``place`` says, for the message, whose path it is.

    Raises
    ------
    StoreError
        If it could lead out.
    """
    problem = outward(path)
    if problem:
        raise StoreError(
            f"{place}: expected a path below a folder, found {path!r}: {problem}. Nothing was read or written there. "
            "No release of dawnchorus writes such a path: ask where this lake comes from."
        )
    return path
