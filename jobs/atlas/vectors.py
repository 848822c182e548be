"""Vectors as the clustering saw them: how far each window is from the next cluster, and a sample for the map."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.atlas.study import Stores
from jobs.atlas.windows import Table
from jobs.common.progress import Advance
from lake.errors import StoreError
from lake.read import grid_of, open_array, open_embeddings

Vectors = NDArray[np.float32]
UNIT_LENGTH = ("zscore_l2", "l2")
"""Values of the clustering's ``normalise`` that divide each vector by its length."""


@dataclass(frozen=True)
class Scale:
    """How the clustering scales vectors, and its centroids scaled so.

    Attributes
    ----------
    mean, deviation
        Taken off each feature, and what it is divided by then, shape (n_features,).
    components
        Directions that vectors are projected on, shape (n_components, n_features), or ``None``.
    is_unit
        Whether vectors are divided by their length at last.
    centroids
        float32, shape (n_clusters, n_components or n_features).
    """

    mean: Vectors
    deviation: Vectors
    components: Vectors | None
    is_unit: bool
    centroids: Vectors

    def scaled(self, vectors: NDArray[np.floating[Any]]) -> Vectors:
        """Return vectors as the clustering compares them, float32."""
        out = (vectors.astype(np.float32) - self.mean) / self.deviation
        if self.components is not None:
            out = out @ self.components.T
        if self.is_unit:
            length = np.linalg.norm(out, axis=1, keepdims=True)
            out /= np.where(length > 0, length, 1)
        return np.asarray(out, dtype=np.float32)


def scale_of(clusters: xr.Dataset) -> Scale:
    """Return the scale of a clustering."""
    components = clusters["components"].to_numpy().astype(np.float32) if "components" in clusters else None
    centroids = clusters["centroid"].to_numpy().astype(np.float32)
    return Scale(
        mean=clusters["feature_mean"].to_numpy().astype(np.float32),
        deviation=clusters["feature_deviation"].to_numpy().astype(np.float32),
        components=components,
        is_unit=clusters.attrs.get("config", {}).get("normalise") in UNIT_LENGTH,
        centroids=centroids if components is None else centroids @ components.T,
    )


def distances(vectors: Vectors, centroids: Vectors) -> Vectors:
    """Return Euclidean distances, float32, shape (n_vectors, n_centroids)."""
    v, c = vectors.astype(np.float64), centroids.astype(np.float64)
    squares = np.square(v).sum(axis=1)[:, None] - 2 * (v @ c.T) + np.square(c).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares, 0)), dtype=np.float32)


@dataclass(frozen=True)
class Seen:
    """What a pass over the vectors found.

    Attributes
    ----------
    gap
        Distance of each window to the nearest other centroid less that to its own, shape (n_windows,); NaN
        with a single cluster.
    other
        The other cluster's place, int16, shape (n_windows,).
    sample
        Scaled vectors of the sampled rows, shape (n_sampled, n_components or n_features).
    """

    gap: NDArray[np.float32]
    other: NDArray[np.int16]
    sample: Vectors


def look(url: str, stores: Stores, table: Table, scale: Scale, *, rows: NDArray[np.int64], advance: Advance) -> Seen:
    """Read the vector of every clustered window, one recorder and day at a time.

    Parameters
    ----------
    url
        The embedding store.
    stores, table, scale
        The clustering and its windows.
    rows
        Rows of the table that are sampled, ascending.

    Raises
    ------
    StoreError
        If the store has another grid, or lacks a recorder or a window of the clustering.
    """
    with open_embeddings(url) as dataset:
        grid, names = grid_of(dataset), {str(name): i for i, name in enumerate(dataset["recorder"].to_numpy())}
    lost = [name for name in stores.recorders if name not in names]
    if grid.attrs != stores.grid.attrs or grid.end_ms < stores.grid.end_ms or lost:
        raise StoreError(
            f"{url}: expected the grid and recorders of {stores.clusters_url}, which was made of it, found others"
            f"{': ' + ', '.join(lost) + ' is missing' if lost else ''}. Run the clustering again under a new name."
        )
    array, per_day = open_array(url, "embedding"), stores.grid.cells_per_day
    gap, other = np.full(len(table), np.nan, dtype=np.float32), np.full(len(table), -1, dtype=np.int16)
    sample = np.empty((len(rows), scale.centroids.shape[1]), dtype=np.float32)
    for begin, end in _days(table, per_day):
        first = int(table.cell[begin]) // per_day * per_day
        vectors = np.asarray(array[names[stores.recorders[table.recorder[begin]]], first : first + per_day])
        found = scale.scaled(vectors[table.cell[begin:end] - first])
        if not np.isfinite(found).all():
            raise StoreError(
                f"{url}: expected a vector of every window in {stores.clusters_url}, found "
                f"{int((~np.isfinite(found).all(axis=1)).sum())} missing on one day of "
                f"{stores.recorders[table.recorder[begin]]}. Type `dawnchorus verify MANIFEST`."
            )
        gap[begin:end], other[begin:end] = gaps(found, scale.centroids, table.cluster[begin:end])
        here = slice(*np.searchsorted(rows, [begin, end]))
        sample[here] = found[rows[here] - begin]
        advance(end - begin)
    return Seen(gap, other, sample)


def gaps(vectors: Vectors, centroids: Vectors, own: NDArray[np.int16]) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Return how much farther the nearest other centroid is than a vector's own, and which that is."""
    if len(centroids) < 2:
        return np.full(len(vectors), np.nan, dtype=np.float32), np.full(len(vectors), -1, dtype=np.int16)
    found = distances(vectors, centroids)
    each = np.arange(len(found))
    mine = found[each, own].copy()
    found[each, own] = np.inf
    other = found.argmin(axis=1)
    return found[each, other] - mine, other.astype(np.int16)


def nearest_clusters(centroids: Vectors, n_windows: NDArray[np.int64], n: int) -> list[list[tuple[int, float]]]:
    """Return places and distances of the clusters nearest to each; those without windows are left out."""
    found = distances(centroids, centroids).astype(np.float64)
    np.fill_diagonal(found, np.inf)
    found[:, n_windows == 0] = np.inf
    order = np.argsort(found, axis=1, kind="stable")[:, :n]
    return [[(int(j), float(found[i, j])) for j in row if np.isfinite(found[i, j])] for i, row in enumerate(order)]


def _days(table: Table, per_day: int) -> list[tuple[int, int]]:
    """Return the first and the last row, exclusive, of each recorder's day."""
    if len(table) == 0:
        return []
    day = table.cell // per_day
    breaks = np.flatnonzero((np.diff(day) != 0) | (np.diff(table.recorder) != 0)) + 1
    return list(pairwise([0, *breaks.tolist(), len(table)]))
