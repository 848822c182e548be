"""Stretches: the usable windows of a few hours of one recorder, which are read at once."""

from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from lake.errors import StoreError
from lake.read import Windows

MOST_CELLS = 2048


@dataclass(frozen=True)
class Stretch:
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


def stretches(windows: Windows, *, cells_per_day: int, cells_per_chunk: int) -> list[Stretch]:
    """Cut windows, sorted by recorder and time, into stretches.

    Parameters
    ----------
    windows
        All usable windows.
    cells_per_day, cells_per_chunk
        Of the grid, and of the array that will be read: a stretch is as many whole chunks as fit into
        ``MOST_CELLS`` cells, at least one, counted from midnight.
    """
    if not len(windows):
        return []
    size = max(1, MOST_CELLS // cells_per_chunk) * cells_per_chunk
    day = windows.cell // cells_per_day
    place = np.stack([windows.recorder, day, windows.cell % cells_per_day // size])
    cuts = np.flatnonzero(np.diff(place, axis=1).any(axis=0)) + 1
    return [
        Stretch(int(windows.recorder[i]), int(day[i]), windows.cell[i:j], i)
        for i, j in pairwise([0, *cuts.tolist(), len(windows)])
    ]


def by_day(parts: list[Stretch]) -> list[tuple[Stretch, ...]]:
    """Return stretches grouped by recorder and day."""
    return [tuple(group) for _, group in groupby(parts, key=lambda part: (part.recorder, part.day))]


def read_stretch(array: zarr.Array[Any], part: Stretch) -> NDArray[np.float32]:
    """Return the vectors of a stretch, float32, shape (n_windows, n_features).

    Raises
    ------
    StoreError
        If a window that has a status has no vector.
    """
    first, last = int(part.cells[0]), int(part.cells[-1]) + 1
    vectors = np.asarray(array[part.recorder, first:last], dtype=np.float32)
    if len(vectors) > len(part.cells):
        vectors = vectors[part.cells - first]
    missing = np.isnan(vectors).any(axis=1)
    if missing.any():
        raise StoreError(
            f"{array.store_path}: {int(missing.sum())} windows of recorder {part.recorder} have a status but no "
            f"vector (first at cell {int(part.cells[missing][0])}). Type `dawnchorus verify MANIFEST`."
        )
    return vectors
