"""Claims: at most one live process works on a share of a run."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from lake.errors import TryAgainError
from lake.storage import Storage

BEAT_S = 15.0
EXPIRES_S = 60.0


@contextmanager
def claim(storage: Storage, run: str, part: tuple[int, int], plan: str) -> Iterator[None]:
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

    Raises
    ------
    TryAgainError
        If a live process holds a part that excludes this one. A dead process of this host is no
        owner, nor one of another host that has not beaten for a minute.
    """
    key = f"claims/{part[0]}of{part[1]}.json"
    mine = {**_here(), "pid": os.getpid(), "started": _process_start(os.getpid()), "plan": plan}
    require_free(storage, run, part)
    while not storage.create(key, _beaten(mine)):
        require_free(storage, run, part)
        _take_over(storage, key)
    try:
        require_free(storage, run, part, mine=mine)  # another n may have been claimed meanwhile
        stop = threading.Event()
        beat = threading.Thread(target=_beat, args=(storage, key, mine, stop), daemon=True)
        beat.start()
        try:
            yield
        finally:
            stop.set()
            beat.join()
    finally:
        # A disk that is full or cannot be written is told of already; a claim that stays is a dead process's soon.
        with suppress(OSError, TryAgainError):
            storage.remove(key)


def live_claims(storage: Storage) -> list[dict[str, Any]]:
    """Return the claims of live processes, each with its ``part``."""
    found = []
    for key in storage.list_keys("claims"):
        if not key.endswith(".json"):
            continue
        owner = _owner(storage, key)
        if owner is None:
            continue
        i, n = key.removeprefix("claims/").removesuffix(".json").split("of")
        if _is_alive(owner):
            found.append({**owner, "part": (int(i), int(n))})
    return found


def require_free(storage: Storage, run: str, part: tuple[int, int], mine: dict[str, Any] | None = None) -> None:
    """Refuse part i of n of a run where a live process other than ``mine`` holds a part that excludes it.

    Raises
    ------
    TryAgainError
    """
    for owner in live_claims(storage):
        is_mine = mine is not None and all(owner.get(name) == mine[name] for name in ("host", "pids", "pid", "started"))
        beside = owner["part"][1] == part[1] and owner["part"][0] != part[0]
        if not is_mine and not beside:
            i, n = owner["part"]
            raise TryAgainError(
                f"run {run!r}: part {i} of {n} is being worked on by process {owner.get('pid', '?')} on "
                f"{owner.get('host', '?')} (last sign of life {owner.get('beat', '?')}). Wait for it, or stop it, "
                "and try again."
            )


def _take_over(storage: Storage, key: str) -> None:
    """Remove the claim of a dead owner, if no other process has done so and claimed it meanwhile."""
    if not storage.create(f"{key}.takeover", b""):
        with suppress(FileNotFoundError):  # the other one is through
            age_s = time.time() - storage.fs.modified(storage.path(f"{key}.takeover")).timestamp()
            if age_s > EXPIRES_S:  # whoever took over died in these few lines
                storage.remove(f"{key}.takeover")
        time.sleep(0.05)
        return
    owner = _owner(storage, key)
    if owner is not None and not _is_alive(owner):
        storage.remove(key)
    storage.remove(f"{key}.takeover")


def _beat(storage: Storage, key: str, mine: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(BEAT_S):
        # Who works on is still alive although the disk is full, or the network gone for a moment.
        with suppress(OSError, TryAgainError):
            storage.write(key, _beaten(mine))


def _beaten(mine: dict[str, Any]) -> bytes:
    now = time.time()
    text = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    return json.dumps({**mine, "beat": text, "beat_s": now}).encode()


def _owner(storage: Storage, key: str) -> dict[str, Any] | None:
    """Return what a claim says of its owner, or ``None`` if there is none."""
    try:
        text = storage.read(key)
        if not text:  # just created, on a disk where that takes two steps
            return {"beat_s": storage.fs.modified(storage.path(key)).timestamp()}
        return dict(json.loads(text))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def _is_alive(owner: dict[str, Any]) -> bool:
    if {name: owner.get(name) for name in ("host", "pids")} == _here():
        pid = int(owner["pid"])
        return psutil.pid_exists(pid) and abs(_process_start(pid) - float(owner["started"])) < 1
    return time.time() - float(owner.get("beat_s", 0)) < EXPIRES_S


def _here() -> dict[str, str]:
    """Return where a process number has its meaning: a container has numbers of its own."""
    namespace = Path("/proc/self/ns/pid")
    return {"host": socket.gethostname(), "pids": str(namespace.readlink()) if namespace.exists() else ""}


def _process_start(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0
