"""The order ``typical``: the middle of clusters that nothing was heard of, made anew for each batch."""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from jobs.review.orders import Chosen, Population, Rows
from lake.scaling import Vectors
from lake.threads import in_threads

MOST_CLUSTERS = 500
N_STEPS = 10
N_DRAWN = 4096
"""Vectors that the first centroids are drawn among, at most."""
ROWS_AT_ONCE, THREADS = 2048, 2


def typical(
    population: Population, rows: Rows, vectors: Vectors, heard: Vectors, n: int, *, random: np.random.Generator
) -> Chosen:
    """Choose windows near the centroids of many clusters, one of each: of those heard least, of these of the largest.

    Parameters
    ----------
    population, rows, vectors, heard, n
        As :func:`jobs.review.orders.farthest` takes them.
    random
        Draws the first centroids.

    Returns
    -------
    Chosen
        ``score`` is the distance to the centroid, ``stratum`` the cluster.

    Notes
    -----
    TypiClust: Hacohen, Dekel and Weinshall 2022, "Active learning on a budget: opposite strategies suit high and low
    budgets". There are as many clusters as windows heard and wanted, so nothing was heard of n of them. Typical is the
    window nearest to the centroid, where they take the one in the densest place; of a recorder's ten minutes that were
    asked already none is taken where the cluster has others.
    """
    both = np.concatenate([vectors, heard.reshape(-1, vectors.shape[1])])
    n_clusters = max(1, min(len(both) - len(vectors) + n, MOST_CLUSTERS, len(both) // 2))
    label, distance = clustered(both, n_clusters, random)
    sizes, n_heard = (
        np.bincount(some, minlength=n_clusters) for some in (label[: len(vectors)], label[len(vectors) :])
    )
    distance, spans = distance[: len(vectors)], population.spans(rows)
    left: list[list[int]] = [[] for _ in range(n_clusters)]
    for i in np.argsort(distance, kind="stable").tolist():
        left[label[i]].append(i)
    chosen: list[int] = []
    asked: set[int] = set()
    while len(chosen) < min(n, len(rows)):
        cluster = min((c for c in range(n_clusters) if left[c]), key=lambda c: (n_heard[c], -sizes[c], c))
        best = next((i for i in left[cluster] if int(spans[i]) not in asked), left[cluster][0])
        left[cluster].remove(best)
        n_heard[cluster] += 1
        asked.add(int(spans[best]))
        chosen.append(best)
    return Chosen(rows[chosen], score=distance[chosen], stratum=[f"cluster {label[i]}" for i in chosen])


def clustered(
    vectors: Vectors, n_clusters: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the cluster of each vector by k-means, and its distance to the centroid, shape (n_windows,).

    Notes
    -----
    Lloyd's algorithm, :data:`N_STEPS` steps. The first centroids are drawn among :data:`N_DRAWN` vectors, with
    probabilities that grow with the squared distance to those before (k-means++, Arthur and Vassilvitskii 2007).
    Each block of vectors is one product of one thread, so the number of threads changes no bit.
    """
    drawn = vectors if len(vectors) <= N_DRAWN else vectors[random.choice(len(vectors), N_DRAWN, replace=False)]
    with threadpool_limits(1):
        centroids = _first(drawn, n_clusters, random)
        for _ in range(N_STEPS):
            _, centroids = _assigned(vectors, centroids)
        label, _ = _assigned(vectors, centroids)
    apart = vectors - centroids[label]
    return label, np.sqrt(np.einsum("ij,ij->i", apart, apart, dtype=np.float64))


def _first(vectors: Vectors, n_clusters: int, random: np.random.Generator) -> Vectors:
    """Return the centroids that k-means++ draws."""
    lengths, nearest = np.einsum("ij,ij->i", vectors, vectors), np.full(len(vectors), np.inf)
    chosen = [int(random.integers(len(vectors)))]
    while len(chosen) < n_clusters:
        last = chosen[-1]
        squared = lengths + lengths[last] - 2 * (vectors @ vectors[last])
        np.minimum(nearest, np.maximum(squared, 0), out=nearest)
        total = nearest.sum()
        chosen.append(int(random.choice(len(vectors), p=nearest / total if total > 0 else None)))
    return vectors[chosen]


def _assigned(vectors: Vectors, centroids: Vectors) -> tuple[NDArray[np.int64], Vectors]:
    """Return the nearest centroid of each vector, and the means of those; a centroid without vectors stays."""
    half = np.einsum("ij,ij->i", centroids, centroids) / 2

    def of_block(first: int) -> tuple[NDArray[np.int64], Vectors]:
        block = vectors[first : first + ROWS_AT_ONCE]
        label = np.asarray((half - block @ centroids.T).argmin(axis=1), dtype=np.int64)
        members = np.zeros((len(centroids), len(block)), dtype=np.float32)
        members[label, np.arange(len(block))] = 1
        return label, members @ block

    labels, sums = zip(*in_threads(of_block, range(0, len(vectors), ROWS_AT_ONCE), THREADS), strict=True)
    label = np.concatenate(labels)
    counts = np.bincount(label, minlength=len(centroids))[:, None]
    return label, np.where(counts > 0, sum(sums) / np.maximum(counts, 1), centroids).astype(np.float32)
