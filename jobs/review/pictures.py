"""The picture of a window with the time around it: what was just before and just after, at the same scale."""

import numpy as np
from numpy.typing import NDArray

from lake.grid import Grid

SIDE_SHARE = 1 / 3
"""Of a window's length, shown at each side."""

Codes = NDArray[np.uint8]


def steps_aside(grid: Grid) -> int:
    """Return how many cells away the neighbour of a window is.

    Of windows that touch or overlap one cell at each side covers all of it; of others it covers what there is.
    """
    return max(1, -(-round(SIDE_SHARE * grid.window_ms) // grid.hop_ms))


def with_sides(window: Codes, before: Codes | None, after: Codes | None, grid: Grid) -> Codes:
    """Return a window's codes between those of the time around it.

    Parameters
    ----------
    window
        Codes of the window, shape (n_mels, n_frames).
    before, after
        Codes of the windows :func:`steps_aside` cells before and after it, or ``None``.
    grid
        Says how far away those begin.

    Returns
    -------
    NDArray
        Shape (n_mels, n_frames + 2 * n_side), ``n_side`` being :data:`SIDE_SHARE` of ``n_frames``; 0, as where nothing
        was recorded, where no window covers it.
    """
    n_mels, n_frames = window.shape
    n_side = round(SIDE_SHARE * n_frames)
    away = round(steps_aside(grid) * grid.hop_ms / grid.window_ms * n_frames)
    wide = np.zeros((n_mels, n_frames + 2 * n_side), dtype=np.uint8)
    for codes, begin in ((before, n_side - away), (after, n_side + away)):
        if codes is not None:
            first, last = (min(max(edge, 0), wide.shape[1]) for edge in (begin, begin + n_frames))
            wide[:, first:last] = codes[:, first - begin : last - begin]
    wide[:, n_side : n_side + n_frames] = window
    return wide
