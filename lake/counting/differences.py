"""Counts by a detector, corrected by the windows heard: what it missed is added, what it invented is taken away."""

import numpy as np
from numpy.typing import NDArray

from lake.counting.limits import Floats, Limits, Rows, covariance, rest_of, sums, value_limits, variance


def difference_limits(
    rows: Rows, predicted: Floats, is_positive: NDArray[np.bool_], *,
    n_windows: Floats, total_predicted: Floats, level: float,
) -> Limits:  # fmt: skip
    """Return the difference estimate of each cell with an interval.

    Parameters
    ----------
    rows
        Windows heard.
    predicted
        What a detector said of each before it was heard, from 0 to 1.
    is_positive
        Whether each holds the sound.
    n_windows, total_predicted
        Windows of each cell, and the sum of the predictions over all of them.
    level
        Of the interval, 0.95 for example.

    Notes
    -----
    The sum of all predictions, plus Σ (1 - p) / π over the windows heard with a yes, minus Σ p / π over those with a
    no, for predictions p and probabilities of inclusion π: the difference estimator (Cassel, Särndal and Wretman 1976;
    Särndal, Swensson and Wretman 1992, ch. 6). It is unbiased for any predictions that were made before the windows
    were heard, so for a detector that did not learn from them; it varies less the better they are. With predictions of
    0 it is the estimate of :func:`lake.counting.limits.limits`, and so is its interval.

    Both sums have the limits of :func:`lake.counting.limits.value_limits`. Those of their difference are Zou and
    Donner's (2008; method of variance estimates recovery) with the correlation of the two (Zou 2007). It is negative,
    since a window that holds the sound takes the place of one that does not.
    """
    n_cells, rest = len(n_windows), rest_of(rows, n_windows)
    certain = sums(rows.cell, rows.share * predicted * (rows.probability >= 1), n_cells)
    rest_predicted = np.maximum(total_predicted - certain, 0.0)
    rest_missed = np.maximum(rest - rest_predicted, 0.0)
    missed = value_limits(rows, 1 - predicted, is_positive, rest=rest, rest_value=rest_missed, level=level)
    invented = value_limits(rows, predicted, ~is_positive, rest=rest, rest_value=rest_predicted, level=level)
    correlation = _correlation(rows, (1 - predicted) * is_positive, predicted * ~is_positive, n_cells)
    estimate = total_predicted + missed.estimate - invented.estimate
    up, down = missed.high - missed.estimate, missed.estimate - missed.low
    more, less = invented.high - invented.estimate, invented.estimate - invented.low
    high = estimate + np.sqrt(up**2 + less**2 - 2 * correlation * up * less)
    low = estimate - np.sqrt(down**2 + more**2 - 2 * correlation * down * more)
    return Limits(estimate, low, high, missed.n_random)


def _correlation(rows: Rows, one: Floats, other: Floats, n_cells: int) -> Floats:
    """Return the correlation of two estimated sums in each cell, at most 0."""
    both = variance(rows, one, n_cells) * variance(rows, other, n_cells)
    found = covariance(rows, one, other, n_cells)
    return np.clip(np.divide(found, np.sqrt(both), out=np.zeros(n_cells), where=both > 0), -1.0, 0.0)
