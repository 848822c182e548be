"""Placing vectors on a grid: which cell each one takes, and how far it stands from it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lake.grid import Grid


@dataclass(frozen=True)
class Placed:
    """Vectors on a grid, sorted by recorder and cell; all arrays have the shape (n,).

    Attributes
    ----------
    row
        Row of the table.
    recorder, cell
        Recorder number and time index.
    offset_s
        Start of the vector's sound after the start of its cell, half a hop at most, seconds.
    shared
        Rows that lost their cell to a vector nearer to it.
    """

    row: NDArray[np.int64]
    recorder: NDArray[np.int64]
    cell: NDArray[np.int64]
    offset_s: NDArray[np.float64]
    shared: NDArray[np.int64]


def place(start_ms: NDArray[np.int64], recorder: NDArray[np.int64], grid: Grid) -> Placed:
    """Give every vector the cell whose start is nearest to its own (of two as near, the earlier).

    Parameters
    ----------
    start_ms, recorder
        Start, milliseconds since 1970, and recorder number of each vector, shape (n,).
    grid
        The store's.
    """
    cell = -((-2 * (start_ms - grid.origin_ms) + grid.hop_ms) // (2 * grid.hop_ms))
    cell = np.clip(cell, 0, grid.n_cells - 1)
    offset_ms = start_ms - grid.origin_ms - cell * grid.hop_ms
    order = np.lexsort((start_ms, np.abs(offset_ms), cell, recorder))
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = (np.diff(cell[order]) != 0) | (np.diff(recorder[order]) != 0)
    row = order[is_first]
    return Placed(row, recorder[row], cell[row], offset_ms[row] / 1000, np.sort(order[~is_first]))
