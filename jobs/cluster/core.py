"""K-means on arrays: scaling, first centroids, nearest centroids."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus

from jobs.cluster.config import Normalise

Vectors = NDArray[np.float32]
CONSTANT = 1e-6
"""A feature whose deviation is below this share of its mean is rounding, not variation."""
AUTO_CLUSTERS = (2, 100)
ROWS_AT_ONCE = 4096


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
    components
        Directions, at right angles and of length 1, that vectors are projected on before that; float32, shape
        (n_components, n_features). ``None`` leaves vectors as they are.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    unit: bool
    components: Vectors | None = None


@dataclass(frozen=True)
class Clustering:
    """What labels windows: how vectors are scaled, and the centroids, shape (n_clusters, n_features)."""

    scale: Scale
    centroids: Vectors

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.centroids)


def moments(vectors: Vectors) -> Moments:
    """Return the moments of windows, shape (n_windows, n_features), at least one."""
    mean, squares = np.zeros(vectors.shape[1]), np.zeros(vectors.shape[1])
    # About the first window, in parts: the sums stay small, and no copy of all windows is made in float64.
    shift = vectors[0].astype(np.float64)
    for first in range(0, len(vectors), ROWS_AT_ONCE):
        part = vectors[first : first + ROWS_AT_ONCE] - shift
        mean += part.sum(axis=0)
        squares += np.einsum("ij,ij->j", part, part)
    mean /= len(vectors)
    return Moments(len(vectors), shift + mean, np.maximum(squares - len(vectors) * np.square(mean), 0))


def merged(parts: Iterable[Moments]) -> Moments:
    """Return the moments of all windows from those of parts, in the order of the parts.

    Notes
    -----
    Chan, Golub and LeVeque 1979: nothing is squared before the mean is taken off.
    """
    first, *others = parts
    n, mean, squares = first.n, first.mean, first.squares
    for part in others:
        gap, total = part.mean - mean, n + part.n
        mean = mean + gap * (part.n / total)
        squares = squares + part.squares + np.square(gap) * (n * part.n / total)
        n = total
    return Moments(n, mean, squares)


def scale_of(over_all: Moments, normalise: Normalise) -> Scale:
    """Return the scale that a normalisation makes of the moments of all windows."""
    n_features, unit = len(over_all.mean), normalise.endswith("l2")
    if not normalise.startswith("zscore"):
        return Scale(np.zeros(n_features), np.ones(n_features), unit)
    deviation = np.sqrt(over_all.squares / over_all.n)
    varies = deviation > CONSTANT * np.abs(over_all.mean)
    return Scale(over_all.mean, np.where(varies, deviation, 1.0), unit)


def with_components(scale: Scale, sample: Vectors, n_components: int) -> Scale:
    """Return a scale that projects on the principal components of a sample of unscaled vectors.

    Notes
    -----
    The eigenvectors of the scaled sample's covariance with the largest values; each one's largest element is
    made positive, so that its sign is no accident.
    """
    plain = scaled(sample, replace(scale, unit=False)).astype(np.float64)
    plain -= plain.mean(axis=0)
    _, vectors = np.linalg.eigh(plain.T @ plain)
    components = vectors[:, ::-1].T[:n_components]
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return replace(scale, components=(components * np.sign(largest)).astype(np.float32))


def scaled(vectors: Vectors, scale: Scale, *, in_place: bool = False) -> Vectors:
    """Return scaled vectors, float32, shape (n_windows, n_features or n_components); length 0 stays as it is.

    ``in_place`` writes over the vectors that were given.
    """
    out = vectors if in_place else np.empty(vectors.shape, dtype=np.float32)
    np.subtract(vectors, scale.mean.astype(np.float32), out=out, dtype=np.float32)
    out *= (1 / scale.deviation).astype(np.float32)
    if scale.components is not None:
        out = out @ scale.components.T
    if scale.unit:
        length = np.sqrt(np.einsum("ij,ij->i", out, out))
        out /= np.where(length > 0, length, 1)[:, None]
    return out


def in_features(centroids: Vectors, scale: Scale) -> Vectors:
    """Return centroids as points in the space of the features, where a projection leaves them as they are."""
    return centroids if scale.components is None else centroids @ scale.components


def number_of_clusters(wanted: int | str, n_windows: int) -> int:
    """Return the number of clusters: the one wanted, or the root of half the windows, from 2 to 100."""
    if isinstance(wanted, int):
        return wanted
    low, high = AUTO_CLUSTERS
    return min(n_windows, max(low, min(high, round(math.sqrt(n_windows / 2)))))


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
