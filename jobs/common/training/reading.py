"""Windows of a cube by their numbers."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lake.shards import open_codes

Numbers = NDArray[np.int64]
Read = Callable[[Numbers], NDArray[np.uint8]]
"""From numbers of windows, shape (n,), to their codes, uint8, shape (n, n_mels, n_frames)."""


def open_windows(url: str, recorder: NDArray[np.int32], cell: Numbers, *, n_threads: int = 1) -> Read:
    """Return the function that reads windows by their numbers.

    Parameters
    ----------
    url, n_threads
        As :func:`lake.shards.open_codes` takes them.
    recorder, cell
        Recorder number and cell of each window, shape (n_windows,).
    """
    read = open_codes(url, n_threads=n_threads)
    return lambda windows: read(recorder[windows], cell[windows])
