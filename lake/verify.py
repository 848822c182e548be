"""Comparing what a run has written with its ledger, and the ledger with its receipts."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import zarr
import zarr.storage
from numpy.typing import NDArray

from lake.constants import STORES
from lake.digest import cell_digest, sha256
from lake.errors import InputError, StoreError
from lake.grid import Grid, iso
from lake.identity import content_id
from lake.keys import outward
from lake.ledger import Entry, Ledger
from lake.receipts import read_receipt
from lake.run_records import GRID_RECORD, UNFINISHED
from lake.storage import Storage
from lake.whole import losses, require_grid

DATA_ARRAYS = {
    "spectrograms": ("spectrogram",),
    "embeddings": ("embedding",),
    "clusters": ("cluster", "distance"),
    "detections": ("score", "probability"),
}
"""Arrays whose shards the ledger lists, in the order that a cell's digest takes them."""
OPTIONAL_ARRAYS = ("attention",)
"""Index variables that follow these, in stores that have them."""
ROWS = {
    "recording": ("recordings", "sha256", "recording_sha256"),
    "deployment": ("deployments", "deployment", "deployment_name"),
}
"""For an index variable of row numbers: the entry's rows, their key, and the store's table of that key."""
_OF_LEDGER = re.compile(
    r"(run|grid|files|others|commit|superseded)\.json|unfinished|committing|(claims|\.checkpoints|\.meeting)/.*"
    r"|[^/]+/[^/]+\.jsonl|[^/]+/[^/]+/\d+\.json"
)
GROWN = "it has grown since its last finalise: files other than its shards were not compared; type `dawnchorus run`"
Index = Mapping[str, tuple[zarr.Array[Any], NDArray[Any] | None]]
"""The array of each index variable, and for row numbers the values of the table that they count."""
Read = Callable[[str, int, NDArray[np.int64]], NDArray[Any]]
"""From the name of an index variable, the number of a recorder and cells, to the stored values of these."""
_ANY = (RuntimeError, ValueError, TypeError, LookupError, OSError, ArithmeticError, AttributeError, StoreError)
"""Errors that codecs, zarr and our readers raise about bytes that they cannot decode."""


def damages(output: Storage, ledger: Ledger, kind: str, receipts: Storage | None = None) -> Iterator[str]:
    """Yield one line for each file that is not what the ledger says, and for each damaged record; raises nothing.

    Parameters
    ----------
        output, ledger
            A run's output and its ledger.
        kind
            Folder of the lake that the output is in.
        receipts
            The folder ``receipts/<run>``; without it nothing is known to be finished.

    Notes
    -----
        Where a shard still decodes, the windows whose values changed are named by recorder and time; of an index
    variable the recorder and the day. Files other than the shards are compared as the last finalise left them, and not
    at all while a store has grown since (:func:`compared` says so); that a ledger lost lines is no growth.
    """
    yield from _Check(output, ledger, kind, receipts).lines()


def compared(
    output: Storage, ledger: Ledger, kind: str, receipts: Storage | None = None
) -> tuple[list[str], list[str]]:
    """Return the lines of :func:`damages`, and what was not compared or named and why it is no damage."""
    check = _Check(output, ledger, kind, receipts)
    return list(check.lines()), check.notes


def n_files(ledger: Ledger) -> int:
    """Return how many files a ledger lists; those of damaged records are not counted."""
    n = 0
    for read in (ledger.files, ledger.others, ledger.superseded, lambda: (ledger.committed() or ("", {}))[1]):
        try:
            n += len(read() or {})
        except (StoreError, InputError):
            continue
    for _, keys in ledger.days():
        try:
            n += sum(len(entry.files) for entry in ledger.latest(keys, light=True).values())
        except (StoreError, InputError):
            continue
    return n


