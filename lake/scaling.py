"""Scaling of vectors before they are compared: z-score, principal axes, soft whitening, unit length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray as xr

Vectors = NDArray[np.float32]
Normalise = Literal["none", "zscore", "zscore_l2", "l2", "whiten"]

CONSTANT: Final = 1e-6
"""A feature whose deviation is below this share of its mean is rounding, not variation."""
EMPTY_AXIS: Final = 1e-6
"""An axis with less than this share of the largest variance is rounding of float32 sums."""
UNIT_LENGTH: Final = ("zscore_l2", "l2", "whiten")
"""Normalisations that end with a division by each vector's length."""
SHRINKAGE: Final = 0.1
N_AXES: Final = 512
"""Whitened axes that are kept at most, of all vector sets together."""
ROWS_AT_ONCE: Final = 4096


@dataclass(frozen=True)
class Moments:
    """Moments of windows.

    Attributes
    ----------
    n
        Number of windows.
    mean
        Mean of each feature, float64, shape (n_features,).
    squares
        Sum of squares about the mean, float64, shape (n_features,).
    products
        Sum of products about the means, float64, shape (n_features, n_features), where whitening needs them.
    """

    n: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    products: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Scale:
    """The scaling of one vector set.

    Attributes
    ----------
    mean, deviation
        Subtracted from each feature, then its divisor; float64, shape (n_features,).
    unit
        Whether every vector is divided by its length at the end.
    components
        Axes that vectors are projected on before that; float32, shape (n_components, n_features). ``None`` leaves
        vectors as they are. Whitened axes are divided by their shrunk deviation already.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    unit: bool
    components: Vectors | None = None

    @property
    def n_features(self) -> int:
        """Features of a vector as it is stored."""
        return len(self.mean)

    @property
    def n_scaled(self) -> int:
        """Numbers of a vector once it is scaled."""
        return self.n_features if self.components is None else len(self.components)


@dataclass(frozen=True)
class Scaling:
    """The scaling of one or several vector sets: each by itself, then joined.

    Attributes
    ----------
    scales
        One for each set, in order.
    shrinkage
        Share of its largest variance that whitening added to each variance of a set, by set; empty without whitening.
    """

    scales: tuple[Scale, ...]
    shrinkage: tuple[float, ...] = ()

    @property
    def n_features(self) -> int:
        """Features of all sets together."""
        return sum(scale.n_features for scale in self.scales)

    @property
    def n_scaled(self) -> int:
        """Numbers of a vector once it is scaled."""
        return sum(scale.n_scaled for scale in self.scales)


def moments(vectors: Vectors, *, products: bool = False) -> Moments:
    """Return the moments of windows.

    Parameters
    ----------
    vectors
        Shape (n_windows, n_features), at least one window.
    products
        Whether sums of products are needed as well.
    """
    n, n_features = vectors.shape
    mean, squares = np.zeros(n_features), np.zeros(n_features)
    found = np.zeros((n_features, n_features)) if products else None
    # About the first window, in parts: the sums stay small, and no copy of all windows is made in float64.
    shift = vectors[0].astype(np.float64)
    for first in range(0, n, ROWS_AT_ONCE):
        part = vectors[first : first + ROWS_AT_ONCE] - shift
        mean += part.sum(axis=0)
        if found is None:
            squares += np.einsum("ij,ij->j", part, part)
        else:
            single = part.astype(np.float32)
            found += single.T @ single
    mean /= n
    if found is not None:
        found -= n * np.outer(mean, mean)
        squares = np.diagonal(found)
    else:
        squares -= n * np.square(mean)
    return Moments(n, shift + mean, np.maximum(squares, 0), found)


def merge(one: Moments, other: Moments) -> Moments:
    """Return the moments of the windows of both; may write over the products of the first.

    Notes
    -----
    Chan, Golub and LeVeque 1979: nothing is squared before the mean is subtracted.
    """
    gap, n = other.mean - one.mean, one.n + other.n
    weight = one.n * other.n / n
    products = one.products
    if products is not None and other.products is not None:
        products += other.products
        products += np.outer(gap * weight, gap)
    return Moments(n, one.mean + gap * (other.n / n), one.squares + other.squares + np.square(gap) * weight, products)


def scale_of(over_all: Moments, normalise: Normalise) -> Scale:
    """Return the scale that a normalisation without axes makes of the moments of all windows."""
    unit = normalise in UNIT_LENGTH
    if not normalise.startswith("zscore"):
        return Scale(np.zeros(len(over_all.mean)), np.ones(len(over_all.mean)), unit)
    return Scale(over_all.mean, _deviation(over_all), unit)


def with_components(scale: Scale, sample: Vectors, n_components: int) -> Scale:
    """Return a scale that projects on the principal components of a sample of unscaled vectors.

    Notes
    -----
    The eigenvectors of the scaled sample's covariance with the largest values (:func:`principal_axes`).
    """
    plain = scaled_set(sample, replace(scale, unit=False)).astype(np.float64)
    plain -= plain.mean(axis=0)
    axes, _ = principal_axes(plain.T @ plain)
    return replace(scale, components=axes[:n_components].astype(np.float32))


def principal_axes(products: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the principal axes of sums of products about the means, and what of the products lies along each.

    Returns
    -------
    axes
        Shape (n_features, n_features), one a row, the largest first. The largest element of each is positive, so that
        its sign is no accident.
    values
        Eigenvalues, at least 0, shape (n_features,).
    """
    values, axes = np.linalg.eigh(products)
    axes = axes[:, ::-1].T
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return axes * np.sign(largest), np.maximum(values[::-1], 0)


