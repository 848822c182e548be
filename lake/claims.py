"""Claims: at most one live process works on a share of a run, and one that lost its claim writes nothing more."""

import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from lake.errors import InputError, StoreError, TryAgainError
from lake.records import seal, unseal
from lake.storage import Storage

BEAT_S = 15.0
EXPIRES_S = 60.0
_KEY = re.compile(r"claims/(\d+)of(\d+)\.json$")
Part = tuple[int, int]


@dataclass(frozen=True)
class Claim:
    """The claim of one process on a part of a run; it can be sent to the workers of that process.

    Attributes
    ----------
    storage, key
        Where it is stored: the folder ``ledgers/<run>``, and the key below it.
    run
        The run's name, for the message.
    token
        Random; no other claim has it.
    """

    storage: Storage
    key: str
    run: str
    token: str

    def is_held(self) -> bool:
        """Return whether the stored claim is still this one."""
        return self.token.encode() in (self.storage.read_or_none(self.key) or b"")

    def require(self) -> None:
        """Refuse to go on after another process took the claim over.

        Raises
        ------
        TryAgainError
            If the claim is gone, or another process's.
        """
        if not self.is_held():
            owner = _owner(self.storage, self.key)
            by = f"is now held by {_name(owner)}" if owner else "is gone"
            raise TryAgainError(
                f"run {self.run!r}: the claim of this process ({self.storage.path(self.key)}) {by}: it had shown no "
                f"sign of life for {EXPIRES_S:g} s. Nothing was written after that; wait for the other process, and "
                "type the same command again."
            )


@contextmanager
def claim(storage: Storage, run: str, part: Part, plan: str) -> Iterator[Claim]:
    """Hold the claim on part i of n of a run while the block runs.

    Parameters
    ----------
    storage
        The folder ``ledgers/<run>``.
    run
        The run's name, for the message.
    part
        ``(i, n)``; parts of the same n go side by side, every other combination excludes each other.
    plan
        Digest of the plan, kept in the claim.

    Yields
    ------
    Claim
        To be asked before each write (:meth:`Claim.require`).

    Raises
    ------
    TryAgainError
        If a live process holds a part that excludes this one, or another process took the claim over meanwhile.

    Notes
    -----
    A dead process of this host is no owner. A claim of another host expires when it was seen unchanged for
    :data:`EXPIRES_S` on the monotonic clock of this process: the clocks of two hosts are never compared for that. Its
    owner may only have been suspended; whoever took over has replaced its token, so it stops before it writes again.
    Of two processes that take over at the same instant, the last one to replace the token goes on.
    """
    key, token = f"claims/{part[0]}of{part[1]}.json", uuid.uuid4().hex
    mine = {**_here(), "pid": os.getpid(), "started": _process_start(os.getpid()), "plan": plan, "token": token}
    held = Claim(storage, key, run, token)
    _remove_expired(storage, run, part)
    while not storage.create(key, _beaten(mine)):
        _remove_expired(storage, run, part)
    try:
        _remove_expired(storage, run, part, mine=key)  # another n may have been claimed meanwhile
        stop = threading.Event()
        beat = threading.Thread(target=_beat, args=(held, mine, stop), daemon=True)
        beat.start()
        try:
            yield held
        finally:
            stop.set()
            beat.join()
        held.require()
    finally:
        # The error of a disk that is full or cannot be written is raised already; a claim that stays is soon a dead
        # process's.
        with suppress(OSError, TryAgainError):
            if held.is_held():
                storage.remove(key)


def live_claims(storage: Storage) -> list[dict[str, Any]]:
    """Return the claims of processes that seem alive, each with its ``part``, without waiting for a sign of life."""
    return [
        {**owner, "part": part}
        for key, part in _stored(storage)
        if (owner := _owner(storage, key)) is not None and (_seems_alive(owner) or _was_touched(storage, key, owner))
    ]


def require_free(storage: Storage, run: str, part: Part) -> None:
    """Refuse part i of n of a run where a live process seems to hold a part that excludes it; nothing is written.

    Raises
    ------
    TryAgainError
    """
    for key, other in _stored(storage):
        owner = _owner(storage, key)
        if (other[1] != part[1] or other[0] == part[0]) and owner is not None and _seems_alive(owner):
            raise _owned(run, other, owner)


