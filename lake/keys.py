"""Keys: the paths of files below a root, which never lead out of it."""

import re

from lake.errors import StoreError

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
