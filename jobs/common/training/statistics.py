"""Statistics of the windows' levels, which the network's input is made with."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.common.network.levels import LEVELS_DB, count_codes
from jobs.common.training.data import Source
from jobs.common.training.settings import Settings
from lake.constants import CODE_STEP_DB

STATISTICS_STREAM: Final = 2**63
"""Stands in the place of a pass's number where the windows of the statistics are drawn."""

WINDOWS_AT_ONCE: Final = 32


def level_counts(source: Source, config: Settings) -> NDArray[np.int64]:
    """Count the codes of each mel band in a seeded sample of windows.

    Returns
    -------
    NDArray
        Shape (n_mels, 256).
    """
    random = np.random.default_rng([config.seed, STATISTICS_STREAM])
    chosen = _some(np.arange(source.n_windows), config.n_statistics, random)
    return _counted(source, chosen)


def level_counts_by_recorder(source: Source, config: Settings) -> Iterator[tuple[str, NDArray[np.int64]]]:
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
    parts = (chosen[first : first + WINDOWS_AT_ONCE] for first in range(0, len(chosen), WINDOWS_AT_ONCE))
    return count_codes(map(source.read, parts), source.n_mels)
