"""Comparing what a run has written with its ledger."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import zarr

from lake.grid import Grid, iso
from lake.ledger import Entry, Ledger
from lake.read import open_array
from lake.storage import Storage
from lake.write import cell_digest

DATA_ARRAYS = {"spectrograms": ("spectrogram",), "embeddings": ("embedding",), "clusters": ("cluster", "distance")}
"""Arrays whose shards the ledger lists, in the order that a cell's digest takes them."""


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
    Where a shard still decodes, the windows whose values changed are named by recorder and time.
    """
    for key, digest in sorted((ledger.files() or {}).items()):
        reason = _difference(output, key, digest)
        if reason:
            yield f"{output.path(key)}: {reason}"
    settled = ledger.grid()
    if settled is None or kind not in DATA_ARRAYS:
        return
    grid, recorders = settled
    arrays: list[zarr.Array[Any]] = []
    if output.exists("zarr.json"):
        arrays = [open_array(output.url, name) for name in DATA_ARRAYS[kind]]
    for recorder, _, day in ledger.entries():
        for entry in day.values():
            for key, digest in sorted(entry.files.items()):
                reason = _difference(output, key, digest)
                if reason:
                    windows = _changed(arrays, recorders.index(recorder), entry, grid)
                    yield f"{output.path(key)}: {reason}; {recorder}: {windows}"


def _difference(output: Storage, key: str, digest: str) -> str:
    data = output.read_or_none(key)
    if data is None:
        return "is in the ledger, but not there"
    return "" if hashlib.sha256(data).hexdigest() == digest else "differs from the ledger"


def _changed(arrays: Sequence[zarr.Array[Any]], i_recorder: int, entry: Entry, grid: Grid) -> str:
    """Return the starts of the windows whose values are not those of the ledger."""
    starts = []
    for cell, digest in zip(entry.cells, entry.digests, strict=True):
        try:
            values = [np.asarray(array[i_recorder, cell]) for array in arrays]
        except (RuntimeError, ValueError, OSError):  # what a codec says of bytes that it cannot decode
            starts.append(f"{iso(grid.start_ms(cell))} (does not decode)")
            continue
        if not values or cell_digest(values) != digest:
            starts.append(iso(grid.start_ms(cell)))
    return ", ".join(starts[:20]) + (f" and {len(starts) - 20} more" if len(starts) > 20 else "") or "no window changed"
