"""The map: a sample of windows, laid out on a plane."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from lake.scaling import Vectors, principal_axes

N_TSNE_COMPONENTS = 30
LEAST_FOR_TSNE = 12
N_PLACES = 10_000
"""Places along each axis of the map."""


@dataclass(frozen=True)
class Layout:
    """Where windows stand on the map.

    Attributes
    ----------
    name
        ``PCA`` or ``t-SNE``.
    told
        The method and its settings in words.
    places
        0 to :data:`N_PLACES`, int32, shape (n_windows, 2), x to the right and y upwards; both axes have the
        same scale.
    """

    name: str
    told: str
    places: NDArray[np.int32]


def sampled_rows(n_windows: int, n_most: int, seed: int) -> NDArray[np.int64]:
    """Return rows of windows drawn uniformly, ascending; all of them if there are no more."""
    if n_windows <= n_most:
        return np.arange(n_windows, dtype=np.int64)
    return np.sort(np.random.default_rng([seed, 0]).choice(n_windows, n_most, replace=False)).astype(np.int64)


def layouts(sample: Vectors, *, perplexity: float, seed: int) -> list[Layout]:
    """Lay windows out by PCA, and by t-SNE where there are enough of them.

    Parameters
    ----------
    sample
        Scaled vectors, shape (n_windows, n_features).
    perplexity, seed
        Of t-SNE; the perplexity is at most a quarter of the number of windows.

    Notes
    -----
    t-SNE: van der Maaten and Hinton 2008, as scikit-learn has it (Barnes-Hut), begun at the PCA layout.
    """
    if len(sample) < 2:
        return []
    with threadpool_limits(1):
        scores, shares = principal(sample, N_TSNE_COMPONENTS)
        told = (
            f"the first two principal components, {100 * shares[0]:.0f} % and {100 * shares[1]:.0f} % of the variance"
        )
        found = [Layout("PCA", told, _placed(scores[:, :2]))]
        if len(sample) >= LEAST_FOR_TSNE:
            most = min(perplexity, len(sample) / 4)
            method = TSNE(
                perplexity=most, init=1e-4 * scores[:, :2] / max(float(scores[:, 0].std()), 1e-12),
                random_state=seed, max_iter=500, n_jobs=1,
            )  # fmt: skip
            places = method.fit_transform(scores)
            told = (
                f"from the first {scores.shape[1]} principal components, perplexity {most:g}, 500 iterations, "
                f"begun at PCA, seed {seed}; near means alike, far and empty mean nothing"
            )
            found.append(Layout("t-SNE", told, _placed(places)))
    return found


def principal(sample: Vectors, n_components: int) -> tuple[Vectors, NDArray[np.float64]]:
    """Return scores on the first principal components and their shares of the variance.

    Parameters
    ----------
    sample
        Shape (n_windows, n_features).
    n_components
        Most components; at least two come back, of zeros if need be.

    Returns
    -------
    scores
        float32, shape (n_windows, n), each with the sign of :func:`~lake.scaling.principal_axes`.
    shares
        Of the total variance, shape (n,).
    """
    centred = sample.astype(np.float64) - sample.mean(axis=0, dtype=np.float64)
    axes, values = principal_axes(centred.T @ centred)
    n = min(n_components, len(axes))
    shares = values[:n] / max(float(values.sum()), 1e-300)
    missing = max(0, 2 - n)
    scores = np.pad(centred @ axes[:n].T, ((0, 0), (0, missing)))
    return scores.astype(np.float32), np.pad(shares, (0, missing))


def _placed(points: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
    low, high = points.min(axis=0), points.max(axis=0)
    span = max(float((high - low).max()), 1e-12)
    middle = (low + high) / 2
    return np.asarray(np.rint(((points - middle) / span + 0.5) * N_PLACES), dtype=np.int32)
