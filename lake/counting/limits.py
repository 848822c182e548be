"""Estimates and intervals of weighted counts, for many cells at once, in plain arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CAUTION = 0.35
"""Distance of the weight of the next positive, in logarithms, from that of those heard to the largest weight."""
FEW = 2.0
"""Positives heard by chance at which this caution is one e-th of the way from all to :data:`CAUTION`."""


@dataclass(frozen=True)
class Rows:
    """Windows heard of a sample, one value each.

    Attributes
    ----------
    cell, stratum
        Number of the cell that is counted, and of the batch and stratum that the window was drawn in.
    probability, share
        Probability of inclusion, and the weight of the batch; the weights of all batches add up to 1.
    """

    cell: Ints
    stratum: Ints
    probability: Floats
    share: Floats


@dataclass(frozen=True)
class Limits:
    """Estimate and interval of each cell; ``n_random`` positives were heard by chance, not for certain."""

    estimate: Floats
    low: Floats
    high: Floats
    n_random: Floats


def limits(rows: Rows, is_positive: NDArray[np.bool_], n_windows: Floats, level: float) -> Limits:
    """Return the Horvitz–Thompson estimate of each cell with a beta interval for weighted draws.

    Parameters
    ----------
    rows
        Windows heard.
    is_positive
        Whether each holds the sound.
    n_windows
        Windows of each cell.
    level
        Of the interval, 0.95 for example.

    Notes
    -----
    Horvitz and Thompson (1952) for the estimate; its variance is Hájek's for samples of a fixed size, within strata
    (Hájek 1964), summed over batches with the squares of their weights.

    The interval is Clopper and Pearson's (1934) where all weights are equal. For other weights the beta distributions
    are those with the mean and the variance of the estimate, as Korn and Graubard (1998) do, and the upper limit adds
    one more positive, as Fay and Feuer (1997) do for weighted counts. They give it the largest weight, which covers
    always and is too wide; Tiwari et al. (2006) give it the mean weight, which fails where positives of large weights
    were just not heard. Here it lies between, in logarithms: at ``CAUTION`` of the way from the mean weight of the
    positives heard to the largest; all the way where none was heard, where the bound is exact; and
    ``CAUTION + (1 - CAUTION) exp(-x / FEW)`` where x were heard.
    """
    ones = np.ones(len(rows.cell))
    rest = rest_of(rows, n_windows)
    return value_limits(rows, ones, is_positive, rest=rest, rest_value=rest, level=level)


def rest_of(rows: Rows, n_windows: Floats) -> Floats:
    """Return how many windows of each cell were not certain; the mean of all batches by their weights."""
    certain = sums(rows.cell, rows.share * (rows.probability >= 1), len(n_windows))
    return np.maximum(n_windows - certain, 0.0)


def value_limits(
    rows: Rows, value: Floats, is_counted: NDArray[np.bool_], *, rest: Floats, rest_value: Floats, level: float
) -> Limits:
    """Return estimate and interval of the sum of the values of windows that are counted.

    Parameters
    ----------
    rows
        Windows heard.
    value
        What each adds if it is counted, from 0 to 1.
    is_counted
        Whether it is.
    rest, rest_value
        Of each cell the windows that were not certain, and the sum of their values if all were counted.
    level
        Of the interval.
    """
    n_cells = len(rest)
    is_random = rows.probability < 1
    weight, loose = rows.share * value / rows.probability, 1 - rows.probability
    certain = sums(rows.cell, rows.share * value * (is_counted & ~is_random), n_cells)
    found = sums(rows.cell, weight * (is_counted & is_random), n_cells)
    n_random = sums(rows.cell, loose * is_counted, n_cells)
    first = sums(rows.cell, loose * weight * is_counted, n_cells)
    second = sums(rows.cell, loose * weight**2 * is_counted, n_cells)
    typical = np.divide(second, first, out=np.zeros(n_cells), where=first > 0)
    largest = _largest_weight(rows, weight * is_random, rest_value)
    caution = CAUTION + (1 - CAUTION) * np.exp(-n_random / FEW)
    has_random = typical > 0
    one_more = np.where(has_random, np.where(has_random, typical, 1.0) ** (1 - caution) * largest**caution, largest)
    spread = variance(rows, value * is_counted, n_cells)
    tail = (1 - level) / 2
    low = _quantile(found, spread, typical, rest, tail, is_upper=False)
    high = _quantile(found + one_more, spread, one_more, rest, 1 - tail, is_upper=True)
    high = np.where(one_more > 0, high, found)  # no window that is left has a value
    return Limits(certain + found, certain + np.where(has_random, low, 0.0), certain + high, n_random)


def sums(group: Ints, values: Floats | NDArray[np.bool_], n: int) -> Floats:
    """Return the sum of the values of each group."""
    return np.bincount(group, weights=values, minlength=n).astype(np.float64)


def _largest_weight(rows: Rows, weight: Floats, rest_value: Floats) -> Floats:
    """Return the largest weight that a window of each cell may have: of its strata, and not below the mean."""
    n_cells = len(rest_value)
    of_stratum = np.zeros(int(rows.stratum.max(initial=-1)) + 1)
    np.maximum.at(of_stratum, rows.stratum, weight)
    largest = np.zeros(n_cells)
    np.maximum.at(largest, rows.cell, of_stratum[rows.stratum])
    n_heard = sums(rows.cell, rows.probability < 1, n_cells)
    return np.maximum(largest, rest_value / np.maximum(n_heard, 1))


def variance(rows: Rows, value: Floats, n_cells: int) -> Floats:
    """Return the variance of the estimated sum of values of each cell; see :func:`covariance`."""
    return np.maximum(covariance(rows, value, value, n_cells), 0.0)


def covariance(rows: Rows, one: Floats, other: Floats, n_cells: int) -> Floats:
    """Return the covariance of the estimated sums of two values of each window, in each cell.

    Hájek's (1964), for samples of a fixed size; windows of other cells count as without value.
    """
    n_strata = max(int(rows.stratum.max(initial=-1)) + 1, 1)
    loose, weight = 1 - rows.probability, rows.share / rows.probability
    n_heard = sums(rows.stratum, loose > 0, n_strata)
    loose_sum = sums(rows.stratum, loose, n_strata)
    pair, place = np.unique(rows.cell * n_strata + rows.stratum, return_inverse=True)
    cell, stratum = np.divmod(pair, n_strata)
    products = sums(place, loose * weight**2 * one * other, len(pair))
    totals = sums(place, loose * weight * one, len(pair)) * sums(place, loose * weight * other, len(pair))
    n = n_heard[stratum]
    centred = (products - totals / np.maximum(loose_sum[stratum], 1e-300)) * n / np.maximum(n - 1, 1)
    return sums(cell, np.where(n > 1, centred, products), n_cells)


def _quantile(count: Floats, variance: Floats, step: Floats, rest: Floats, level: float, *, is_upper: bool) -> Floats:
    """Return a quantile of the beta distribution of a count; ``step`` is the weight of one positive more (or less).

    With n draws of equal weight it has the parameters x + 1 and n - x (upper), or x and n - x + 1 (lower).
    """
    with np.errstate(all="ignore"):
        full = rest + step
        mean = count / full
        part = 1 - (count - step) / rest if is_upper else count / rest
        spread = variance + step**2 * np.clip(part, 0.0, 1.0) ** 2 * rest / full
        total = mean * (1 - mean) * full**2 / spread
        found = rest * betaincinv(total * mean, total * (1 - mean), level)
    if is_upper:
        return np.where(np.isfinite(found) & (mean < 1), found, rest)
    return np.where(np.isfinite(found), found, 0.0)