def _stored(storage: Storage) -> list[tuple[str, Part]]:
    found = ((key, _KEY.match(key)) for key in storage.list_keys("claims"))
    return [(key, (int(match[1]), int(match[2]))) for key, match in found if match]


def _remove_expired(storage: Storage, run: str, part: Part, mine: str = "") -> None:
    """Remove the claims of dead processes that exclude a part; refuse it if one of a live process does."""
    unsure: dict[str, bytes | None] = {}
    for key, other in _stored(storage):
        if key == mine or (other[1] == part[1] and other[0] != part[0]):
            continue
        before, owner = storage.read_or_none(key), _owner(storage, key)
        if owner is None:
            continue
        if _seems_alive(owner):
            raise _owned(run, other, owner)
        if _is_here(owner):
            _remove_if(storage, key, before)
        else:
            unsure[key] = before
    changed = _watch(storage, unsure)
    if changed is not None:
        i, n = (int(number) for number in changed.removeprefix("claims/").removesuffix(".json").split("of"))
        raise _owned(run, (i, n), _owner(storage, changed) or {})
    for key, before in unsure.items():
        _remove_if(storage, key, before)


def _watch(storage: Storage, claims: dict[str, bytes | None]) -> str | None:
    """Return the key of the first claim whose bytes change within :data:`EXPIRES_S`, or ``None``."""
    until = time.monotonic() + EXPIRES_S
    while claims:
        for key, before in claims.items():
            now = storage.read_or_none(key)
            if now is not None and now != before:
                return key
        if time.monotonic() >= until:
            break
        time.sleep(min(1.0, EXPIRES_S / 20))
    return None


def _remove_if(storage: Storage, key: str, data: bytes | None) -> None:
    """Remove a claim that has not changed since it was read."""
    if storage.read_or_none(key) == data:
        storage.remove(key)


def _owned(run: str, part: Part, owner: dict[str, Any]) -> TryAgainError:
    return TryAgainError(
        f"run {run!r}: part {part[0]} of {part[1]} is being worked on by {_name(owner)} (last sign of life "
        f"{owner.get('beat', '?')}). Wait for it, or stop it, and try again."
    )


def _name(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"


def _beat(held: Claim, mine: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(BEAT_S):
        # The process is still alive although the disk is full, or the network gone for a moment.
        with suppress(OSError, TryAgainError):
            if not held.is_held():
                return  # whoever took over is not overwritten; the next write is refused
            held.storage.write(held.key, _beaten(mine))


def _beaten(mine: dict[str, Any]) -> bytes:
    now = time.time()
    return seal({**mine, "beat": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"), "beat_s": now})


def _owner(storage: Storage, key: str) -> dict[str, Any] | None:
    """Return the content of a claim, ``None`` if there is none; a damaged one has no content."""
    try:
        data = storage.read(key)
        if not data:  # just created, on a disk where that takes two steps
            return {"beat_s": storage.fs.modified(storage.path(key)).timestamp()}
        return unseal(data, storage.path(key))
    except FileNotFoundError:
        return None
    except (StoreError, InputError):
        return {}


def _seems_alive(owner: dict[str, Any]) -> bool:
    """Return whether an owner is alive for sure, if it is of this host; else, whether its last beat is recent."""
    try:
        if _is_here(owner):
            pid = int(owner["pid"])
            return psutil.pid_exists(pid) and abs(_process_start(pid) - float(owner["started"])) < 1
        return abs(time.time() - float(owner.get("beat_s", 0))) < EXPIRES_S
    except (KeyError, TypeError, ValueError):
        return False


def _was_touched(storage: Storage, key: str, owner: dict[str, Any]) -> bool:
    """Return whether another host's claim was written within :data:`EXPIRES_S` by the clock of the file system."""
    if _is_here(owner):
        return False
    with suppress(OSError):
        return bool(abs(time.time() - storage.fs.modified(storage.path(key)).timestamp()) < EXPIRES_S)
    return False


def _is_here(owner: dict[str, Any]) -> bool:
    return {name: owner.get(name) for name in ("host", "pids")} == _here()


def _here() -> dict[str, str]:
    """Return where a process number has its meaning: a container has numbers of its own."""
    namespace = Path("/proc/self/ns/pid")
    return {"host": socket.gethostname(), "pids": str(namespace.readlink()) if namespace.exists() else ""}


def _process_start(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0
