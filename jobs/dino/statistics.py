"""Statistics of the windows' levels, which the network's input is made with."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.dino.config import Config
from jobs.dino.data import Source
from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB
from lake.errors import InputError

STATISTICS_STREAM: Final = 2**63
"""Stands in the place of a pass's number where the windows of the statistics are drawn."""

LEVELS_DB: Final = np.arange(256) * CODE_STEP_DB + CODE_OFFSET_DB
WINDOWS_AT_ONCE: Final = 32


def level_counts(source: Source, config: Config) -> NDArray[np.int64]:
    """Count the codes of each mel band in a seeded sample of windows.

    Returns
    -------
    NDArray
        Shape (n_mels, 256).
    """
    random = np.random.default_rng([config.seed, STATISTICS_STREAM])
    chosen = _some(np.arange(source.n_windows), config.n_statistics, random)
    return _counted(source, chosen)


def level_counts_by_recorder(source: Source, config: Config) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Count as :func:`level_counts`, for one recorder after the other, with an equal part of the windows for each.

    Yields
    ------
    tuple
        The recorder's name, and counts, shape (n_mels, 256). Recorders without a window are left out.
    """
    assert source.places is not None, "the recorders of the windows are known"
    random = np.random.default_rng([config.seed, STATISTICS_STREAM])
    numbers = np.unique(source.places.recorder)
    for number in numbers.tolist():
        own = np.flatnonzero(source.places.recorder == number)
        chosen = _some(own, max(1, config.n_statistics // len(numbers)), random)
        yield source.places.recorders[number], _counted(source, chosen)


def backgrounds(
    counts: dict[str, NDArray[np.int64]], mean_db: NDArray[np.float64]
) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Return each recorder's median level per mel band, and one deviation about them.

    Parameters
    ----------
    counts
        Number of pixels by code of each recorder, shape (n_mels, 256); code 0 is missing and does not count.
    mean_db
        Stands where a recorder has no level in a band, dBFS, shape (n_mels,).

    Returns
    -------
    background_db, deviation_db
        dBFS by recorder, shape (n_mels,): the lowest level that at least half of the pixels do not exceed;
        and dB.
    """
    medians: dict[str, NDArray[np.float64]] = {}
    squares, n_pixels = 0.0, 0.0
    for name, counted in counts.items():
        known = np.concatenate([np.zeros_like(counted[:, :1]), counted[:, 1:]], axis=1)
        n = known.sum(axis=1)
        code = (known.cumsum(axis=1) * 2 >= n[:, None]).argmax(axis=1)
        medians[name] = np.where(n > 0, LEVELS_DB[code], mean_db)
        squares += float((known * (LEVELS_DB - medians[name][:, None]) ** 2).sum())
        n_pixels += float(n.sum())
    return medians, max(float(np.sqrt(squares / n_pixels)), CODE_STEP_DB)


def _some(windows: NDArray[np.int64], n: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw windows if there are more than so many, and sort them."""
    return windows if len(windows) <= n else np.sort(random.choice(windows, n, replace=False))


def _counted(source: Source, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.zeros(source.n_mels * 256, dtype=np.int64)
    first_bin = np.arange(source.n_mels)[None, :, None] * 256
    for first in range(0, len(chosen), WINDOWS_AT_ONCE):
        codes = source.read(chosen[first : first + WINDOWS_AT_ONCE])
        counts += np.bincount((codes + first_bin).ravel(), minlength=len(counts))
    return counts.reshape(source.n_mels, 256)


def level_statistics(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """Return the mean level per mel band and one deviation about those means.

    Parameters
    ----------
    counts
        Number of pixels by code, shape (n_mels, 256); code 0 is missing and does not count.

    Returns
    -------
    mean_db, deviation_db
        dBFS, shape (n_mels,), and dB. A band that no window has takes the mean of the others; the
        deviation is at least one step of the codes, so that silence has one.

    Raises
    ------
    InputError
        If there is no level at all.
    """
    counts = counts.astype(np.float64)
    counts[:, 0] = 0.0
    n = counts.sum(axis=1)
    if not n.any():
        raise InputError("expected levels in the windows, found none: every code is missing. Look at the cube.")
    has_levels = n > 0
    mean = np.full(len(counts), np.nan)
    mean[has_levels] = (counts @ LEVELS_DB)[has_levels] / n[has_levels]
    mean[~has_levels] = mean[has_levels].mean()
    variance = (counts * (LEVELS_DB - mean[:, None]) ** 2).sum() / n.sum()
    return mean, max(float(np.sqrt(variance)), CODE_STEP_DB)
