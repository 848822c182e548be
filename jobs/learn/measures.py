"""How well scores separate yes from no, Platt scaling, thresholds, and their intervals over resampled groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
N_STEPS = 50
RIDGE = 0.2
"""Penalty on half the square of a slope per standard deviation of the scores; more where a kind is rare: 1 / n²."""
FLAT = 1e-6
"""Slope of a logistic fit below which scores say nothing."""


@dataclass(frozen=True)
class Ranking:
    """Quality of scores for each row of weights; arrays of shape (n_weights,), NaN without both yes and no."""

    average_precision: Floats
    auroc: Floats
    best_f1: Floats
    threshold: Floats
    """The score from which on F1 is best."""


def ranking(scores: Floats, is_yes: Bools, weights: Floats) -> Ranking:
    """Return average precision, area under the ROC curve and the best F1.

    Parameters
    ----------
    scores, is_yes
        Of each window, shape (n_windows,).
    weights
        How often each window counts, shape (n_weights, n_windows).

    Notes
    -----
    Windows of the same score are taken at once: average precision is the sum of the steps in recall times the precision
    at each distinct score, AUROC the probability that a yes scores above a no, half of it where they are equal (Fawcett
    2006, An introduction to ROC analysis).
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    yes = np.cumsum(weights[:, order] * is_yes[order], axis=1)[:, ends]
    no = np.cumsum(weights[:, order] * ~is_yes[order], axis=1)[:, ends]
    n_yes, n_no = yes[:, -1:], no[:, -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(yes + no > 0, yes / (yes + no), 0.0)
        more_yes, more_no = np.diff(yes, axis=1, prepend=0), np.diff(no, axis=1, prepend=0)
        average = (more_yes * precision).sum(axis=1) / n_yes[:, 0]
        auroc = (more_no * (yes - more_yes / 2)).sum(axis=1) / (n_yes * n_no)[:, 0]
        f1 = 2 * yes / (yes + no + n_yes)
    has_both = (n_yes[:, 0] > 0) & (n_no[:, 0] > 0)
    best = np.where(np.isnan(f1), -1, f1).argmax(axis=1)
    rows = np.arange(len(weights))
    found = (average, auroc, f1[rows, best], scores[order][ends[best]])
    return Ranking(*(np.where(has_both, one, np.nan) for one in found))


def platt(scores: Floats, is_yes: Bools, weights: Floats) -> tuple[Floats, Floats]:
    """Return slope and offset of the logistic function of the score that is nearest to yes and no.

    Parameters
    ----------
    scores, is_yes, weights
        As for :func:`ranking`.

    Returns
    -------
    tuple
        Both of shape (n_weights,). A slope is ``FLAT`` at least, so that probabilities keep the order of scores.

    Notes
    -----
    Platt 1999, Probabilistic outputs for support vector machines, with 1 and 0 for yes and no, as Wood and Kahl 2024
    fit them. Platt's own targets, (n_yes + 1) / (n_yes + 2) and 1 / (n_no + 2), made probabilities too low by .04 on
    average where yes are few. Newton's method, each step halved until the penalised loss falls.
    """
    centre, spread = scores.mean(), scores.std() or 1.0
    x = (scores - centre) / spread
    n_yes = (weights * is_yes).sum(axis=1, keepdims=True)
    n_no = (weights * ~is_yes).sum(axis=1, keepdims=True)
    target = np.broadcast_to(is_yes.astype(np.float64), weights.shape)
    ridge = RIDGE + 1 / np.maximum(np.minimum(n_yes, n_no), 1) ** 2
    slope, offset = np.zeros((len(weights), 1)), np.log((n_yes + 1) / (n_no + 1))
    loss = _loss(slope * x + offset, target, weights) + _half_square(slope, ridge)
    for _ in range(N_STEPS):
        p = _sigmoid(slope * x + offset)
        error, curve = weights * (p - target), weights * p * (1 - p)
        g1, g0 = (error * x).sum(axis=1, keepdims=True) + ridge * slope, error.sum(axis=1, keepdims=True)
        h11, h10, h00 = (
            (curve * x * x).sum(axis=1, keepdims=True) + ridge,
            (curve * x).sum(axis=1, keepdims=True),
            curve.sum(axis=1, keepdims=True) + FLAT,
        )
        determinant = h11 * h00 - h10 * h10
        d1, d0 = (h00 * g1 - h10 * g0) / determinant, (h11 * g0 - h10 * g1) / determinant
        step = np.ones_like(slope)
        for _ in range(20):
            tried_slope = slope - step * d1
            tried = _loss(tried_slope * x + offset - step * d0, target, weights) + _half_square(tried_slope, ridge)
            is_worse = tried > loss + 1e-12
            if not is_worse.any():
                break
            step = np.where(is_worse[:, None], step / 2, step)
        slope, offset = slope - step * d1, offset - step * d0
        fallen, loss = loss - tried, tried
        if np.all(np.abs(fallen) < 1e-10):
            break
    is_flat = slope[:, 0] / spread <= FLAT
    slope, offset = slope[:, 0] / spread, offset[:, 0] - slope[:, 0] * centre / spread
    base = np.log((n_yes + 1) / (n_no + 1))[:, 0]
    return np.where(is_flat, FLAT, slope), np.where(is_flat, base - FLAT * centre, offset)


def log_losses(scores: Floats, is_yes: Bools, slope: float, offset: float) -> Floats:
    """Return -log of the probability that was given to what was so, of each window."""
    z = slope * scores + offset
    return np.asarray(np.logaddexp(0, np.where(is_yes, -z, z)))


def threshold_of(precision: float, slope: Floats, offset: Floats) -> Floats:
    """Return the score at which a logistic fit reaches a probability; NaN where scores say nothing.

    Notes
    -----
    Wood and Kahl 2024, Guidelines for appropriate use of BirdNET scores and other detector outputs: a threshold is the
    score at which a logistic regression of validated detections gives the wanted probability.
    """
    found = (np.log(precision / (1 - precision)) - offset) / slope
    return np.where(slope > FLAT, found, np.nan)


def resampled(groups: Ints, n_bootstrap: int, seed: int) -> Floats:
    """Return how often each window counts where groups are drawn with replacement, shape (n_bootstrap, n_windows)."""
    n_groups = int(groups.max()) + 1
    drawn = np.random.default_rng([seed, 4]).multinomial(n_groups, np.full(n_groups, 1 / n_groups), n_bootstrap)
    return drawn[:, groups].astype(np.float64)


def interval(values: Floats) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _sigmoid(z: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(z, -500, 500)))


def _loss(z: Floats, target: Floats, weights: Floats) -> Floats:
    return np.asarray((weights * (np.logaddexp(0, z) - target * z)).sum(axis=1))


def _half_square(slope: Floats, ridge: Floats) -> Floats:
    return np.asarray((ridge / 2 * slope**2)[:, 0])
