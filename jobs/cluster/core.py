"""K-means on arrays: first centroids, nearest centroids."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus

from lake.scaling import Scaling, Vectors

ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Clustering:
    """The scaling of vectors, and the centroids among scaled vectors, shape (n_clusters, n_scaled)."""

    scaling: Scaling
    centroids: Vectors

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.centroids)


def first_centroids(sample: Vectors, n_clusters: int, seed: int) -> Vectors:
    """Return the centroids that k-means++ chooses among a sample, shape (n_clusters, n_features)."""
    state = int(np.random.SeedSequence([seed, 0]).generate_state(1)[0])
    centroids, _ = kmeans_plusplus(sample, n_clusters, random_state=np.random.RandomState(state))
    return np.asarray(centroids, dtype=np.float32)


def assign(vectors: Vectors, centroids: Vectors) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Return the nearest centroid of each vector and the Euclidean distance to it, shape (n_windows,).

    Computed in float64, so that rounding decides nothing that is not a tie; of two at the same
    distance the lower number is taken.
    """
    c = centroids.astype(np.float64)
    offsets, twice = np.square(c).sum(axis=1), 2 * c.T
    nearest, distance = np.empty(len(vectors), dtype=np.int16), np.empty(len(vectors), dtype=np.float32)
    for first in range(0, len(vectors), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        x = vectors[rows].astype(np.float64)
        nearest[rows] = (offsets - x @ twice).argmin(axis=1)
        x -= c[nearest[rows]]
        distance[rows] = np.sqrt(np.einsum("ij,ij->i", x, x))
    return nearest, distance
