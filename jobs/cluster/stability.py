"""Measure how stable clusters are: refits on halves, and a scan over their number."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, silhouette_score

from jobs.cluster.config import Config
from jobs.cluster.core import assign
from jobs.cluster.kmeans import fit_sample, labels_of
from jobs.common.ordered import Team
from lake.scaling import Vectors

ALONE = Team(1)
N_SILHOUETTE = 2_000
"""Windows of the sample that a silhouette is computed on."""


@dataclass(frozen=True)
class Tried:
    """One number of clusters, tried on the sample.

    Attributes
    ----------
    n_clusters
        How many.
    mean_square_distance
        Inertia a window, in the space of the scaled vectors.
    silhouette
        Mean over at most :data:`N_SILHOUETTE` windows; NaN if all are in one cluster.
    ari_seeds
        Adjusted Rand index of two fits with other seeds.
    ari_subsamples
        Mean adjusted Rand index, over all windows of the sample, of a fit to all and fits to one half each.
    """

    n_clusters: int
    mean_square_distance: float
    silhouette: float
    ari_seeds: float
    ari_subsamples: float


def stability(sample: Vectors, centroids: Vectors, config: Config, team: Team = ALONE) -> NDArray[np.float32]:
    """Return how well each cluster is found again in halves of a sample.

    Parameters
    ----------
    sample
        Scaled vectors, shape (n_windows, n_features).
    centroids
        The clustering, shape (n_clusters, n_features).
    config
        The job's configuration; ``n_refits`` halves are drawn.
    team
        Who refits, a half each.

    Returns
    -------
    NDArray
        float32, shape (n_clusters,): the mean over the refits of the largest Jaccard index that the cluster's
        windows in the sample have with a cluster of the refit. NaN without refits, for a cluster without
        windows in the sample, and where halves are smaller than the number of clusters.

    Notes
    -----
    Hennig 2007, "Cluster-wise assessment of cluster stability": below 0.5 a cluster dissolves, from 0.75 on it
    is found again.
    """
    n_clusters, half = len(centroids), len(sample) // 2
    if half < n_clusters or not config.n_refits:
        return np.full(n_clusters, np.nan, dtype=np.float32)
    own = labels_of(sample, centroids)
    found = list(team.in_order(partial(_found_again, sample, own, n_clusters, config), range(config.n_refits)))
    return np.asarray(np.mean(found, axis=0), dtype=np.float32)


def numbers_to_try(sample: Vectors, config: Config) -> list[int]:
    """Return those of ``scan_n_clusters`` that the sample is large enough for, in ascending order."""
    return [n for n in sorted(set(config.scan_n_clusters)) if n <= len(sample) // 2]


def scan(sample: Vectors, config: Config, team: Team = ALONE) -> list[Tried]:
    """Try each of :func:`numbers_to_try`, in their order; a task each."""
    return list(team.in_order(partial(_tried, sample, config), numbers_to_try(sample, config)))


def columns(rows: Sequence[Tried]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the numbers of clusters, and the other figures, shape (4, n_rows)."""
    values = [astuple(row) for row in rows]
    counts = np.array([row[0] for row in values], dtype=np.int32)
    return counts, np.array([row[1:] for row in values], dtype=np.float32).reshape(len(values), 4).T


def _found_again(
    sample: Vectors, own: NDArray[np.int16], n_clusters: int, config: Config, i: int
) -> NDArray[np.float64]:
    """Return how well each cluster is found again in the i-th half."""
    refit = fit_sample(_half(sample, config.seed, i), n_clusters, config, seed=config.seed + 1 + i)
    return _largest_jaccard(own, labels_of(sample, refit), n_clusters)


def _tried(sample: Vectors, config: Config, n_clusters: int) -> Tried:
    centroids = fit_sample(sample, n_clusters, config, seed=config.seed)
    own, distance = assign(sample, centroids)
    other = labels_of(sample, fit_sample(sample, n_clusters, config, seed=config.seed + 1))
    halves = [
        labels_of(sample, fit_sample(_half(sample, config.seed, i), n_clusters, config, seed=config.seed))
        for i in (0, 1)
    ]
    some = np.random.default_rng([config.seed, 7]).permutation(len(sample))[:N_SILHOUETTE]
    is_split = 1 < len(np.unique(own[some])) < len(some)
    return Tried(
        n_clusters,
        float(np.square(distance, dtype=np.float64).mean()),
        float(silhouette_score(sample[some], own[some])) if is_split else float("nan"),
        float(adjusted_rand_score(own, other)),
        float(np.mean([adjusted_rand_score(own, labels) for labels in halves])),
    )


def _half(sample: Vectors, seed: int, i: int) -> Vectors:
    return sample[np.sort(np.random.default_rng([seed, 6, i]).permutation(len(sample))[: len(sample) // 2])]


def _largest_jaccard(own: NDArray[np.int16], other: NDArray[np.int16], n_clusters: int) -> NDArray[np.float64]:
    both = np.bincount(own.astype(np.int64) * n_clusters + other, minlength=n_clusters**2).reshape(n_clusters, -1)
    sizes = both.sum(axis=1)
    either = sizes[:, None] + both.sum(axis=0)[None] - both
    best = (both / np.maximum(either, 1)).max(axis=1)
    return np.where(sizes > 0, best, np.nan)
