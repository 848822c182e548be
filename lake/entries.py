"""The lines of a ledger: one entry for each block that a run has written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lake.layout import safe_name
from lake.records import check, damaged, is_sealed, parse

LINE_ADVICE = "Restore the file from a copy; or remove the line and type `dawnchorus run`: its block is written again."
_HEAVY = ((b'"cells":[', b"]"), (b'"digests":[', b"]"), (b'"index":{', b"}"))
"""Start and end of the large fields of a line. No JSON string contains these: its quotation marks are escaped."""


class Index(dict[str, list[Any]]):
    """Values of index variables by name; one that is not there is damage, as of a line of another run's ledger."""

    where = "a ledger"

    def __missing__(self, name: str) -> list[Any]:
        """Raise ``StoreError`` with the line."""
        raise damaged(self.where, f"expected values of {name!r}, found those of {', '.join(self)}", LINE_ADVICE)


@dataclass(frozen=True)
class Entry:
    """A ledger entry: the shards of one recorder over one span of time.

    Attributes
    ----------
    recorder, block
        Recorder name and shard number along time.
    inputs
        Digest of what went into the block; another one means that the block has to be written again.
    files
        SHA-256 of each file by its key below the store.
    cells
        Cells that are not missing.
    digests
        Digest of each cell's decoded values, in the order of ``cells``.
    index
        Value of each index variable for each of ``cells``; ``recording`` and ``deployment`` number the
        rows of ``recordings`` and ``deployments`` of this entry.
    recordings, deployments
        Table rows that this entry refers to.
    counts
        What was counted on the way, such as levels that had to be clamped.
    backend
        What computed the numbers, such as ``cpu-AVX2``.
    problems
        Problem by path of each recording of which something could not be read.
    """

    recorder: str
    block: int
    inputs: str
    files: Mapping[str, str]
    cells: list[int]
    digests: list[str]
    index: Mapping[str, list[Any]]
    recordings: list[dict[str, Any]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    backend: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)


_FIELDS = {one.name for one in fields(Entry)}
_NEEDED: dict[str, type] = {
    "recorder": str, "block": int, "inputs": str, "files": dict, "cells": list, "digests": list, "index": dict,
}  # fmt: skip


def read_lines(data: bytes, where: str, folder: str, *, light: bool = False) -> Iterator[Entry]:
    """Yield the entries of a file of lines after checking each line.

    Parameters
    ----------
    data, where
        The file's bytes, and its path for messages.
    folder
        Folder of the ledger that it is in: its recorder's name as a path component.
    light
        Leave out ``cells``, ``digests`` and ``index``, which are nearly all of an entry's bytes.

    Raises
    ------
    StoreError
        If a line is damaged, or of another recorder.
    """
    *lines, rest = data.split(b"\n")  # the rest is empty, or was cut short
    if rest and is_sealed(rest[:-1]):
        raise damaged(f"{where}, line {len(lines) + 1}", "expected a newline at its end", LINE_ADVICE)
    for number, line in enumerate(lines, 1):
        place = f"{where}, line {number}"
        check(line, place, LINE_ADVICE)
        values = parse(_emptied(line) if light else line, place, LINE_ADVICE)
        if values.keys() - _FIELDS or not all(isinstance(values.get(key), kind) for key, kind in _NEEDED.items()):
            what = f"expected {', '.join(sorted(_NEEDED))}, found {', '.join(sorted(values)) or 'nothing'}"
            raise damaged(place, what, LINE_ADVICE)
        if safe_name(str(values["recorder"])) != folder:
            raise damaged(place, f"an entry of the recorder {values['recorder']!r}", LINE_ADVICE)
        index = Index(values.pop("index"))
        index.where = place
        yield Entry(**values, index=index)


def _emptied(line: bytes) -> bytes:
    """Return a line without what is heavy in it, which need not be parsed then."""
    for begin, end in _HEAVY:
        at = line.find(begin)
        if at >= 0:
            at += len(begin)
            line = line[:at] + line[max(line.find(end, at), at) :]
    return line