@dataclass
class _Check:
    """One run being compared."""

    output: Storage
    ledger: Ledger
    kind: str
    receipts: Storage | None
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Lines of damaged records."""

    def lines(self) -> Iterator[str]:
        """Yield all lines."""
        receipt = self._latest_receipt()
        files, others = self._try(self.ledger.files) or {}, self._try(self.ledger.others)
        files = {**files, **(self._try(self.ledger.superseded) or {})}
        settled, committed = self._try(self.ledger.grid), self._try(self.ledger.committed)
        self._try(self.ledger.record)
        is_finished = receipt is not None and not self.ledger.storage.exists(UNFINISHED)
        if receipt is not None and not is_finished:
            self.notes.append("it is being done again, or was stopped while it was; type `dawnchorus run`")
        if is_finished and not self.broken:
            self.broken += self._try(lambda: losses(self.ledger, self.kind, receipt or {})) or []
            self._try(lambda: require_grid(self.output, self.ledger))
        yield from dict.fromkeys(self.broken)
        n_broken = len(self.broken)
        for key, digest in sorted({**files, **(others or {})}.items()):
            reason = _difference(self.output, key, digest)
            if reason:
                yield f"{self.output.url}/{key}: {reason}"
        listed = {*files, *(others or {})}
        if self.kind in STORES and settled is not None:
            grid, recorders = settled
            shards = dict(item for _, entry in self._entries(light=True) for item in entry.files.items())
            listed |= {*(committed or ("", {}))[1], *shards}
            yield from self._store(grid, recorders, shards, committed)
            yield from self.broken[n_broken:]
        is_known = bool(listed) and not self.broken and not self.ledger.storage.exists(UNFINISHED)
        yield from self._unlisted(listed, others, is_known=is_known)

    def _try(self, read: Any) -> Any:  # noqa: ANN401 (whatever it returns)
        try:
            return read()
        except (StoreError, InputError) as error:
            if str(error) not in self.broken:
                self.broken.append(str(error))
            return None

    def _latest_receipt(self) -> dict[str, Any] | None:
        """Return the last receipt of the finished run; each one that is damaged becomes a line."""
        if self.receipts is None:
            return None
        run, latest = unquote(self.receipts.root.rpartition("/")[2]), None
        for key in self.receipts.list_keys():
            if not key.endswith(".json"):
                self.broken.append(f"{self.receipts.path(key)}: no receipt. Move it elsewhere.")
                continue
            receipt = self._try(lambda key=key: read_receipt(self.receipts, key, run))
            if receipt is not None and receipt.get("state") == "done":
                latest = receipt
        return latest

    def _entries(self, *, light: bool) -> Iterator[tuple[str, Entry]]:
        """Yield day and entry of every block; each day with a damaged line becomes a line."""
        for day, keys in self.ledger.days():
            for entry in (self._try(lambda keys=keys: self.ledger.latest(keys, light=light)) or {}).values():
                yield day, entry

    def _store(
        self,
        grid: Grid,
        recorders: Sequence[str],
        shards: Mapping[str, str],
        committed: tuple[str, dict[str, str]] | None,
    ) -> Iterator[str]:
        content, files = committed or ("", {})
        is_current = content == content_id(shards.items())
        beside = list(self._beside(files, grid, recorders)) if is_current else []
        if committed is not None and not is_current and not self.broken:
            self.notes.append(GROWN)
        arrays = {} if any(key.endswith("zarr.json") for key, _ in beside) else self._arrays()
        data = [arrays[name] for name in (*DATA_ARRAYS[self.kind], *OPTIONAL_ARRAYS) if name in arrays]
        index = self._index_arrays(recorders, arrays) if is_current and not beside else {}
        read = _reader(index, grid)
        for day, entry in self._entries(light=False):
            problem = _inconsistent(entry, day, grid, recorders)
            if problem:
                yield f"{self.ledger.storage.path(entry.recorder)}, {day}: block {entry.block}: {problem}"
                continue
            i_recorder = recorders.index(entry.recorder)
            for key, digest in sorted(entry.files.items()):
                reason = _difference(self.output, key, digest)
                if reason:
                    windows = _changed(data, i_recorder, entry, grid)
                    yield f"{self.output.url}/{key}: {reason}; {entry.recorder}: {windows}"
            for name in _other_values(index, read, entry, i_recorder):
                where = f"its values of {entry.recorder} on {day} (block {entry.block})"
                yield f"{self.output.path(name)}: {where} are not those of the ledger"
        for key, reason in beside:
            yield f"{self.output.url}/{key}: {reason}"

    def _arrays(self) -> dict[str, zarr.Array[Any]]:
        """Return the arrays of the store; none if its metadata are damaged."""
        if not self.output.exists("zarr.json"):
            return {}
        url = self.output.url
        try:
            store = url if self.output.is_local else zarr.storage.FsspecStore.from_url(url)
            return dict(zarr.open_group(store, mode="r", use_consolidated=True).arrays())
        except _ANY:
            return {}

    def _index_arrays(self, recorders: Sequence[str], arrays: Mapping[str, zarr.Array[Any]]) -> Index:
        """Return array and table of each index variable."""
        try:
            if [str(name) for name in np.asarray(arrays["recorder"][...])] != [*recorders]:
                where = self.ledger.storage.path(GRID_RECORD)
                self.broken.append(f"{where}: lists other recorders than {self.output.path('recorder')}")
                return {}
            tables = {name: np.asarray(arrays[row[2]][...]) for name, row in ROWS.items() if row[2] in arrays}
        except _ANY:  # their files are as they were committed, so this would be a store of another release
            return {}
        return {name: (array, tables.get(name)) for name, array in arrays.items() if array.ndim == 2}

    def _beside(self, files: Mapping[str, str], grid: Grid, recorders: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield the key of each file which is not as the last finalise left it, and what is wrong."""
        for key, digest in sorted(files.items()):
            reason = _difference(self.output, key, digest)
            if reason:
                yield key, reason + _place(self.output, key, grid, recorders)

    def _unlisted(self, listed: Iterable[str], others: Mapping[str, str] | None, *, is_known: bool) -> Iterator[str]:
        """Yield one line for each file that no record lists."""
        known = set(listed)
        storage = self.ledger.storage
        strangers = [(storage, key) for key in storage.list_keys() if not _OF_LEDGER.fullmatch(key)]
        if is_known:
            mine = [key for key in self.output.list_keys() if key not in known]
            if self.kind == "models" and others is None and mine:
                self.notes.append(f"{len(mine)} files of the model are in no list of format 1: they were not compared")
                mine = []
            strangers += [(self.output, key) for key in mine]
        for storage, key in strangers:
            path = storage.path(key)
            if key.rpartition("/")[2].startswith("."):
                self.notes.append(f"{path}: is in no ledger")
            elif GROWN in self.notes and storage is self.output:
                self.notes.append(f"{path}: is in no ledger; it may be of the growth")
            else:
                yield f"{path}: is in no ledger. Move it elsewhere, or remove it"
        for storage in (self.output, self.ledger.storage):
            left = [*Path(storage.root).rglob(".*.aside")] if storage.is_local else []
            self.notes += [f"{path}: is left of a killed write; the next run removes it" for path in sorted(left)]


