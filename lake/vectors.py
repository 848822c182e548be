"""Vector sets of one grid, side by side: the windows that they have, and their vectors, span by span."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from lake.errors import InputError, StoreError
from lake.grid import Grid, iso
from lake.read import Windows, grid_of, open_array, open_embeddings, recorder_names, usable_windows
from lake.scaling import Vectors

MOST_CELLS = 2048


@dataclass(frozen=True)
class Span:
    """Windows of one recorder within a few neighbouring chunks of one UTC day.

    Attributes
    ----------
    recorder, day
        Recorder number, and number of the day on the grid.
    cells
        Time index of each window, int64, shape (n_windows,).
    first_row
        Number of the first window among all windows.
    """

    recorder: int
    day: int
    cells: NDArray[np.int64]
    first_row: int


@dataclass(frozen=True)
class VectorSets:
    """One or several vector sets of the same windows.

    Attributes
    ----------
    urls
        The embedding stores.
    recorders, grid
        Of all of them.
    spans
        All usable windows, sorted by recorder and time.
    arrays
        The vectors of each store.
    is_own
        Whether all were computed by an ``embed`` run, none imported.
    """

    urls: tuple[str, ...]
    recorders: tuple[str, ...]
    grid: Grid
    spans: list[Span]
    arrays: tuple[zarr.Array[Any], ...]
    is_own: bool

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return sum(len(span.cells) for span in self.spans)

    @property
    def n_features(self) -> tuple[int, ...]:
        """Features of each set."""
        return tuple(int(array.shape[2]) for array in self.arrays)


def open_vectors(urls: Sequence[str], *, partial: bool = True) -> VectorSets:
    """Open embedding stores that are read side by side.

    Parameters
    ----------
    urls
        One store, or several of the same grid, recorders and windows.
    partial
        Whether partial windows are taken.

    Raises
    ------
    InputError
        If the stores differ in grid, recorders or windows.
    """
    grids, names, windows, is_own = [], [], [], True
    for url in urls:
        with open_embeddings(url) as dataset:
            grids.append(grid_of(dataset))
            names.append(tuple(recorder_names(dataset)))
            windows.append(usable_windows(dataset, partial=partial, status="embedding_status"))
            is_own = is_own and "features" in dataset.attrs.get("config", {})
        _require_same(urls[0], url, (grids[0], grids[-1]), (names[0], names[-1]), (windows[0], windows[-1]))
    arrays = tuple(open_array(url, "embedding") for url in urls)
    per_chunk = int(np.lcm.reduce([array.chunks[1] for array in arrays]))
    found = spans_of(windows[0], cells_per_day=grids[0].cells_per_day, cells_per_chunk=per_chunk)
    return VectorSets(tuple(urls), names[0], grids[0], found, arrays, is_own)


def spans_of(windows: Windows, *, cells_per_day: int, cells_per_chunk: int) -> list[Span]:
    """Cut windows, sorted by recorder and time, into spans.

    Parameters
    ----------
    windows
        All usable windows.
    cells_per_day, cells_per_chunk
        Of the grid, and of the array that will be read: a span is as many whole chunks as fit into
        ``MOST_CELLS`` cells, at least one, counted from midnight.
    """
    if not len(windows):
        return []
    size = max(1, MOST_CELLS // cells_per_chunk) * cells_per_chunk
    day = windows.cell // cells_per_day
    place = np.stack([windows.recorder, day, windows.cell % cells_per_day // size])
    cuts = np.flatnonzero(np.diff(place, axis=1).any(axis=0)) + 1
    return [
        Span(int(windows.recorder[i]), int(day[i]), windows.cell[i:j], i)
        for i, j in pairwise([0, *cuts.tolist(), len(windows)])
    ]


def by_day(spans: list[Span]) -> list[tuple[Span, ...]]:
    """Return spans grouped by recorder and day."""
    return [tuple(group) for _, group in groupby(spans, key=lambda span: (span.recorder, span.day))]


def read_span(sets: VectorSets, span: Span) -> Vectors:
    """Return the vectors of a span, the sets side by side, float32, shape (n_windows, n_features of all).

    Raises
    ------
    StoreError
        If a window that has a status has no vector.
    InputError
        If a vector is not finite.
    """
    return read_arrays(sets.arrays, span)


def read_arrays(arrays: Sequence[zarr.Array[Any]], span: Span) -> Vectors:
    """Return the vectors of a span in the arrays of vector sets; see :func:`read_span`."""
    parts = [_read_one(array, span) for array in arrays]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _read_one(array: zarr.Array[Any], span: Span) -> Vectors:
    first, last = int(span.cells[0]), int(span.cells[-1]) + 1
    vectors = np.asarray(array[span.recorder, first:last], dtype=np.float32)
    if len(vectors) > len(span.cells):
        vectors = vectors[span.cells - first]
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(vectors.sum(axis=1)).all():  # one pass; a sum may also overflow
            return vectors
    missing = np.isnan(vectors).any(axis=1)
    if missing.any():
        raise StoreError(
            f"{array.store_path}: {int(missing.sum())} windows of recorder {span.recorder} have a status but no "
            f"vector (first at cell {int(span.cells[missing][0])}). Type `dawnchorus verify MANIFEST`."
        )
    infinite = np.isinf(vectors).any(axis=1)
    if infinite.any():
        raise InputError(
            f"{array.store_path}: expected finite vectors, found {int(infinite.sum())} windows of recorder "
            f"{span.recorder} with an infinite number (first at cell {int(span.cells[infinite][0])}). Leave the set "
            "out, or make it again as float32."
        )
    return vectors


def _require_same(
    first: str,
    other: str,
    grids: tuple[Grid, Grid],
    names: tuple[tuple[str, ...], tuple[str, ...]],
    windows: tuple[Windows, Windows],
) -> None:
    """Refuse stores that cannot be joined window by window."""
    both = f"{first} and {other}"
    if grids[0] != grids[1]:
        told = " and ".join(
            f"windows of {grid.window_ms} ms every {grid.hop_ms} ms from {iso(grid.origin_ms)} to {iso(grid.end_ms)}"
            for grid in grids
        )
        raise InputError(f"{both}: expected vector sets of one grid, found {told}. Join sets made of the same cube.")
    if names[0] != names[1]:
        raise InputError(
            f"{both}: expected the same recorders in the same order, found {', '.join(names[0])} and "
            f"{', '.join(names[1])}. Join sets made of the same cube."
        )
    keys = [one.recorder.astype(np.int64) * grids[0].n_cells + one.cell for one in windows]
    if np.array_equal(keys[0], keys[1]):
        return
    lacking = [np.setdiff1d(keys[0], keys[1]), np.setdiff1d(keys[1], keys[0])]
    if any(map(len, lacking)):
        key = int(lacking[0][0] if len(lacking[0]) else lacking[1][0])
        recorder, cell = divmod(key, grids[0].n_cells)
        raise InputError(
            f"{both}: expected the same windows, found {len(lacking[0])} that only the first has and {len(lacking[1])} "
            f"that only the second has (first: {names[0][recorder]}, {iso(grids[0].start_ms(cell))}). Run both to "
            "their end, with the same `partial`."
        )