def whitening(sets: Sequence[Moments], *, shrinkage: float = SHRINKAGE, n_axes: int = N_AXES) -> Scaling:
    """Return the soft whitening of one or several vector sets.

    Parameters
    ----------
    sets
        Moments of each set over all windows, with products.
    shrinkage
        Share of a set's largest variance that is added to each variance before its root divides an axis. Where a set
        has fewer windows than features it grows by their ratio: variances of so few windows are chance.
    n_axes
        Axes kept at most, of all sets together: those that the shrinkage weakens least.

    Returns
    -------
    Scaling
        For each set: z-score of each feature, principal axes, division by √(variance + shrinkage · largest variance),
        length 1. Axes without variance, and features that are constant, say nothing and are left out.

    Notes
    -----
    Shrinkage towards a multiple of the identity: Ledoit and Wolf 2004, "A well-conditioned estimator for
    large-dimensional covariance matrices". The share is fixed here, not estimated.
    """
    axes, weights = [], []
    applied = tuple(shrinkage_of(each, shrinkage) for each in sets)
    for each, share in zip(sets, applied, strict=True):
        found, variance = _principal(each)
        shrunk = variance + share * variance[0]
        axes.append(found / np.sqrt(shrunk)[:, None])
        weights.append(variance / shrunk)
    kept = np.zeros(sum(map(len, weights)), dtype=np.bool_)
    kept[np.argsort(-np.concatenate(weights), kind="stable")[:n_axes]] = True
    parts = np.split(kept, np.cumsum([len(each) for each in weights])[:-1])
    scales = [
        Scale(each.mean, _deviation(each), unit=True, components=found[here].astype(np.float32))
        for each, found, here in zip(sets, axes, parts, strict=True)
    ]
    return Scaling(tuple(scales), applied)


def shrinkage_of(over_all: Moments, shrinkage: float) -> float:
    """Return the shrinkage of a set: as wanted, or larger where it has fewer windows than features."""
    n_varying = max(1, int(np.count_nonzero(_varies(over_all))))
    return shrinkage * max(1.0, n_varying / over_all.n)


