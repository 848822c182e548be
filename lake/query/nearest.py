"""Distances from one vector to windows: those of their vectors, and bounds from their codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lake.query.codes import Codes
from lake.scaling import Scaling, Vectors, scaled

Metric = Literal["cosine", "euclidean"]
Floats = NDArray[np.float64]
ROUNDING = 2.0**-22
"""More than rounding a length to float32 changes what is divided by it, or its square."""
SMALLEST = 2.0**-200
"""Squares of lengths below it are of lengths that float32 does not hold to 24 bits."""


@dataclass(frozen=True)
class _OfSet:
    """What the vectors of one set are compared with: the product is ``(x - mean) @ weights``."""

    columns: slice
    weights: Floats
    mean: Floats | None


class Comparison:
    """Distances from one vector to windows.

    Parameters
    ----------
    n_features
        Features of each vector set.
    vector
        As it is stored, the sets side by side, float32, shape (n_features of all,).
    scaling
        The whitening of the sets; ``None`` compares vectors as they are stored.
    metric
        The distance.

    Notes
    -----
    With x a stored vector, q the scaled one that is searched for, A the whitening's axes over the deviations and m the
    mean, the cosine is (x - m) @ (A.T @ q) / length(A @ (x - m)): one product of each window, and a length that is
    kept. All sums run in float64 and in the order of the features, so that the distance of a window is the same to the
    last bit among any other windows.
    """

    def __init__(self, n_features: Sequence[int], vector: Vectors, scaling: Scaling | None, metric: Metric) -> None:
        self.metric, self.is_whitened = metric, scaling is not None
        wanted = vector[None] if scaling is None else scaled(vector[None], scaling)
        self.wanted = wanted[0].astype(np.float64)
        self.squares = float(self.wanted @ self.wanted)
        self.sets: list[_OfSet] = []
        first = column = 0
        for i, n in enumerate(n_features):
            columns = slice(first, first + n)
            if scaling is None:
                self.sets.append(_OfSet(columns, self.wanted[columns], None))
            else:
                scale = scaling.scales[i]
                part = self.wanted[column : column + scale.n_scaled] / np.sqrt(len(n_features))
                weights = part if scale.components is None else part @ scale.components.astype(np.float64)
                weights = weights * (1 / scale.deviation).astype(np.float32)
                self.sets.append(_OfSet(columns, weights, scale.mean.astype(np.float32).astype(np.float64)))
                column += scale.n_scaled
            first += n

    def distances(self, vectors: Vectors, lengths: Vectors | None) -> Floats:
        """Return the distance of each window, shape (n_windows,).

        Parameters
        ----------
        vectors
            As they are stored, float32, shape (n_windows, n_features of all).
        lengths
            Of the whitened vectors of each set, shape (n_windows, n_sets); ``None`` without whitening.
        """
        if lengths is None:
            x = vectors.astype(np.float64)
            if self.metric == "euclidean":
                x -= self.wanted
                return np.asarray(np.sqrt(np.einsum("ij,ij->i", x, x)))
            return self._of_products(np.einsum("ij,j->i", x, self.wanted), np.einsum("ij,ij->i", x, x))
        product = np.zeros(len(vectors))
        for i, one in enumerate(self.sets):
            x = vectors[:, one.columns].astype(np.float64)
            if one.mean is not None:
                x -= one.mean
            product += _over(np.einsum("ij,j->i", x, one.weights), lengths[:, i])
        return self._of_products(product, _whitened_squares(lengths))

    def bounds(self, codes: Sequence[Sequence[Codes]], lengths: Vectors | None) -> tuple[Floats, Floats]:
        """Return how near and how far each window may be, by its codes.

        Parameters
        ----------
        codes
            Of the same windows, of each set, in blocks.
        lengths
            As :meth:`distances` takes them.

        Returns
        -------
        nearest, farthest
            Shape (n_windows,): what :meth:`distances` gives is not less than the one and not more than the other.
        """
        product, bound, squares = (np.zeros(sum(map(len, codes[0]))) for _ in range(3))
        for i, (one, blocks) in enumerate(zip(self.sets, codes, strict=True)):
            about, off = map(np.concatenate, zip(*(block.products(one.weights) for block in blocks), strict=True))
            if one.mean is not None:
                about -= float(one.mean @ one.weights)
                off += 4 * len(one.mean) * 2.0**-53 * float(np.abs(one.mean * one.weights).sum())
            if lengths is None:
                squares += np.square(np.concatenate([block.length for block in blocks]).astype(np.float64))
            else:
                about, off = _over(about, lengths[:, i]), _over(off, lengths[:, i])
            product += about
            bound += off
        squares = squares if lengths is None else _whitened_squares(lengths)
        unknown = ~(np.isfinite(bound) & np.isfinite(squares)) | ((squares > 0) & (squares < SMALLEST))
        with np.errstate(over="ignore", invalid="ignore"):
            if self.metric == "euclidean":
                middle = squares + self.squares - 2 * product
                off = 2 * bound + ROUNDING * (squares + self.squares)
                nearest, farthest = np.sqrt(np.maximum(middle - off, 0)), np.sqrt(np.maximum(middle + off, 0))
            else:
                both = np.sqrt(squares * self.squares)
                cosine, off = _over(product, both), _over(bound, both)
                off += ROUNDING * (np.abs(cosine) + off) + 1e-12
                nearest, farthest = 1 - cosine - off, 1 - cosine + off
        nearest[unknown], farthest[unknown] = -np.inf, np.inf
        return nearest, farthest

    def _of_products(self, product: Floats, squares: Floats) -> Floats:
        """Return distances from products with what is searched for and squares of lengths."""
        if self.metric == "euclidean":
            return np.sqrt(np.maximum(squares + self.squares - 2 * product, 0))
        return 1 - _over(product, np.sqrt(squares * self.squares))


def _over(values: Floats, lengths: NDArray[np.floating]) -> Floats:
    """Return values over lengths; 0 where the length is 0."""
    has_length = lengths > 0
    return np.where(has_length, values / np.where(has_length, lengths, 1), 0.0)


def _whitened_squares(lengths: Vectors) -> Floats:
    """Return the square of the length of joined whitened vectors: a set counts unless its vector has length 0."""
    return np.asarray((lengths > 0).sum(axis=1) / lengths.shape[1])
