"""The count of a season, shared out among its nights or other short periods by a detector's probabilities."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

Floats = NDArray[np.float64]

LEAST = 1e-6
"""Probabilities are cut to this and its complement."""
N_BINS, N_STEPS = 100, 40
"""Bins of the likelihood ratio, and halvings of the range of a prevalence."""


def shared_out(
    season: tuple[float, float, float], probability: Floats, period: NDArray[np.int64], n_periods: int, level: float
) -> tuple[Floats, Floats, Floats]:
    """Return estimate, low and high of each period; limits may lie outside of what is possible.

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
    Probabilities are shifted, in log odds, until they add up to the season's count. With the season's prevalence they
    are likelihood ratios, and each period has the prevalence that makes its ratios likeliest (Saerens, Latinne and
    Decaestecker 2002). The estimates are scaled so that they add up to the season's.

    Limits have two parts, added as squares: the difference to the estimates of a season at its limits, and the normal
    interval from Fisher's information on the prevalence, or from the windows' own variance where that is more. All
    this holds if scores of windows with the sound are spread alike in all periods, and so those of windows without.
    ``docs/counts.md`` says how often the limits hold the truth.
    """
    estimate, low, high = season
    odds = logit(np.clip(probability, LEAST, 1 - LEAST))
    middle, spread = _counts(odds, period, n_periods, estimate)
    below, _ = _counts(odds, period, n_periods, low)
    above, _ = _counts(odds, period, n_periods, high)
    reach = ndtri((1 + level) / 2) * spread
    factor = estimate / middle.sum() if middle.sum() > 0 else 1.0
    at = middle * factor
    return at, at - np.hypot(np.maximum(middle - below, 0), reach), at + np.hypot(np.maximum(above - middle, 0), reach)


def _counts(odds: Floats, period: NDArray[np.int64], n_periods: int, total: float) -> tuple[Floats, Floats]:
    """Return the count of each period and its standard deviation, if all periods together have a count."""
    n_windows = len(odds)
    total = float(np.clip(total, LEAST * n_windows, (1 - LEAST) * n_windows))
    ratio = odds + _shift(odds, total) - logit(total / n_windows)
    edges = np.linspace(ratio.min(), ratio.max() + LEAST, N_BINS + 1)
    place = np.clip(np.digitize(ratio, edges) - 1, 0, N_BINS - 1)
    in_bin = np.bincount(place, minlength=N_BINS)
    r = np.exp(np.bincount(place, weights=ratio, minlength=N_BINS) / np.maximum(in_bin, 1))
    n = np.bincount(period * N_BINS + place, minlength=n_periods * N_BINS).reshape(n_periods, N_BINS)
    low, high = np.zeros(n_periods), np.ones(n_periods)
    for _ in range(N_STEPS):
        middle = (low + high) / 2
        is_rising = (n * ((r - 1) / (1 + middle[:, None] * (r - 1)))).sum(axis=1) > 0
        low, high = np.where(is_rising, middle, low), np.where(is_rising, high, middle)
    prevalence = (low + high) / 2
    slope = (r - 1) / (1 + prevalence[:, None] * (r - 1))
    information = (n * slope**2).sum(axis=1)
    size = n.sum(axis=1)
    chance = prevalence[:, None] * r / (1 + prevalence[:, None] * (r - 1))
    own = (n * chance * (1 - chance)).sum(axis=1)
    fitted = np.divide(size**2, information, out=size.astype(np.float64) ** 2, where=information > 1)
    return prevalence * size, np.sqrt(np.maximum(fitted, own))


def _shift(odds: Floats, total: float) -> float:
    """Return what is added to log odds so that probabilities add up to a total."""
    low, high = -60.0, 60.0
    for _ in range(N_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(odds + middle).sum() < total else (low, middle)
    return (low + high) / 2