def _inconsistent(entry: Entry, day: str, grid: Grid, recorders: Sequence[str]) -> str:
    """Return what is wrong with the values of an entry: a line of format 1 has no checksum that finds it."""
    try:
        columns = [*entry.index.values(), entry.digests]
        if any(len(column) != len(entry.cells) for column in columns):
            return f"expected {len(entry.cells)} values of each cell, found {sorted({len(c) for c in columns})}"
        if entry.cells and grid.day_of(entry.cells[0]) != day:
            return f"expected cells of {day}, found cells of {grid.day_of(entry.cells[0])}"
        if entry.recorder not in recorders:
            return f"expected one of the recorders {', '.join(recorders)}, found {entry.recorder!r}"
        sorted(entry.files.items())
        np.asarray(entry.cells, dtype=np.int64)
    except _ANY as error:
        return f"expected an entry, found other values ({error})"
    return ""


def _reader(index: Index, grid: Grid) -> Read:
    """Return the function that reads index variables; the day of many blocks is read once."""
    per_day = grid.cells_per_day

    @lru_cache(maxsize=4 * len(index) or 1)
    def days(name: str, i_recorder: int, first: int, last: int) -> NDArray[Any]:
        return np.asarray(index[name][0][i_recorder, first * per_day : (last + 1) * per_day])

    def read(name: str, i_recorder: int, cells: NDArray[np.int64]) -> NDArray[Any]:
        first, last = int(cells[0]) // per_day, int(cells[-1]) // per_day
        return days(name, i_recorder, first, last)[cells - first * per_day]

    return read