def scaled(vectors: Vectors, scaling: Scaling, *, in_place: bool = False) -> Vectors:
    """Return scaled vectors.

    Parameters
    ----------
    vectors
        As they are stored, the sets side by side, float32, shape (n_windows, n_features).
    scaling
        How they are scaled.
    in_place
        May write over the vectors that were given.

    Returns
    -------
    NDArray
        float32, shape (n_windows, n_scaled). A vector of length 0 stays as it is. Joined sets are divided by the root
        of their number, so that the whole has length 1 too.
    """
    return scaled_and_lengths(vectors, scaling, in_place=in_place)[0]


def scaled_and_lengths(vectors: Vectors, scaling: Scaling, *, in_place: bool = False) -> tuple[Vectors, Vectors]:
    """Return scaled vectors, and the length that each set had before it was divided by it.

    See :func:`scaled`; lengths are float32, shape (n_windows, n_sets), 1 for a set that is not divided by its length.
    """
    lengths = np.ones((len(vectors), len(scaling.scales)), dtype=np.float32)
    if len(scaling.scales) == 1:
        return _scaled_set(vectors, scaling.scales[0], lengths[:, 0], in_place=in_place), lengths
    out = np.empty((len(vectors), scaling.n_scaled), dtype=np.float32)
    first = column = 0
    for i, scale in enumerate(scaling.scales):
        part = _scaled_set(vectors[:, first : first + scale.n_features], scale, lengths[:, i])
        out[:, column : column + scale.n_scaled] = part
        first, column = first + scale.n_features, column + scale.n_scaled
    if all(scale.unit for scale in scaling.scales):
        out *= np.float32(1 / np.sqrt(len(scaling.scales)))
    return out, lengths


def scaled_set(vectors: Vectors, scale: Scale, *, in_place: bool = False) -> Vectors:
    """Return the scaled vectors of one set; see :func:`scaled`."""
    return _scaled_set(vectors, scale, np.empty(len(vectors), dtype=np.float32), in_place=in_place)


def _scaled_set(vectors: Vectors, scale: Scale, lengths: Vectors, *, in_place: bool = False) -> Vectors:
    """Return the scaled vectors of one set; write the lengths that they are divided by."""
    out = vectors if in_place else np.empty(vectors.shape, dtype=np.float32)
    np.subtract(vectors, scale.mean.astype(np.float32), out=out, dtype=np.float32)
    out *= (1 / scale.deviation).astype(np.float32)
    if scale.components is not None:
        out = out @ scale.components.T
    if scale.unit:
        lengths[:] = np.sqrt(np.einsum("ij,ij->i", out, out))
        out /= np.where(lengths > 0, lengths, 1)[:, None]
    return out


def scaling_tables(scaling: Scaling) -> dict[str, NDArray[np.generic]]:
    """Return the arrays that a store keeps a scaling in; :func:`stored_scaling` reads them."""
    scales = scaling.scales
    tables: dict[str, NDArray[np.generic]] = {
        "feature_mean": np.concatenate([scale.mean for scale in scales]),
        "feature_deviation": np.concatenate([scale.deviation for scale in scales]),
    }
    if len(scales) > 1:
        tables["feature_set"] = np.repeat(np.arange(len(scales)), [scale.n_features for scale in scales]).astype("i2")
    found = [scale.components for scale in scales if scale.components is not None]
    if found:
        tables["components"] = np.zeros((scaling.n_scaled, scaling.n_features), dtype=np.float32)
        row = column = 0
        for part in found:
            tables["components"][row : row + part.shape[0], column : column + part.shape[1]] = part
            row, column = row + part.shape[0], column + part.shape[1]
        if len(scales) > 1:
            sets = np.repeat(np.arange(len(scales)), [scale.n_scaled for scale in scales])
            tables["component_set"] = sets.astype("i2")
    return tables


