"""Cache of the facts found in files, kept with the table, so that an unchanged file is read once.

One file of JSON lines: a header, then a line for each file examined, appended as they are done. A line that was not
written to its end is not read. A file is unchanged while its path, size, time of change and inode are.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jobs.catalog.config import ALGORITHM
from jobs.catalog.examine import FileFacts
from jobs.catalog.headers import HeaderFacts
from jobs.common.audio.probe import AudioInfo, decoder_versions
from lake.errors import StoreError
from lake.records import seal, unseal
from lake.storage import Storage

Stand = tuple[int, int, int]
"""Bytes, time of the last change in nanoseconds, and inode of a file (0 where there is none)."""
Known = dict[str, tuple[Stand, FileFacts]]
"""Facts about files, by path."""


def header() -> str:
    """Return the first line: what is known holds for one algorithm and the same decoders."""
    return json.dumps({"dawnchorus": "catalog cache", "algorithm": ALGORITHM, "decoders": decoder_versions()})


def read_cache(path: Path) -> Known:
    """Return what is known; nothing if there is no cache, or another release or other decoders made it."""
    try:
        first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return {}
    return dict(_parsed(lines[:-1])) if first == header() else {}


def is_cache(path: Path) -> bool:
    """Return whether a file is a cache, of whatever release; an empty one is one that was just begun."""
    try:
        with path.open("rb") as file:
            return file.readline().startswith((b'{"dawnchorus": "catalog cache"', b"\n")) or not path.stat().st_size
    except OSError:
        return False


def append_cache(path: Path, found: Iterable[tuple[str, Stand, FileFacts]]) -> None:
    """Add lines to a cache, whole; ``TryAgainError`` if the disk is full."""
    lines = [_line(*entry) for entry in found]
    if lines:
        Storage(path.parent).append(path.name, ("\n".join(lines) + "\n").encode())


def write_cache(path: Path, known: Mapping[str, tuple[Stand, FileFacts]]) -> None:
    """Write a cache anew, in place of what stood there."""
    lines = [header(), *(_line(key, *known[key]) for key in sorted(known))]
    Storage(path.parent).write(path.name, ("\n".join(lines) + "\n").encode())


def _line(key: str, stand: Stand, facts: FileFacts) -> str:
    told = asdict(facts)
    told["header"] = {name: _plain(value) for name, value in told["header"].items() if value not in {None, ""}}
    told = {name: value for name, value in told.items() if value}
    return seal({"path": key, "file": stand, "facts": told}).decode().removesuffix("\n")


def _parsed(lines: Iterable[str]) -> Iterable[tuple[str, tuple[Stand, FileFacts]]]:
    for line in lines:
        try:
            if line.startswith("["):  # of format 1, without a checksum
                key, stand, told = json.loads(line)
            else:
                key, stand, told = (unseal(line.encode(), "")[name] for name in ("path", "file", "facts"))
            n_bytes, mtime_ns, inode = stand
            yield key, ((n_bytes, mtime_ns, inode), _facts(told))
        except (ValueError, TypeError, KeyError, StoreError):
            continue  # a line that two processes, a power cut or a disk left damaged: its file is examined again


def _facts(told: dict[str, Any]) -> FileFacts:
    audio = told.pop("audio", None)
    told["audio"] = AudioInfo(**(audio | {"problems": tuple(audio["problems"])})) if audio else None
    said = told.pop("header", {})
    if "start" in said:
        said["start"] = datetime.fromisoformat(said["start"])
    if "offset" in said:
        said["offset"] = timedelta(seconds=said["offset"])
    return FileFacts(**(told | {"problems": tuple(told.get("problems", ())), "header": HeaderFacts(**said)}))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value
