"""The ledger: one durable line for every block that a run has written."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lake.constants import STATUS
from lake.entries import Entry, read_lines
from lake.grid import Grid
from lake.identity import content_id
from lake.layout import safe_name
from lake.records import checksum, seal
from lake.run_records import CHECKPOINTS, COMMIT_RECORD, RunRecords

__all__ = ["Entry", "Ledger", "day_of_block"]

USABLE = (STATUS["ok"], STATUS["partial"])

_LINES = re.compile(r"[^/]+/[^/]+\.jsonl|[^/]+/[^/]+/\d+\.json")
"""Files of lines, and objects that hold one each; claims on checkpoints lie as deep, and are named otherwise."""
_STATUS_OF_DAY = re.compile(r"status/c\.(\d+)\.(\d+)$")
"""The file that a status variable has of one recorder's day."""


class Ledger(RunRecords):
    """The ledger of one run.

    Parameters
    ----------
    storage
        The folder ``ledgers/<run>``.
    held
        The claim of the process that writes; it is looked at before each write.

    Notes
    -----
    On a local disk a day of a recorder is one file of lines; a line cut short by a crash is not an
    entry, and is cut off before the next one is appended. On an object store, which cannot append, an
    entry is an object until :meth:`compact` joins a day's objects. Every line and record carries a checksum
    (:mod:`lake.records`); those of format 1, which have none, are read, and stay as they are.
    """

    def settle_commit(self, content: str, files: Mapping[str, str]) -> None:
        """Store what a finalise wrote other than shards, which must exist already, and how long the ledger is."""
        record = {"content_id": content, "files": dict(files), "ledger": self._lengths()}
        self._settle(COMMIT_RECORD, record, indent=1)

    def lost(self) -> list[str]:
        """Return one line for each file of lines that is not what it was at the last finalise, with more at its end.

        Only bytes are compared, nothing is parsed. A commit of format 1 does not say how long the files were: then
        each day that has index variables must have lines.
        """
        commit = self._commit()
        if commit is None:
            return []
        lengths = commit["ledger"] if "ledger" in commit else dict.fromkeys(self._days_of(commit["files"]), (1, ""))
        wrong = []
        for key, (n_bytes, digest) in sorted(lengths.items()):
            data = self.storage.read_or_none(key)
            if data is None:
                wrong.append(f"{self.storage.path(key)}: expected lines of the last finalise, found no file")
            elif len(data) < n_bytes:
                found = f"found {len(data)}" if data else "found it empty"
                wrong.append(f"{self.storage.path(key)}: expected {n_bytes} bytes at least, {found}")
            elif digest and checksum(memoryview(data)[:n_bytes]) != digest:
                wrong.append(f"{self.storage.path(key)}: its first {n_bytes} bytes changed since the last finalise")
        return wrong

    def _days_of(self, files: Iterable[str]) -> set[str]:
        """Return the keys of the files of lines of the days that a store has index variables of."""
        settled = self.grid()
        found = [match for match in map(_STATUS_OF_DAY.search, files) if match]
        if settled is None or not self.storage.is_local:
            return set()
        grid, recorders = settled
        days = [(int(match[1]), grid.day_of(int(match[2]) * grid.cells_per_day)) for match in found]
        return {f"{safe_name(recorders[i])}/{day}.jsonl" for i, day in days if i < len(recorders)}

    def _lengths(self) -> dict[str, tuple[int, str]]:
        """Return bytes and checksum of each file of lines: nothing in it changes any more, it only grows."""
        found = {}
        for key in self.line_files():
            if key.endswith(".jsonl"):
                data = self.storage.read(key)
                data = data[: data.rfind(b"\n") + 1]  # a line that was cut short will be removed
                found[key] = (len(data), checksum(data))
        return found

    def line_files(self) -> list[str]:
        """Return the keys of the files of lines, and of the objects that hold one each."""
        return [key for key in self.storage.list_keys() if _LINES.fullmatch(key)]

    def checkpoint_keys(self) -> list[str]:
        """Return the keys of checkpoints, and of claims on them; a recorder may have the name of their folder."""
        return [key for key in self.storage.list_keys(CHECKPOINTS) if not _LINES.fullmatch(key)]

    def remove_checkpoints(self) -> None:
        """Remove them, and what killed processes left half-written; nobody else may be writing any."""
        self.require_claim()
        for key in self.checkpoint_keys():
            self.storage.remove(key)
        self.storage.below(CHECKPOINTS).remove_unfinished()

    def add(self, day: str, entry: Entry) -> None:
        """Append an entry, durably. The files it names must stand already.

        Raises
        ------
        TryAgainError
            If the claim is lost, or the disk is full.
        """
        self.require_claim()
        line = seal(vars(entry))
        folder = safe_name(entry.recorder)
        if self.storage.is_local:
            key = f"{folder}/{day}.jsonl"
            self._cut_off_torn_line(key)
            self.storage.append(key, line)
        else:
            self.storage.write(f"{folder}/{day}/{entry.block}.json", line)

    def entries(self, *, light: bool = False) -> Iterator[tuple[str, str, dict[int, Entry]]]:
        """Yield recorder, day and the day's latest entries by block, sorted by recorder and day.

        Parameters
        ----------
        light
            Leave out ``cells``, ``digests`` and ``index``, which are nearly all of an entry's bytes.
        """
        for day, keys in self.days():
            latest = self.latest(keys, light=light)
            if latest:
                yield next(iter(latest.values())).recorder, day, latest

    def days(self) -> list[tuple[str, list[str]]]:
        """Return the days that have lines, with the keys of those, sorted by recorder and day."""
        days: dict[tuple[str, str], list[str]] = {}
        for key in self.line_files():
            folder, day, *_ = key.removesuffix(".jsonl").split("/")
            keys = days.setdefault((folder, day), [])
            keys.insert(0 if key.endswith(".jsonl") else len(keys), key)
        return [(day, keys) for (_, day), keys in sorted(days.items())]

    def latest(self, keys: Iterable[str], *, light: bool = False) -> dict[int, Entry]:
        """Return the latest entries in files of lines by block, the later file's before the earlier's.

        Raises
        ------
        StoreError
            If a line is damaged.
        """
        latest: dict[int, Entry] = {}
        for key in keys:
            entries = self._entries_of(key, self.storage.read(key), light=light)
            latest.update({entry.block: entry for entry in entries})
        return dict(sorted(latest.items()))

    def day(self, recorder: str, day: str) -> dict[int, Entry]:
        """Return the latest entries of one day of a recorder by block."""
        folder = safe_name(recorder)
        joined = f"{folder}/{day}.jsonl"
        keys = [joined] if self.storage.exists(joined) else []
        return self.latest([*keys, *(k for k in self.storage.list_keys(f"{folder}/{day}") if k.endswith(".json"))])

    def written(self) -> dict[tuple[str, int], Entry]:
        """Return the latest entry of every block by recorder and number, without its cells."""
        return {
            (recorder, block): replace(entry, recordings=[], deployments=[])
            for recorder, _, day in self.entries(light=True)
            for block, entry in day.items()
        }

    def content(self) -> str:
        """Return the identity of what was written, ``content_id``."""
        digests = [item for entry in self.written().values() for item in entry.files.items()]
        return content_id([*(self.files() or {}).items(), *digests])

    def summary(self) -> dict[str, Any]:
        """Return what receipts say of what was written.

        Returns
        -------
        dict
            ``content_id``, its identity; ``n_windows``, those that can be used; ``problems``, the problem by path of
            each recording of which something could not be read.
        """
        digests = list((self.files() or {}).items())
        problems: dict[str, str] = {}
        n_windows = 0
        for _, _, day in self.entries():
            for entry in day.values():
                digests += entry.files.items()
                problems.update(entry.problems)
                n_windows += sum(
                    value in USABLE
                    for name, column in entry.index.items()
                    if name.endswith("status")
                    for value in column
                )
        return {"content_id": content_id(digests), "n_windows": n_windows, "problems": dict(sorted(problems.items()))}

    def compact(self) -> None:
        """Append the objects of each day to its one file; nothing to do on a local disk."""
        if self.storage.is_local:
            return
        self.require_claim()
        days: dict[str, list[str]] = {}
        for key in self.line_files():
            if key.endswith(".json"):
                days.setdefault(f"{key.rpartition('/')[0]}.jsonl", []).append(key)
        for joined, objects in days.items():
            found = [self.storage.read(key) for key in objects]
            for key, data in zip(objects, found, strict=True):
                self._entries_of(key, data)  # a damaged object is refused, not carried on
            before = self.storage.read_or_none(joined) or b""
            self.storage.write(joined, before + b"".join(found))
            for key in objects:
                self.storage.remove(key)

    def _entries_of(self, key: str, data: bytes, *, light: bool = False) -> list[Entry]:
        """Return the entries in the bytes of a file of lines, or of an object that holds one."""
        return [*read_lines(data, self.storage.path(key), key.partition("/")[0], light=light)]

    def _cut_off_torn_line(self, key: str) -> None:
        """Cut off a line that a crash left without its end; looks at the last byte alone where all is well."""
        path = Path(self.storage.path(key))
        if not path.exists() or path.stat().st_size == 0:
            return
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) == b"\n":
                return
        data = self.storage.read(key)
        self.storage.write(key, data[: data.rfind(b"\n") + 1])


def day_of_block(grid: Grid, cells_per_block: int, block: int) -> str:
    """Return the UTC date that a block belongs to."""
    return grid.day_of(block * cells_per_block)
