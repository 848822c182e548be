"""Levels of a cube: how often each code occurs, and the mean and the deviation that an input is normalised by."""

from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB
from lake.errors import InputError

N_CODES: Final = 256
LEVELS_DB: Final = np.arange(N_CODES) * CODE_STEP_DB + CODE_OFFSET_DB
"""Level of each code, dBFS; code 0 is missing."""


def count_codes(batches: Iterable[NDArray[np.uint8]], n_mels: int) -> NDArray[np.int64]:
    """Return how often each band has each code, shape (n_mels, 256), in windows (n_windows, n_mels, n_frames)."""
    counts = np.zeros(N_CODES * n_mels, dtype=np.int64)
    first_bin = N_CODES * np.arange(n_mels)[None, :, None]
    for codes in batches:
        counts += np.bincount((codes + first_bin).ravel(), minlength=len(counts))
    return counts.reshape(n_mels, N_CODES)


def level_statistics(counts: NDArray[np.int64], first_code: Literal[0, 1] = 0) -> tuple[NDArray[np.float64], float]:
    """Return the mean level per mel band and one deviation about those means.

    Parameters
    ----------
    counts
        Number of pixels by code, shape (n_mels, 256 - first_code); code 0 is missing and does not count.
    first_code
        Code of the first column. It decides the order of the sums, and so the last digit of the deviation: ``dino``
        stores that of all codes, ``adopt`` that of the codes from 1 on.

    Returns
    -------
    mean_db, deviation_db
        dBFS, shape (n_mels,), and dB. A band that no window has takes the mean of the others; the deviation is at
        least one step of the codes, so that silence has one.

    Raises
    ------
    InputError
        If there is no level at all.
    """
    weights, levels = counts.astype(np.float64), LEVELS_DB[first_code:]
    if first_code == 0:
        weights[:, 0] = 0
    n = weights.sum(axis=1)
    if not n.any():
        raise InputError("expected levels in the windows, found none: every code is missing. Look at the cube.")
    mean = weights @ levels / np.maximum(n, 1)
    mean[n == 0] = mean[n > 0].mean()
    variance = (weights * np.square(levels - mean[:, None])).sum() / n.sum()
    return mean, max(float(np.sqrt(variance)), CODE_STEP_DB)
