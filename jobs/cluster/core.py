"""K-means on arrays: scaling, first centroids, the fit, nearest centroids."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans, kmeans_plusplus

from jobs.cluster.config import Config, Normalise

Vectors = NDArray[np.float32]
CONSTANT = 1e-6
"""A feature whose deviation is below this share of its mean is rounding, not variation."""
AUTO_CLUSTERS = (2, 100)


@dataclass(frozen=True)
class Moments:
    """Number of windows, mean of each feature, and sum of squares about it; float64, shape (n_features,)."""

    n: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """How vectors are scaled before they are compared.

    Attributes
    ----------
    mean, deviation
        What is taken off each feature, and what it is divided by then; float64, shape (n_features,).
    unit
        Whether every vector is divided by its length at last.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    unit: bool


@dataclass(frozen=True)
class Clustering:
    """What labels windows: how vectors are scaled, and the centroids, shape (n_clusters, n_features)."""

    scale: Scale
    centroids: Vectors

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.centroids)


@dataclass(frozen=True)
class Schedule:
    """How many batches of how many windows the fit sees.

    Attributes
    ----------
    batch_size
        Windows in a batch: as configured, but not fewer than clusters nor more than windows.
    n_batches
        Batches in all.
    n_settling
        Batches of the last epoch, in which no cluster starts anew.
    """

    batch_size: int
    n_batches: int
    n_settling: int


def schedule(n_windows: int, n_clusters: int, batch_size: int, n_epochs: int, max_batches: int | None) -> Schedule:
    """Return the schedule of a fit; windows left over by an epoch go into the next one's batches."""
    size = min(n_windows, max(batch_size, n_clusters))
    total = max(1, n_epochs * n_windows // size)
    total = total if max_batches is None else min(total, max_batches)
    return Schedule(size, total, min(total, max(1, n_windows // size)))


def moments(vectors: Vectors) -> Moments:
    """Return the moments of vectors, shape (n_windows, n_features), n_windows at least 1."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    return Moments(len(vectors), mean, np.square(vectors - mean).sum(axis=0))


def merged(parts: Iterable[Moments]) -> Moments:
    """Return the moments of all windows from those of disjoint parts, merged in their order.

    Notes
    -----
    Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance".
    """
    first, *others = parts
    n, mean, squares = first.n, first.mean, first.squares
    for part in others:
        total, gap = n + part.n, part.mean - mean
        mean = mean + gap * (part.n / total)
        squares = squares + part.squares + gap**2 * (n * part.n / total)
        n = total
    return Moments(n, mean, squares)


def scale_of(statistics: Moments, normalise: Normalise) -> Scale:
    """Return the scale that a setting and the moments of all windows make; constant features become 0."""
    unit = normalise in {"zscore_l2", "l2"}
    if normalise in {"none", "l2"}:
        return Scale(np.zeros_like(statistics.mean), np.ones_like(statistics.mean), unit)
    deviation = np.sqrt(statistics.squares / statistics.n)
    varies = deviation > CONSTANT * np.abs(statistics.mean)
    return Scale(statistics.mean, np.where(varies, deviation, 1.0), unit)


def scaled(vectors: Vectors, scale: Scale) -> Vectors:
    """Return scaled vectors, float32, same shape; a vector of length 0 stays as it is."""
    out = (vectors - scale.mean.astype(np.float32)) / scale.deviation.astype(np.float32)
    if scale.unit:
        length = np.sqrt(np.square(out).sum(axis=1, keepdims=True))
        out /= np.where(length > 0, length, 1)
    return np.asarray(out, dtype=np.float32)


def number_of_clusters(wanted: int | str, n_windows: int) -> int:
    """Return the number of clusters: the one wanted, or the root of half the windows, from 2 to 100."""
    if isinstance(wanted, int):
        return wanted
    low, high = AUTO_CLUSTERS
    return min(n_windows, max(low, min(high, round(math.sqrt(n_windows / 2)))))


def first_centroids(sample: Vectors, n_clusters: int, seed: int) -> Vectors:
    """Return the centroids that k-means++ chooses among a sample, shape (n_clusters, n_features)."""
    centroids, _ = kmeans_plusplus(sample, n_clusters, random_state=np.random.RandomState(_state(seed, 0)))
    return np.asarray(centroids, dtype=np.float32)


def fit(batches: Iterable[Vectors], first: Vectors, config: Config, plan: Schedule) -> Vectors:
    """Move centroids, batch by batch.

    Parameters
    ----------
    batches
        Scaled vectors, each shape (n, n_features) with n at least the number of clusters.
    first
        Centroids to begin with, shape (n_clusters, n_features).
    config
        The job's configuration.
    plan
        How many batches there are, and how many of the last ones start no cluster anew: a centroid that
        was put on a window by chance shall not end there.

    Returns
    -------
    NDArray
        float32, shape (n_clusters, n_features).

    Notes
    -----
    scikit-learn's ``MiniBatchKMeans.partial_fit``, one batch after the other.
    """
    model = MiniBatchKMeans(
        len(first), init=first, n_init=1, batch_size=plan.batch_size, compute_labels=False,
        random_state=np.random.RandomState(_state(config.seed, 1)), reassignment_ratio=config.reassignment_ratio,
    )  # fmt: skip
    for i, batch in enumerate(batches):
        if i == plan.n_batches - plan.n_settling:
            model.set_params(reassignment_ratio=0.0)
        model.partial_fit(batch)
    return np.array(model.cluster_centers_, dtype=np.float32)


def assign(vectors: Vectors, centroids: Vectors) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Return the nearest centroid of each vector and the Euclidean distance to it, shape (n_windows,).

    Computed in float64, so that rounding decides nothing that is not a tie; of two at the same
    distance the lower number is taken.
    """
    x, c = vectors.astype(np.float64), centroids.astype(np.float64)
    nearest = (np.square(c).sum(axis=1) - 2 * (x @ c.T)).argmin(axis=1)
    distance = np.sqrt(np.square(x - c[nearest]).sum(axis=1))
    return nearest.astype(np.int16), distance.astype(np.float32)


def _state(seed: int, purpose: int) -> int:
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1)[0])
