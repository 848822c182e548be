"""Comparing what a run has written with its ledger."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import zarr

from lake.errors import StoreError
from lake.grid import Grid, iso
from lake.identity import content_id
from lake.ledger import Entry, Ledger
from lake.read import open_array
from lake.storage import Storage
from lake.write import cell_digest

DATA_ARRAYS = {"spectrograms": ("spectrogram",), "embeddings": ("embedding",), "clusters": ("cluster", "distance")}
"""Arrays whose shards the ledger lists, in the order that a cell's digest takes them."""
OPTIONAL_ARRAYS = ("attention",)
"""Those that come after them, in stores that have them."""


def damages(output: Storage, ledger: Ledger, kind: str) -> Iterator[str]:
    """Yield one line for each file that is not what the ledger says.

    Parameters
    ----------
    output, ledger
        A run's output and its ledger.
    kind
        Folder of the lake that the output stands in.

    Notes
    -----
    Where a shard still decodes, the windows whose values changed are named by recorder and time; of an index
    variable the recorder and the day. Files beside the shards are compared as the last finalise left them, and not
    at all while a store has grown since.
    """
    for key, digest in sorted((ledger.files() or {}).items()):
        reason = _difference(output, key, digest)
        if reason:
            yield f"{output.path(key)}: {reason}"
    settled = ledger.grid()
    if settled is None or kind not in DATA_ARRAYS:
        return
    grid, recorders = settled
    beside = list(_beside_shards(output, ledger, grid, recorders))
    arrays: list[zarr.Array[Any]] = []
    if output.exists("zarr.json") and not any(key.endswith("zarr.json") for key, _ in beside):
        names = [*DATA_ARRAYS[kind], *(name for name in OPTIONAL_ARRAYS if output.exists(f"{name}/zarr.json"))]
        arrays = [open_array(output.url, name, check=False) for name in names]
    for recorder, _, day in ledger.entries():
        for entry in day.values():
            for key, digest in sorted(entry.files.items()):
                reason = _difference(output, key, digest)
                if reason:
                    windows = _changed(arrays, recorders.index(recorder), entry, grid)
                    yield f"{output.path(key)}: {reason}; {recorder}: {windows}"
    for key, reason in beside:
        yield f"{output.path(key)}: {reason}"


def n_files(ledger: Ledger) -> int:
    """Return how many files a ledger lists."""
    _, beside = ledger.committed() or ("", {})
    return len(ledger.files() or {}) + len(beside) + sum(len(entry.files) for entry in ledger.written().values())


def _beside_shards(output: Storage, ledger: Ledger, grid: Grid, recorders: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the key of each file which is not as the last finalise left it, and what is wrong."""
    content, files = ledger.committed() or ("", {})
    if content != content_id(item for entry in ledger.written().values() for item in entry.files.items()):
        return
    for key, digest in sorted(files.items()):
        reason = _difference(output, key, digest)
        if reason:
            yield key, reason + _place(output, key, grid, recorders)


def _place(output: Storage, key: str, grid: Grid, recorders: Sequence[str]) -> str:
    """Return recorder and day of a file of an index variable; nothing for other files."""
    name, _, position = key.partition("/c.")
    if position.count(".") != 1:
        return ""
    document = output.read_or_none(f"{name}/zarr.json")
    try:
        dims = json.loads(document or b"{}").get("dimension_names")
    except ValueError:
        return ""
    if dims != ["recorder", "time"]:
        return ""
    i_recorder, i_day = map(int, position.split("."))
    return f"; {recorders[i_recorder]}: {grid.day_of(i_day * grid.cells_per_day)}"


def _difference(output: Storage, key: str, digest: str) -> str:
    data = output.read_or_none(key)
    if data is None:
        return "is in the ledger, but not there"
    return "" if hashlib.sha256(data).hexdigest() == digest else "differs from the ledger"


def _changed(arrays: Sequence[zarr.Array[Any]], i_recorder: int, entry: Entry, grid: Grid) -> str:
    """Return the starts of the windows whose values are not those of the ledger."""
    if not arrays:
        return f"any of {len(entry.cells)} windows from {iso(grid.start_ms(entry.cells[0]))} on"
    starts = []
    for cell, digest in zip(entry.cells, entry.digests, strict=True):
        try:
            values = [np.asarray(array[i_recorder, cell]) for array in arrays]
        except (StoreError, OSError):  # bytes that do not decode
            starts.append(f"{iso(grid.start_ms(cell))} (does not decode)")
            continue
        if cell_digest(values) != digest:
            starts.append(iso(grid.start_ms(cell)))
    return ", ".join(starts[:20]) + (f" and {len(starts) - 20} more" if len(starts) > 20 else "") or "no window changed"
