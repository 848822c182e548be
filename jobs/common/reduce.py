"""Windows at a lower resolution: the mean level of what falls into each band and frame."""

from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB

Levels = NDArray[np.float32]
Size = tuple[int, int]


def reduced_size(shape: Size, most: Size) -> Size:
    """Return the bands and frames of a window of some shape once it is reduced: at most ``most``, never more."""
    return min(shape[0], most[0]), min(shape[1], most[1])


def reduced_levels(codes: NDArray[np.uint8], most: Size) -> Levels:
    """Return the mean level of what falls into each band and frame of a smaller window.

    Parameters
    ----------
    codes
        Shape (n_windows, n_mels, n_frames); 0 is missing.
    most
        Bands and frames at most; an axis that has fewer stays as it is.

    Returns
    -------
    NDArray
        dBFS, float32, shape (n_windows, n_bands, n_frames) of :func:`reduced_size`; NaN where all is missing. Missing
        codes are left out of the mean. Bands and frames that lie across a border count with their share.
    """
    n_mels, n_frames = codes.shape[1:]
    size = reduced_size((n_mels, n_frames), most)
    is_known = codes != 0 if not codes.all() else np.ones((1, n_mels, n_frames), dtype=np.bool_)
    total, known = _reduced(codes, size), _reduced(is_known, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / known
    return np.asarray(mean * np.float32(CODE_STEP_DB) + np.float32(CODE_OFFSET_DB), dtype=np.float32)


def _reduced(values: NDArray[np.uint8] | NDArray[np.bool_], size: Size) -> Levels:
    """Return the sum of what falls into each band and frame, bands first; whole numbers stay exact."""
    n_mels, n_frames = values.shape[1:]
    if n_mels % size[0] == 0:
        parts = values.reshape(len(values), size[0], -1, n_frames)
        out = parts.sum(axis=2, dtype=np.float32)
    else:
        out = _shares(n_mels, size[0]) @ values.astype(np.float32)
    if n_frames % size[1] == 0:
        every = n_frames // size[1]
        return np.asarray(reduce(np.add, (out[:, :, i::every] for i in range(every))), dtype=np.float32)
    return np.asarray(out @ _shares(n_frames, size[1]).T, dtype=np.float32)


@lru_cache(maxsize=8)
def _shares(n: int, n_out: int) -> Levels:
    """Return how much of each of ``n`` equal parts falls into each of ``n_out``, shape (n_out, n)."""
    edges, parts = np.arange(n_out + 1) * (n / n_out), np.arange(n)
    shared = np.minimum(edges[1:, None], parts + 1) - np.maximum(edges[:-1, None], parts)
    return np.asarray(np.clip(shared, 0, None), dtype=np.float32)
