"""Vectors as the clustering saw them: how far each window is from the next cluster, and a sample for the map."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from jobs.atlas.study import Stores
from jobs.atlas.windows import Table
from jobs.common.progress import Advance
from lake.errors import StoreError
from lake.read import grid_of, open_array, open_embeddings, recorder_names
from lake.scaling import Scaling, Vectors, scaled, stored_centroids, stored_scaling


@dataclass(frozen=True)
class Space:
    """Where a clustering compares vectors: how they are scaled, and its centroids, shape (n_clusters, n_scaled)."""

    scaling: Scaling
    centroids: Vectors


def space_of(clusters: xr.Dataset) -> Space:
    """Return the space of a clustering."""
    return Space(stored_scaling(clusters), stored_centroids(clusters))


def distances(vectors: Vectors, centroids: Vectors) -> Vectors:
    """Return Euclidean distances, float32, shape (n_vectors, n_centroids)."""
    v, c = vectors.astype(np.float64), centroids.astype(np.float64)
    squares = np.square(v).sum(axis=1)[:, None] - 2 * (v @ c.T) + np.square(c).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares, 0)), dtype=np.float32)


@dataclass(frozen=True)
class Seen:
    """Results of one pass over the vectors.

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


def look(
    urls: Sequence[str], stores: Stores, table: Table, space: Space, *, rows: NDArray[np.int64], advance: Advance
) -> Seen:
    """Read the vector of every clustered window, one recorder and day at a time.

    Parameters
    ----------
    urls
        The embedding stores that were clustered.
    stores, table, space
        The clustering and its windows.
    rows
        Rows of the table that are sampled, ascending.

    Raises
    ------
    StoreError
        If a store has another grid, or lacks a recorder or a window of the clustering.
    """
    sources = [_source(url, stores) for url in urls]
    per_day = stores.grid.cells_per_day
    gap, other = np.full(len(table), np.nan, dtype=np.float32), np.full(len(table), -1, dtype=np.int16)
    sample = np.empty((len(rows), space.centroids.shape[1]), dtype=np.float32)
    for begin, end in _days(table, per_day):
        recorder, cells = stores.recorders[table.recorder[begin]], table.cell[begin:end]
        first = int(cells[0]) // per_day * per_day
        parts = [np.asarray(array[names[recorder], first : first + per_day])[cells - first] for array, names in sources]
        found = scaled(np.concatenate(parts, axis=1, dtype=np.float32), space.scaling)
        if not np.isfinite(found).all():
            raise StoreError(
                f"{' and '.join(urls)}: expected a vector of every window in {stores.clusters_url}, found "
                f"{int((~np.isfinite(found).all(axis=1)).sum())} missing on one day of {recorder}. "
                "Type `dawnchorus verify MANIFEST`."
            )
        gap[begin:end], other[begin:end] = gaps(found, space.centroids, table.cluster[begin:end])
        here = slice(*np.searchsorted(rows, [begin, end]))
        sample[here] = found[rows[here] - begin]
        advance(end - begin)
    return Seen(gap, other, sample)


def _source(url: str, stores: Stores) -> tuple[zarr.Array[Any], dict[str, int]]:
    """Return the vectors of a store and its recorders' numbers, after checking that the clustering can be of it."""
    with open_embeddings(url) as dataset:
        grid, names = grid_of(dataset), {name: i for i, name in enumerate(recorder_names(dataset))}
    lost = [name for name in stores.recorders if name not in names]
    if not grid.has_cells_of(stores.grid) or grid.end_ms < stores.grid.end_ms or lost:
        raise StoreError(
            f"{url}: expected the grid and recorders of {stores.clusters_url}, which was made of it, found others"
            f"{': ' + ', '.join(lost) + ' is missing' if lost else ''}. Run the clustering again under a new name."
        )
    return open_array(url, "embedding"), names


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
