"""Recordings that are there more than once: the same bytes again, or the same samples in another format."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

NO_SOUND = frozenset({"all_zero", "constant", "near_silent"})
"""Codes of recordings whose bytes say nothing about where and when they were made."""
NOT_USED = frozenset({"duplicate", "same_sound"})

Row = dict[str, Any]


def mark_copies(rows: Sequence[Row]) -> None:
    """Add ``duplicate``, and ``start_disputed``, to rows of a table of recordings.

    Parameters
    ----------
    rows
        Rows by path. Of recordings with the same bytes, the first is used and the others are ``duplicate``. If one of
        them has another start than the first, both say ``start_disputed``. Silent recordings of other starts or
        recorders are no copies: a dead microphone gives the same bytes every time.
    """
    first_of: dict[object, Row] = {}
    for row in rows:
        if not row.get("reading"):
            continue
        is_soundless = bool(NO_SOUND & codes_of(row)) and _start(row) is not None
        key = (row["sha256"], row["recorder"], _start(row)) if is_soundless else row["sha256"]
        first = first_of.setdefault(key, row)
        if first is row:
            continue
        add_code(row, "duplicate")
        if None not in {_start(row), _start(first)} and _start(row) != _start(first):
            add_code(row, "start_disputed")
            add_code(first, "start_disputed")


def alike(rows: Sequence[Row]) -> list[list[int]]:
    """Return groups of rows that may hold the same sound: one recorder, one second, one length, other bytes.

    Recordings without a time are compared with those of the same name before the suffix. The recording that is kept
    if they are the same, a WAV before other formats, comes first in its group.
    """
    groups: dict[object, list[int]] = {}
    for i, row in enumerate(rows):
        if not row.get("reading") or NOT_USED & codes_of(row):
            continue
        start = _start(row)
        when = start.replace(microsecond=0) if start is not None else str(row["path"]).rpartition(".")[0]
        shape = (row["n_samples"], row["n_channels"], row["sample_rate_hz"])
        groups.setdefault((row["recorder"], when, *shape), []).append(i)
    found = [group for group in groups.values() if len({rows[i]["sha256"] for i in group}) > 1]
    return [sorted(group, key=lambda i: (not str(rows[i]["format"]).startswith("WAV"), i)) for group in found]


def mark_same_sound(rows: Sequence[Row], groups: Iterable[Sequence[int]], sounds: Mapping[int, str]) -> None:
    """Add ``same_sound`` to rows whose samples, by their digest, are those of a row before them in their group."""
    for group in groups:
        seen: set[str] = set()
        for i in group:
            sound = sounds.get(i, "")
            if sound and sound in seen:
                add_code(rows[i], "same_sound")
            seen.add(sound)


def codes_of(row: Mapping[str, Any]) -> set[str]:
    """Return the codes of a row."""
    return {code for code in str(row["problems"]).split(";") if code}


def add_code(row: Row, code: str) -> None:
    """Add a code to a row, once."""
    if code not in codes_of(row):
        row["problems"] = ";".join(filter(None, [str(row["problems"]), code]))


def _start(row: Mapping[str, Any]) -> datetime | None:
    start: datetime | None = row.get("start_utc") or row.get("start_local")
    return start
