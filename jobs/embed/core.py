"""Vectors from level codes without a network, and what every vector has to be."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from jobs.common.dictionary import encode_windows, load_dictionary
from jobs.common.reduce import reduced_levels
from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB

N_LOGMEL = 3
"""Numbers of each mel band in ``logmel``."""
N_STATISTICS = 5
"""Numbers of each band in ``statistics``."""
MOST_BANDS = 128
FRAMES_APART = (1, 8)

Maps = NDArray[np.float16]
Encode = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], Maps | None]]
"""From codes, shape (n_windows, n_mels, n_frames), to vectors, shape (n_windows, n_features), and the class token's
attention, shape (n_windows, n_token_mels, n_token_frames), where it is asked for."""


def logmel(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return mean, deviation and maximum over the frames of each mel band's level.

    Parameters
    ----------
    codes
        Shape (n_windows, n_mels, n_frames); 0 is missing.

    Returns
    -------
    NDArray
        float32, shape (n_windows, 3 * n_mels): all means (dBFS), all deviations (dB), all maxima (dBFS). Frames
        that were not recorded are left out. A band that the recording does not have takes the values of
        the nearest lower band that it has, so that vectors of recordings with different sample rates
        differ by what is known of the sound and not by a gap.

    Raises
    ------
    ValueError
        If a window has no code at all.

    Notes
    -----
    The sums are of integers, so neither batch, thread count nor processor changes a bit of the result.
    """
    n_known = np.count_nonzero(codes, axis=2)
    if not n_known.any(axis=1).all():
        raise ValueError("a window without a single level has no vector")
    total = codes.sum(axis=2, dtype=np.int64)
    squares = np.square(codes, dtype=np.uint16).sum(axis=2, dtype=np.int64)
    band = _stand_in(n_known > 0)
    n_known, total, squares, highest = (
        np.take_along_axis(values, band, axis=1) for values in (n_known, total, squares, codes.max(axis=2))
    )
    mean = total / n_known * CODE_STEP_DB + CODE_OFFSET_DB
    deviation = np.sqrt(n_known * squares - total**2) / n_known * CODE_STEP_DB
    maximum = highest * CODE_STEP_DB + CODE_OFFSET_DB
    return np.concatenate([mean, deviation, maximum], axis=1, dtype=np.float32)


def statistics(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return mean, deviation, maximum and mean absolute difference over 1 and over 8 frames of each band's level.

    Parameters
    ----------
    codes
        Shape (n_windows, n_mels, n_frames); 0 is missing.

    Returns
    -------
    NDArray
        float32, shape (n_windows, 5 * n_bands): all means and maxima in dBFS, deviations and differences in dB. More
        than 128 mel bands are reduced to 128 first (the mean level of what falls into each). Frames that were not
        recorded are left out, and a band that the recording does not have takes the values of the nearest lower
        one that it has, as in :func:`logmel`. A difference that no two frames give is 0.

    Raises
    ------
    ValueError
        If a window has no code at all.
    """
    levels = reduced_levels(codes, (MOST_BANDS, codes.shape[2])).astype(np.float64)
    known = ~np.isnan(levels)
    n_known = np.count_nonzero(known, axis=2)
    if not n_known.any(axis=1).all():
        raise ValueError("a window without a single level has no vector")
    mean = _mean_where(levels, known)
    deviation = np.sqrt(_mean_where(np.square(levels - mean[:, :, None]), known))
    maximum = np.where(known, levels, -np.inf).max(axis=2)
    changes = []
    for apart in FRAMES_APART:
        both = known[:, :, apart:] & known[:, :, :-apart]
        changes.append(_mean_where(np.abs(levels[:, :, apart:] - levels[:, :, :-apart]), both))
    band = _stand_in(n_known > 0)
    found = (np.take_along_axis(values, band, axis=1) for values in (mean, deviation, maximum, *changes))
    return np.concatenate(list(found), axis=1, dtype=np.float32)


def _mean_where(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean over the last axis of what is known; 0 where nothing is."""
    n = np.count_nonzero(known, axis=-1)
    return np.asarray(np.where(known, values, 0).sum(axis=-1) / np.maximum(n, 1), dtype=np.float64)


def encode_logmel(codes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], None]:
    """Return :func:`logmel`, and no attention."""
    return logmel(codes), None


def encode_statistics(codes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], None]:
    """Return :func:`statistics`, and no attention."""
    return statistics(codes), None


def dictionary_encoder(folder: str) -> Encode:
    """Return what turns codes into the vectors of a stored dictionary, each window by itself."""
    found, _ = load_dictionary(folder)

    def encode(codes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], None]:
        with threadpool_limits(1):
            return encode_windows(codes, found), None

    return encode


def faulty(vectors: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which vectors are all zero or hold a value that is not finite, shape (n_windows,)."""
    return np.asarray(~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1), dtype=np.bool_)


def _stand_in(known: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return for each band itself where it is known, else the nearest lower known one, else the lowest known."""
    own = np.where(known, np.arange(known.shape[1]), -1)
    below = np.maximum.accumulate(own, axis=1)
    return np.where(below >= 0, below, known.argmax(axis=1, keepdims=True))
