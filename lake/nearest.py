"""Distances from one vector to the windows of vector sets, span by span; whitened ones by one product a window."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lake.scaling import Scaling, Vectors, scaled, scaled_and_lengths
from lake.vectors import Span, VectorSets, read_span
from lake.whitening import keep_lengths, kept_lengths

Metric = Literal["cosine", "euclidean"]
MARGIN = 1e-4
"""More than the cosine of two whitened vectors changes by float32 rounding."""


class Comparison:
    """Distances from one vector to all windows.

    Parameters
    ----------
    sets
        What is searched.
    vector
        As it is stored, the sets side by side, float32, shape (n_features,).
    scaling
        The whitening of the sets; ``None`` compares vectors as they are stored.
    metric
        The distance.

    Notes
    -----
    With x a stored vector, q the scaled one that is searched for, A the whitening's axes over the deviations and m the
    mean, the cosine is (x - m) @ (A.T @ q) / length(A @ (x - m)). The first search gathers the lengths and keeps them;
    later ones need one product of each window. Windows that may be among the nearest are compared in full.
    """

    def __init__(self, sets: VectorSets, vector: Vectors, scaling: Scaling | None, metric: Metric) -> None:
        self.sets, self.scaling, self.metric = sets, scaling, metric
        wanted = vector[None] if scaling is None else scaled(vector[None], scaling)
        self.wanted = wanted[0].astype(np.float64)
        self.lengths = None if scaling is None else kept_lengths(sets)
        self.gathered: Vectors | None = None
        if scaling is not None and self.lengths is None:
            self.gathered = np.zeros((sets.n_windows, len(sets.arrays)), dtype=np.float32)

    def nearest(
        self, span: Span, allowed: NDArray[np.bool_], n: int, limit: float
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the nearest windows of a span.

        Parameters
        ----------
        span
            Windows to compare.
        allowed
            Which of them count, shape (n_windows,).
        n
            How many at most.
        limit
            Windows that are farther may be left out.

        Returns
        -------
        rows, distances
            Nearest first; of those at the same distance, the first in time.
        """
        vectors = read_span(self.sets, span)
        rows = np.flatnonzero(allowed)
        if self.scaling is not None and self.lengths is not None:
            rows = rows[self._possible(vectors[rows], self.lengths[span.first_row + rows], n, limit)]
            vectors = scaled(vectors[rows], self.scaling)
        elif self.scaling is not None and self.gathered is not None:
            vectors, lengths = scaled_and_lengths(vectors, self.scaling, in_place=True)
            self.gathered[span.first_row : span.first_row + len(lengths)] = lengths
            vectors = vectors[rows]
        else:
            vectors = vectors if len(rows) == len(vectors) else vectors[rows]
        distance = _distances(vectors, self.wanted, self.metric)
        near = np.argsort(distance, kind="stable")[:n]
        near = near[distance[near] <= limit]
        return rows[near], distance[near]

    def keep(self) -> None:
        """Keep what a search of all spans gathered."""
        if self.gathered is not None:
            keep_lengths(self.sets, self.gathered)

    def _possible(self, vectors: Vectors, lengths: Vectors, n: int, limit: float) -> NDArray[np.intp]:
        """Return which whitened windows may be among the n nearest."""
        if self.scaling is None or not len(vectors):
            return np.zeros(0, dtype=np.intp)
        n_sets = len(self.scaling.scales)
        cosine, squares = np.zeros(len(vectors)), np.zeros(len(vectors))
        first = column = 0
        for i, scale in enumerate(self.scaling.scales):
            part = self.wanted[column : column + scale.n_scaled]
            weights = part if scale.components is None else part @ scale.components.astype(np.float64)
            weights = weights * (1 / scale.deviation).astype(np.float32)
            product = vectors[:, first : first + scale.n_features].astype(np.float64) @ weights
            product -= scale.mean.astype(np.float32).astype(np.float64) @ weights
            has_length = lengths[:, i] > 0
            cosine += np.where(has_length, product / np.where(has_length, lengths[:, i], 1), 0) / np.sqrt(n_sets)
            squares += has_length / n_sets
            first, column = first + scale.n_features, column + scale.n_scaled
        of_wanted = float(self.wanted @ self.wanted)
        if self.metric == "euclidean":
            about, limit = squares + of_wanted - 2 * cosine, limit * limit
        else:
            both = np.sqrt(squares * of_wanted)
            about = 1 - cosine / np.where(both > 0, both, 1)
        if len(about) > n:
            limit = min(limit, float(np.partition(about, n - 1)[n - 1]) + 2 * MARGIN)
        return np.flatnonzero(about <= limit + 2 * MARGIN)


def _distances(vectors: Vectors, wanted: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Return the distance of each vector, shape (n_windows, n), to one."""
    x = vectors.astype(np.float64)
    if metric == "euclidean":
        x -= wanted
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", x, x)))
    lengths = np.sqrt(np.einsum("ij,ij->i", x, x)) * np.sqrt(wanted @ wanted)
    return np.asarray(1 - x @ wanted / np.where(lengths > 0, lengths, 1))
