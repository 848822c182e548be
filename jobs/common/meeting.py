"""Let processes that another launcher started agree on a file to meet through.

All of them see one folder, which only this user can enter. Files of an earlier launch that was killed may still be
there. So process 0 makes a file with a new random name, and each process takes a name only together with the random
word that it has just left there itself.
"""

import json
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Any, Final

from lake.errors import InputError, TryAgainError
from lake.storage import Storage

POLL_S: Final = 0.1


def agree(folder: Path, rank: int, n_ranks: int, patience_s: float) -> tuple[Path, bool]:
    """Return a new, empty file that all processes agree on, and whether all of them are on this host.

    Parameters
    ----------
    folder
        The same for all processes, on a disk that they share; made if it is not there.
    rank, n_ranks
        Number of this process, and of all.
    patience_s
        Seconds to wait for the others.

    Raises
    ------
    InputError
        If the folder is not this user's, or others can enter it.
    TryAgainError
        If another process does not come.
    """
    storage = Storage(str(_private(folder)))
    until_s = time.monotonic() + patience_s
    mine = {"word": secrets.token_hex(16), "host": _host(), "took": ""}
    file, is_one = (
        _offer(storage, mine, n_ranks, until_s) if rank == 0 else _take(storage, mine, rank, n_ranks, until_s)
    )
    return folder / file, is_one


def _offer(storage: Storage, mine: dict[str, str], n_ranks: int, until_s: float) -> tuple[str, bool]:
    """Act as process 0: make the file, offer it until every other process has taken it; return whether all are here."""
    for key in storage.list_keys():
        if not key.startswith("rank-"):
            storage.remove(key)
    file = secrets.token_hex(16)
    os.close(os.open(storage.path(file), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    offered: dict[str, Any] = {}
    while True:
        others = [_read(storage, i) for i in range(1, n_ranks)]
        words = [other.get("word") for other in others]
        missing = [i for i, other in enumerate(others, start=1) if other.get("took") != file]
        one_host = None if missing else all(other.get("host") == mine["host"] for other in others)
        offer = {"file": file, "words": [mine["word"], *words], "one_host": one_host}
        if all(words) and offer != offered:
            offered = offer
            _write(storage, 0, offer)
        if one_host is not None:
            return file, one_host
        _wait(until_s, n_ranks, missing)


def _take(storage: Storage, mine: dict[str, str], rank: int, n_ranks: int, until_s: float) -> tuple[str, bool]:
    """Act as another process: leave a random word, take the file that is offered with it, and wait for the others."""
    _write(storage, rank, mine)
    while True:
        offer = _read(storage, 0)
        if mine["word"] in offer.get("words", []):
            if mine["took"] != offer["file"]:
                mine = {**mine, "took": offer["file"]}
                _write(storage, rank, mine)
            if offer["one_host"] is not None:
                return str(offer["file"]), bool(offer["one_host"])
        _wait(until_s, n_ranks, [0])


def _private(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise InputError(f"{folder}: expected a folder of yours that nobody else can enter. Remove it and try again.")
    return folder


def _read(storage: Storage, rank: int) -> dict[str, Any]:
    text = storage.read_or_none(f"rank-{rank}.json")
    return {} if text is None else dict(json.loads(text))


def _write(storage: Storage, rank: int, content: dict[str, Any]) -> None:
    storage.write(f"rank-{rank}.json", json.dumps(content).encode())


def _wait(until_s: float, n_ranks: int, missing: list[int]) -> None:
    if time.monotonic() > until_s:
        numbers = ", ".join(map(str, missing))
        raise TryAgainError(
            f"of {n_ranks} processes that train together, number {numbers} did not come. See its own message, and "
            "whether all see the lake's folder; then type the same command again."
        )
    time.sleep(POLL_S)


def _host() -> str:
    """Return what identifies this machine since it was started."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''}"