def packed_scaling(scaling: Scaling) -> dict[str, NDArray[np.generic]]:
    """Return the arrays that a file keeps a scaling in, set by set; :func:`unpacked_scaling` reads them."""
    arrays: dict[str, NDArray[np.generic]] = {"shrinkage": np.asarray(scaling.shrinkage, dtype=np.float64)}
    for i, scale in enumerate(scaling.scales):
        arrays |= {f"mean{i}": scale.mean, f"deviation{i}": scale.deviation, f"unit{i}": np.asarray(scale.unit)}
        if scale.components is not None:
            arrays[f"components{i}"] = scale.components
    return arrays


def unpacked_scaling(arrays: Mapping[str, NDArray[Any]], n_sets: int) -> Scaling:
    """Return the scaling that :func:`packed_scaling` made arrays of; ``KeyError`` if one is missing."""
    scales = [
        Scale(
            arrays[f"mean{i}"], arrays[f"deviation{i}"], bool(arrays[f"unit{i}"]),
            arrays.get(f"components{i}"),
        )
        for i in range(n_sets)
    ]  # fmt: skip
    return Scaling(tuple(scales), tuple(float(share) for share in arrays["shrinkage"]))


def in_features(centroids: Vectors, scaling: Scaling) -> Vectors:
    """Return centroids as points in the space of the features; right-angled axes of length 1 leave them as they are."""
    components = scaling.scales[0].components
    return centroids if components is None else np.asarray(centroids @ components, dtype=np.float32)


def stored_scaling(clusters: "xr.Dataset") -> Scaling:
    """Return the scaling that a cluster store was made with.

    Parameters
    ----------
    clusters
        From :func:`lake.read.open_clusters`; of any format.
    """
    normalise = str(clusters.attrs.get("normalise", clusters.attrs.get("config", {}).get("normalise", "none")))
    mean, deviation = clusters["feature_mean"].to_numpy(), clusters["feature_deviation"].to_numpy()
    components = clusters["components"].to_numpy().astype(np.float32) if "components" in clusters else None
    of_feature = clusters["feature_set"].to_numpy() if "feature_set" in clusters else np.zeros(len(mean), dtype=int)
    of_component = clusters["component_set"].to_numpy() if "component_set" in clusters else None
    scales = []
    for number in np.unique(of_feature):
        here = of_feature == number
        own = None
        if components is not None:
            own = components[:, here] if of_component is None else components[of_component == number][:, here]
        scales.append(Scale(mean[here], deviation[here], normalise in UNIT_LENGTH, own))
    return Scaling(tuple(scales))


def stored_centroids(clusters: "xr.Dataset") -> Vectors:
    """Return the centroids of a cluster store among scaled vectors, float32, shape (n_clusters, n_scaled)."""
    centroids = clusters["centroid"].to_numpy().astype(np.float32)
    if "components" not in clusters or clusters["centroid"].dims[1] == "component":
        return centroids
    return np.asarray(centroids @ clusters["components"].to_numpy().astype(np.float32).T, dtype=np.float32)


def _principal(over_all: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return principal axes of z-scores, shape (n_axes, n_features), and their variances, largest first."""
    if over_all.products is None:
        raise ValueError("whitening needs sums of products")
    inverse = np.where(_varies(over_all), 1 / _deviation(over_all), 0.0)
    axes, variance = principal_axes(over_all.products * np.outer(inverse, inverse) / over_all.n)
    if not variance[0] > 0:  # all windows are the same
        return np.zeros((1, len(inverse))), np.ones(1)
    n_axes = min(over_all.n - 1, int(np.count_nonzero(variance > EMPTY_AXIS * variance[0])))
    return axes[:n_axes], variance[:n_axes]


def _varies(over_all: Moments) -> NDArray[np.bool_]:
    deviation = np.sqrt(over_all.squares / over_all.n)
    return np.asarray(deviation > CONSTANT * np.abs(over_all.mean), dtype=np.bool_)


def _deviation(over_all: Moments) -> NDArray[np.float64]:
    return np.where(_varies(over_all), np.sqrt(over_all.squares / over_all.n), 1.0)
