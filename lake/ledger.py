"""The ledger: one durable line for every block that a run has written, and the run's own record."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lake.errors import StoreError
from lake.grid import Grid
from lake.identity import canonical, content_id, require_same
from lake.layout import safe_name
from lake.names import STATUS
from lake.storage import Storage

RUN_RECORD = "run.json"
GRID_RECORD = "grid.json"
FILES_RECORD = "files.json"
COMMIT_RECORD = "commit.json"
COMMITTING = "committing"
"""There while a finalise writes, and after one that was killed."""
USABLE = (STATUS["ok"], STATUS["partial"])
_HEAVY = ((b'"cells":[', b"]"), (b'"digests":[', b"]"), (b'"index":{', b"}"))
"""What nearly all of a line is made of, and where it ends. No text holds these: its quotation marks are escaped."""


@dataclass(frozen=True)
class Entry:
    """What was written for one block: the shards of one recorder at one place in time.

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


class Ledger:
    """The ledger of one run.

    Parameters
    ----------
    storage
        The folder ``ledgers/<run>``.

    Notes
    -----
    On a local disk a day of a recorder is one file of lines; a line cut short by a crash is not an
    entry, and is cut off before the next one is appended. On an object store, which cannot append, an
    entry is an object until :meth:`compact` joins a day's objects.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def record(self) -> dict[str, Any] | None:
        """Return the run's record, or ``None`` before its first start."""
        data = self.storage.read_or_none(RUN_RECORD)
        return None if data is None else dict(json.loads(data))

    def open_run(self, run: str, wanted: Mapping[str, Any]) -> None:
        """Store a run's record, after checking that the name is not taken by another configuration.

        Parameters
        ----------
        run
            The run's name, for the message.
        wanted
            The record, with ``job``, ``algorithm``, ``config``, ``inputs`` and ``config_id``.

        Raises
        ------
        IdentityError
            If a record with another ``config_id`` is there.
        """
        stored = self.record()
        if stored is not None:
            require_same(run, stored, wanted)
            # The resolved configuration stays as it was first stored: same identity, same bytes.
            wanted = {**wanted, "config": stored["config"], "algorithm": stored["algorithm"]}
        self.storage.write_if_changed(RUN_RECORD, json.dumps(wanted, indent=2, sort_keys=True).encode() + b"\n")

    def grid(self) -> tuple[Grid, list[str]] | None:
        """Return the grid and the order of recorders that the run has settled on, or ``None``."""
        data = self.storage.read_or_none(GRID_RECORD)
        if data is None:
            return None
        record = json.loads(data)
        return Grid(**record["grid"]), list(record["recorders"])

    def settle_grid(self, grid: Grid, recorders: Sequence[str]) -> None:
        """Store the grid and the order of recorders, which every later start of the run keeps."""
        record = {"grid": asdict(grid), "recorders": list(recorders)}
        self.storage.write_if_changed(GRID_RECORD, json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")

    def files(self) -> dict[str, str] | None:
        """Return SHA-256 by key of the files of a run whose output is a folder, or ``None``."""
        data = self.storage.read_or_none(FILES_RECORD)
        return None if data is None else dict(json.loads(data))

    def settle_files(self, files: Mapping[str, str]) -> None:
        """Store the files of a run whose output is a folder; they must stand already."""
        self.storage.write(FILES_RECORD, json.dumps(dict(files), indent=2, sort_keys=True).encode() + b"\n")

    def committed(self) -> tuple[str, dict[str, str]] | None:
        """Return what the last finalise stored: the identity of the shards, and SHA-256 by key of all other files."""
        data = self.storage.read_or_none(COMMIT_RECORD)
        return None if data is None else (json.loads(data)["content_id"], dict(json.loads(data)["files"]))

    def begin_commit(self) -> None:
        """Mark that files beside the shards are being written, so that they may not be those of the last commit."""
        self.storage.write(COMMITTING, b"")

    def end_commit(self) -> None:
        """Take the mark away; the commit's record must stand already."""
        self.storage.remove(COMMITTING)

    def is_committing(self) -> bool:
        """Tell whether a commit is being written, or was not ended."""
        return self.storage.exists(COMMITTING)

    def settle_commit(self, content: str, files: Mapping[str, str]) -> None:
        """Store what a finalise wrote beside the shards; the files must stand already."""
        record = {"content_id": content, "files": dict(files)}
        data = json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"
        self.storage.write_if_changed(COMMIT_RECORD, data)

    def add(self, day: str, entry: Entry) -> None:
        """Append an entry, durably. The files it names must stand already."""
        line = canonical(asdict(entry)) + b"\n"
        folder = safe_name(entry.recorder)
        if self.storage.is_local:
            key = f"{folder}/{day}.jsonl"
            self._mend(key)
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
        days: dict[tuple[str, str], list[str]] = {}
        for key in self.storage.list_keys():
            if key.endswith(".jsonl") and key.count("/") == 1:
                folder, name = key.split("/")
                days.setdefault((folder, name.removesuffix(".jsonl")), []).insert(0, key)
            elif key.endswith(".json") and key.count("/") == 2:
                folder, day, _ = key.split("/")
                days.setdefault((folder, day), []).append(key)
        for (_, day), keys in sorted(days.items()):
            latest: dict[int, Entry] = {}
            for key in keys:
                latest.update({entry.block: entry for entry in self._read(key, light=light)})
            if latest:
                yield next(iter(latest.values())).recorder, day, dict(sorted(latest.items()))

    def day(self, recorder: str, day: str) -> dict[int, Entry]:
        """Return the latest entries of one day of a recorder by block."""
        folder = safe_name(recorder)
        latest: dict[int, Entry] = {}
        joined = f"{folder}/{day}.jsonl"
        keys = [joined] if self.storage.exists(joined) else []
        for key in [*keys, *(key for key in self.storage.list_keys(f"{folder}/{day}") if key.endswith(".json"))]:
            latest.update({entry.block: entry for entry in self._read(key)})
        return dict(sorted(latest.items()))

    def written(self) -> dict[tuple[str, int], Entry]:
        """Return the latest entry of every block by recorder and number, without its cells."""
        return {
            (recorder, block): replace(entry, recordings=[], deployments=[])
            for recorder, _, day in self.entries(light=True)
            for block, entry in day.items()
        }

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
        """Join the objects of each day into one file; nothing to do on a local disk."""
        if self.storage.is_local:
            return
        for recorder, day, latest in list(self.entries()):
            folder = safe_name(recorder)
            objects = [key for key in self.storage.list_keys(f"{folder}/{day}") if key.endswith(".json")]
            if objects:
                lines = b"".join(canonical(asdict(entry)) + b"\n" for entry in latest.values())
                self.storage.write(f"{folder}/{day}.jsonl", lines)
                for key in objects:
                    self.storage.remove(key)

    def _read(self, key: str, *, light: bool = False) -> Iterator[Entry]:
        lines = self.storage.read(key).split(b"\n")
        for line in lines[:-1]:  # what follows the last newline is empty, or was cut short
            try:
                yield Entry(**json.loads(_emptied(line) if light else line))
            except (ValueError, TypeError) as error:
                raise StoreError(
                    f"{self.storage.path(key)}: a line is damaged ({error}). Expected one JSON entry a line. "
                    "Remove the line: its block is then written again."
                ) from error

    def _mend(self, key: str) -> None:
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


def _emptied(line: bytes) -> bytes:
    """Return a line without what is heavy in it, which need not be parsed then."""
    for begin, end in _HEAVY:
        at = line.find(begin)
        if at >= 0:
            at += len(begin)
            line = line[:at] + line[line.index(end, at) :]
    return line


def day_of_block(grid: Grid, cells_per_block: int, block: int) -> str:
    """Return the UTC date that a block belongs to."""
    return grid.day_of(block * cells_per_block)
