"""Label windows, and score how well clusters agree with the labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from jobs.common.labels.intervals import Intervals, joined
from lake.grid import Grid

WINDOWS_AT_ONCE = 500_000
NONE = -1
"""Number of the label of a window that has none."""


@dataclass(frozen=True)
class Shares:
    """Overlaps of labels and windows: window, label, milliseconds and level of each, shape (n_pieces,)."""

    window: NDArray[np.int64]
    label: NDArray[np.int64]
    covered_ms: NDArray[np.int64]
    level_db: NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Agreement of clusters with labels: adjusted and normalised mutual information."""

    ami: float
    nmi: float


def dominant_labels(
    intervals: Intervals, cells: NDArray[np.int64], grid: Grid, *, min_overlap_ms: int
) -> NDArray[np.int64]:
    """Return the label of each window: the one that covers the most of its time.

    Parameters
    ----------
    intervals
        Labelled intervals of one recorder, in any order; they may overlap.
    cells
        Time index of each window of that recorder, ascending.
    grid
        Where windows stand in time.
    min_overlap_ms
        A label counts in a window if it covers at least this much of it.

    Returns
    -------
    NDArray
        Number of the label, int64, shape (n_windows,); :data:`NONE` where no label counts. Of labels that
        cover the same time the loudest is taken, of equally loud ones (a level that is not known is the
        lowest) the first in alphabetical order.
    """
    out = np.full(len(cells), NONE, dtype=np.int64)
    whole = joined(intervals)
    low = np.searchsorted(cells, (whole.start_ms - grid.origin_ms - grid.window_ms) // grid.hop_ms + 1)
    high = np.searchsorted(cells, -(-(whole.end_ms - grid.origin_ms) // grid.hop_ms))
    for first in range(0, len(cells), WINDOWS_AT_ONCE):
        interval, window = _pairs(*(np.clip(edge, first, first + WINDOWS_AT_ONCE) for edge in (low, high)))
        start_ms = grid.origin_ms + cells[window] * grid.hop_ms
        end_ms = np.minimum(whole.end_ms[interval], start_ms + grid.window_ms)
        covered_ms = end_ms - np.maximum(whole.start_ms[interval], start_ms)
        share = Shares(window, whole.label[interval], covered_ms, whole.level_db[interval])
        won = _winners(share, min_overlap_ms)
        out[share.window[won]] = share.label[won]
    return out


def confusion(
    clusters: NDArray[np.integer[Any]], labels: NDArray[np.int64], n_clusters: int, n_labels: int
) -> NDArray[np.int64]:
    """Return the number of windows of each cluster and label, shape (n_clusters, n_labels)."""
    pairs = clusters.astype(np.int64) * n_labels + labels
    return np.bincount(pairs, minlength=n_clusters * n_labels).reshape(n_clusters, n_labels)


def agreement(clusters: NDArray[np.integer[Any]], labels: NDArray[np.int64]) -> Agreement:
    """Return the agreement of clusters with labels.

    Notes
    -----
    Vinh, Epps and Bailey 2010, "Information theoretic measures for clusterings comparison", with the
    arithmetic mean of both entropies, as scikit-learn computes it.
    """
    ami = adjusted_mutual_info_score(labels, clusters)
    return Agreement(float(ami), float(normalized_mutual_info_score(labels, clusters)))


def _pairs(begin: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all (i, j) with ``begin[i] <= j < end[i]``, by i."""
    n = np.maximum(end - begin, 0)
    i = np.repeat(np.arange(len(n)), n)
    return i, begin[i] + np.arange(len(i)) - (np.cumsum(n) - n)[i]


def _winners(shares: Shares, min_overlap_ms: int) -> NDArray[np.intp]:
    """Return for each window that has a label the number of a piece of it."""
    order = np.lexsort((shares.label, shares.window))
    window, label = shares.window[order], shares.label[order]
    first = np.flatnonzero(np.diff(window, prepend=-1) | np.diff(label, prepend=-1))
    if not len(first):
        return order
    covered_ms = np.add.reduceat(shares.covered_ms[order], first)
    level_db = np.maximum.reduceat(np.nan_to_num(shares.level_db[order], nan=-np.inf, neginf=-np.inf), first)
    window, label = window[first], label[first]
    best = np.lexsort((label, -level_db, -covered_ms, window))
    best = best[covered_ms[best] >= min_overlap_ms]
    _, won = np.unique(window[best], return_index=True)
    return order[first[best[won]]]
