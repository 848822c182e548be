"""Reading through fsspec, in a process that can be killed: a network, or a disk, may never answer."""

import errno
import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, ParamSpec, TypeVar

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from jobs.catalog.cache import Stand
from jobs.common.audio.decoder import this_decoder
from jobs.common.audio.probe import AudioError
from lake.errors import TryAgainError

P = ParamSpec("P")
T = TypeVar("T")

LIST_DEADLINE_S = 3600.0
"""Seconds that listing all files below a folder may take."""
LOOK_DEADLINE_S = 60.0
"""Seconds that a question about a file may take, besides those for its bytes."""
SLOWEST_BYTES_PER_S = 5e5
"""A network that gives less than this is taken for one that does not answer."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_TELLING = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


def apart(
    fs: fsspec.AbstractFileSystem,
    url: str,
    deadline_s: float,
    function: Callable[P, T],
    *args: P.args,
    **more: P.kwargs,
) -> T:
    """Call a function of this module in this thread's decoder process, which is killed when its deadline is over.

    Parameters
    ----------
    fs
        The file system that it is about; one in this process' memory is asked in this process.
    url
        What it is about, for messages.
    deadline_s
        Seconds that it may take.

    Raises
    ------
    AudioError
        As the function does; of ``problem`` ``timeout`` if it did not end in time, and ``crashed`` if the process
        died of it or the file system raised what is no ``OSError``.
    """
    if isinstance(fs, MemoryFileSystem):
        return function(*args, **more)
    try:
        return this_decoder().call(function, url, deadline_s, *args, **more)
    except AudioError as error:
        if error.problem != "timeout":
            raise
        raise AudioError(
            f"{url}: nothing came within {deadline_s:.0f} s, and reading was stopped. Check the network and the disk.",
            problem="timeout",
        ) from error


def fetch(fs: fsspec.AbstractFileSystem, key: str, url: str, target: str, n_bytes: int | None) -> None:
    """Copy a file to this machine, under a deadline.

    Parameters
    ----------
    fs, key
        The file.
    url
        The file, for messages.
    target
        Path of the copy.
    n_bytes
        Size of the file, if it is known: what it may take depends on it.

    Raises
    ------
    AudioError
        If it cannot be read: ``unreadable``, ``timeout`` or ``crashed``.
    TryAgainError
        If this machine has no room for it.
    """
    deadline_s = LOOK_DEADLINE_S + (n_bytes or 0) / SLOWEST_BYTES_PER_S
    if n_bytes is None:
        deadline_s = LIST_DEADLINE_S
    if not apart(fs, url, deadline_s, get_file, fs, key, url, target):
        raise TryAgainError(
            f"{target}: no room for a copy of {url}. Free {n_bytes or 'some'} bytes there, or let TMPDIR name a "
            "folder that has them, and type the same command again."
        )


def get_file(fs: fsspec.AbstractFileSystem, key: str, url: str, target: str) -> bool:
    """Copy a file and return whether there was room for it; ``AudioError`` if it cannot be read."""
    try:
        fs.get_file(key, target)
    except OSError as error:
        if error.errno in _NO_ROOM:
            return False
        raise _unread(url, error) from error
    return True


def list_files(fs: fsspec.AbstractFileSystem, key: str, url: str) -> dict[str, Stand | None]:
    """Return all files below a folder, or the file itself, with what the listing says of each.

    Raises
    ------
    AudioError
        If any folder cannot be listed. fsspec's own walk passes over those as if they were empty.
    """
    walks = getattr(type(fs), "_find", type(fs).find) in {fsspec.AbstractFileSystem.find, AsyncFileSystem._find}
    try:
        found = _walk(fs, key) if walks else fs.find(key, detail=True)
        if not found and fs.isfile(key):
            found = {key: fs.info(key)}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AudioError(f"{url}: cannot be listed ({_reason(error)}). Check the address and the rights.") from error
    return {str(name): stand_from(info) for name, info in found.items()}


def _walk(fs: fsspec.AbstractFileSystem, key: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    folders, seen = [key], {key.rstrip("/")}
    while folders:
        for info in fs.ls(folders.pop(), detail=True):
            name = str(info["name"]).rstrip("/")
            if info["type"] != "directory":
                found[name] = info
            elif name not in seen:
                seen.add(name)
                folders.append(name)
    return found


def content(fs: fsspec.AbstractFileSystem, key: str, url: str, most_bytes: int) -> bytes:
    """Return the first bytes of a file, no more than ``most_bytes``; ``AudioError`` if it cannot be read."""
    try:
        info = fs.info(key)
        if info.get("type", "file") != "file":
            raise AudioError(f"{url}: expected a file, found a {info['type']}.", problem="not_a_file")
        n_bytes = min(int(info["size"] or 0), most_bytes)
        return bytes(fs.cat_file(key, start=0, end=n_bytes)) if n_bytes else b""
    except OSError as error:
        raise _unread(url, error) from error


def begins_as(fs: fsspec.AbstractFileSystem, key: str, url: str, heads: Collection[bytes]) -> bool:
    """Return whether a file begins with one of these, all of one length or empty; not if it cannot be read."""
    try:
        return apart(fs, url, LOOK_DEADLINE_S, content, fs, key, url, max(map(len, heads))) in heads
    except AudioError:
        return False


def ask_stand(fs: fsspec.AbstractFileSystem, key: str) -> Stand | None:
    """Return what tells that a file was not touched; ``None`` if it is not there, or cannot be told."""
    try:
        info = fs.info(key)
    except OSError:
        return None
    return stand_from(info) or (int(info.get("size") or 0), 0, 0)


def stand_from(info: Mapping[str, Any]) -> Stand | None:
    """Return what fsspec's facts about a file tell of it; ``None`` if they hold no size, or no tag and no time."""
    told = [str(info[key]) for key in _TELLING if info.get(key)]
    if info.get("size") is None or not told:
        return None
    return int(info["size"]), int.from_bytes(hashlib.sha256("|".join(told).encode()).digest()[:7], "big"), 0


def _unread(url: str, error: OSError) -> AudioError:
    return AudioError(f"{url}: cannot be read ({_reason(error)}).")


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
