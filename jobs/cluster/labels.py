"""The last pass: every window's cluster, block by block, and what the labels say of the clusters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.core import assign
from jobs.cluster.exemplars import Candidates, narrowed, span_of
from lake.constants import MS_PER_HOUR, UNTIMED
from lake.grid import Grid
from lake.scaling import Vectors

HOURS = 24
"""Recorders of this name were laid in sequence: their hours mean nothing."""


@dataclass(frozen=True)
class Labelled:
    """What a recorder's day was found to hold.

    Attributes
    ----------
    cells, cluster, distance
        Time index, cluster and distance of each window, shape (n_windows,).
    near
        Windows that may become exemplars.
    """

    cells: NDArray[np.int64]
    cluster: NDArray[np.int16]
    distance: NDArray[np.float32]
    near: Candidates


@dataclass(frozen=True)
class Totals:
    """Windows of each cluster by recorder and by UTC hour, int64, and the sum of squared distances."""

    by_recorder: NDArray[np.int64]
    by_hour: NDArray[np.int64]
    squares: NDArray[np.float64]

    @property
    def n_windows(self) -> NDArray[np.int64]:
        """Windows of each cluster."""
        return np.asarray(self.by_recorder.sum(axis=1))


def no_totals(n_clusters: int, n_recorders: int) -> Totals:
    """Return the totals of no window."""
    by_recorder, by_hour = (np.zeros((n_clusters, n), dtype=np.int64) for n in (n_recorders, HOURS))
    return Totals(by_recorder, by_hour, np.zeros(1))


def label_day(
    vectors: Vectors,
    centroids: Vectors,
    *,
    recorder: int,
    cells: NDArray[np.int64],
    grid: Grid,
    span_ms: int,
    n_near: int,
) -> Labelled:
    """Label the windows of one recorder's day.

    Parameters
    ----------
    vectors, centroids
        Scaled, shapes (n_windows, n_features) and (n_clusters, n_features).
    recorder, cells, grid
        Where the windows stand.
    span_ms, n_near
        Length of the spans that give one exemplar each, and exemplars of a cluster.
    """
    cluster, distance = assign(vectors, centroids)
    span = span_of(cells, hop_ms=grid.hop_ms, cells_per_day=grid.cells_per_day, span_ms=span_ms)
    windows = Candidates(cluster, distance, np.full(len(cells), recorder, dtype=np.int32), cells, span)
    return Labelled(cells, cluster, distance, narrowed(windows, n_near))


def count(totals: Totals, day: Labelled, *, recorder: int, name: str, grid: Grid) -> None:
    """Add a day to totals, in place; hours of recorders without a clock are left out."""
    n_clusters = len(totals.by_recorder)
    totals.by_recorder[:, recorder] += np.bincount(day.cluster, minlength=n_clusters)
    totals.squares[0] += np.square(day.distance, dtype=np.float64).sum()
    if not name.startswith(UNTIMED):
        hour = day.cells % grid.cells_per_day * grid.hop_ms // MS_PER_HOUR
        pairs = np.bincount(day.cluster.astype(np.int64) * HOURS + hour, minlength=n_clusters * HOURS)
        totals.by_hour[...] += pairs.reshape(n_clusters, HOURS)