def _other_values(index: Index, read: Read, entry: Entry, i_recorder: int) -> Iterator[str]:
    """Yield the index variables whose stored values are not those of an entry."""
    cells = np.asarray(entry.cells, dtype=np.int64)
    for name, values in entry.index.items():
        array, table = index.get(name, (None, None))
        if array is None or not len(cells):
            continue
        try:
            found = read(name, i_recorder, cells)
            is_same = _is_same(found, values, array.fill_value, table, _row_keys(entry, name))
        except _ANY:
            is_same = False
        if not is_same:
            yield name


def _row_keys(entry: Entry, name: str) -> list[str]:
    """Return the key of each row of an entry that an index variable numbers."""
    rows, key, _ = ROWS.get(name, ("", "", ""))
    return [str(row.get(key)) for row in getattr(entry, rows)] if rows else []


def _is_same(
    found: NDArray[Any], values: Sequence[Any], fill: object, table: NDArray[Any] | None, keys: Sequence[str]
) -> bool:
    """Return whether stored values are those of an entry; row numbers are compared by what their rows are of."""
    if table is not None:
        stored = [str(table[row]) if 0 <= row < len(table) else None for row in found.tolist()]
        return stored == [keys[value] if value is not None and 0 <= value < len(keys) else None for value in values]
    expected = np.array([fill if value is None else value for value in values], dtype=found.dtype)
    return np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")


def _place(output: Storage, key: str, grid: Grid, recorders: Sequence[str]) -> str:
    """Return recorder and day of a file of an index variable; nothing for other files."""
    name, _, position = key.partition("/c.")
    if position.count(".") != 1:
        return ""
    document = output.read_or_none(f"{name}/zarr.json")
    try:
        dims = json.loads(document or b"{}").get("dimension_names")
    except (ValueError, AttributeError, RecursionError):
        return ""
    if dims != ["recorder", "time"]:
        return ""
    i_recorder, i_day = map(int, position.split("."))
    return f"; {recorders[i_recorder]}: {grid.day_of(i_day * grid.cells_per_day)}"


def _difference(output: Storage, key: str, digest: str) -> str:
    if outward(key):
        return f"is no path below the output: {outward(key)}"
    data = output.read_or_none(key)
    if data is None:
        return "is in the ledger, but not there"
    return "" if sha256(data) == digest else "differs from the ledger"


def _changed(arrays: Sequence[zarr.Array[Any]], i_recorder: int, entry: Entry, grid: Grid) -> str:
    """Return the starts of the windows whose values are not those of the ledger."""
    if not arrays:
        return f"any of {len(entry.cells)} windows from {iso(grid.start_ms(entry.cells[0]))} on"
    starts = []
    for cell, digest in zip(entry.cells, entry.digests, strict=True):
        try:
            values = [np.asarray(array[i_recorder, cell]) for array in arrays]
        except _ANY:
            starts.append(f"{iso(grid.start_ms(cell))} (does not decode)")
            continue
        if cell_digest(values) != digest:
            starts.append(iso(grid.start_ms(cell)))
    return ", ".join(starts[:20]) + (f" and {len(starts) - 20} more" if len(starts) > 20 else "") or "no window changed"
