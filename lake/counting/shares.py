"""The count of a season, shared out among its nights or other short periods by a detector's probabilities."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]


def shared_out(
    season: tuple[float, float, float], probability: Floats, period: NDArray[np.int64], n_periods: int, level: float
) -> tuple[Floats, Floats, Floats]:
    """Return estimate, low and high of each period.

    Parameters
    ----------
    season
        Estimate, low and high of all periods together.
    probability
        A detector's, of each window, shape (n_windows,).
    period
        Number of the period of each window.
    n_periods, level
        Number of periods, and level of the interval.

    Notes
    -----
    A ratio estimate: each period gets its share of the season's count in proportion to its sum of probabilities. Its
    limits have two parts, added as squares: its share of the season's, and the normal interval of a sum of independent
    windows, each with its probability scaled to the season's count. They leave out how the detector differs from one
    period to another, and how the sound does: ``docs/counts.md`` says how often they hold the truth.
    """
    estimate, low, high = season
    of_period = np.bincount(period, weights=probability, minlength=n_periods)
    total = float(of_period.sum())
    if total == 0:
        return (np.full(n_periods, np.nan),) * 3
    scaled = np.clip(probability * max(estimate, 0.0) / total, 0.0, 1.0)
    spread = ndtri((1 + level) / 2) * np.sqrt(np.bincount(period, weights=scaled * (1 - scaled), minlength=n_periods))
    share = of_period / total
    below, above = np.hypot((estimate - low) * share, spread), np.hypot((high - estimate) * share, spread)
    return estimate * share, estimate * share - below, estimate * share + above
