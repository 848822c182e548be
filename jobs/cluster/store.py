"""The cluster store's schema for a run, with what this job adds to it, and its tables."""

from dataclasses import replace
from math import nan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.config import Config
from jobs.cluster.core import Clustering
from jobs.cluster.stability import Tried, columns
from jobs.common.run import Run
from lake.grid import Grid
from lake.older import ATTRIBUTE
from lake.scaling import Normalise, in_features, scaling_tables
from lake.schema import SCAN, cluster_spec, with_figures
from lake.specs import ArraySpec, KeyPrefix, StoreSpec

Tables = dict[str, NDArray[Any]]
GROWTH: Final = {
    "distance_bound": ("float32", nan, "distance that 99 % of the cluster's windows did not exceed at the fit"),
    "n_beyond": ("int64", 0, "windows of the cluster beyond its bound"),
    "n_windows_at_fit": ("int64", 0, "windows in the cluster at the fit"),
    "n_beyond_at_fit": ("int64", 0, "windows of the cluster beyond its bound at the fit"),
}
"""Tables on ``cluster_id`` that say how windows that came after the fit lie: type, fill value and meaning."""
OF_GRID: Final = ("recorder", "time")
"""Tables that do not change with the clustering."""


def store_spec(
    run: Run[Config], grid: Grid, clustering: Clustering, *, normalise: Normalise, n_scanned: int
) -> StoreSpec:
    """Return the schema of a run's store."""
    config, n_clusters = run.config, clustering.n_clusters
    resolved = {} if config.normalise == normalise else {"normalise": normalise}
    spec = cluster_spec(
        grid, n_clusters=n_clusters, n_features=clustering.scaling.n_features, n_exemplars=config.n_exemplars,
        attrs={**run.store_attrs, "grid": grid.attrs, **resolved},
    )  # fmt: skip
    described = {name: (table.shape, str(table.dtype)) for name, table in scaling_tables(clustering.scaling).items()}
    spec = with_figures(spec, n_scanned=n_scanned, scaling=described)
    tables = [_by_component(table, clustering) if table.name == "centroid" else table for table in spec.tables]
    tables += [
        ArraySpec(name, ("cluster_id",), dtype, fill, (n_clusters,), None, {"long_name": meaning})
        for name, (dtype, fill, meaning) in GROWTH.items()
    ]
    return _joined(replace(spec, tables=tuple(tables)), clustering)


def of_generation(spec: StoreSpec, generation: int) -> StoreSpec:
    """Return the schema of a run's n-th clustering, from 1 on: its keys, and the attribute ``generation``.

    All but grid and status changes with the clustering, so it has keys of its own; see :mod:`lake.generations`.
    """
    if generation == 1:
        return spec
    prefix: KeyPrefix = "c." if generation % 2 else ""
    data = tuple(replace(array, key_prefix=prefix) for array in spec.data)
    tables = [one if one.name in OF_GRID else replace(one, key_prefix=prefix) for one in spec.tables]
    return replace(spec, data=data, tables=tuple(tables), attrs={**spec.attrs, ATTRIBUTE: generation})


def generation_arrays(spec: StoreSpec) -> list[str]:
    """Return the names of all arrays and tables that change with the clustering."""
    return [array.name for array in (*spec.data, *spec.tables) if array.name not in OF_GRID]


def clustering_tables(clustering: Clustering) -> Tables:
    """Return the tables that say how a vector is scaled and where the centroids are."""
    found, centroids = scaling_tables(clustering.scaling), clustering.centroids
    if not _is_whitened(clustering):
        centroids = in_features(centroids, clustering.scaling)
    return {
        _feature_dim(clustering): np.arange(clustering.scaling.n_features, dtype=np.int32),
        "cluster_id": np.arange(clustering.n_clusters, dtype=np.int16),
        "centroid": centroids,
        **found,
    }


def scan_tables(tried: list[Tried]) -> Tables:
    """Return the tables of a scan; none if nothing was tried."""
    counts, values = columns(tried)
    return {"scan_n_clusters": counts, **dict(zip(SCAN, values, strict=True))} if tried else {}


def _feature_dim(clustering: Clustering) -> str:
    """Return the name of the features' dimension: of joined sets another one, so that each set's store merges."""
    return "feature" if len(clustering.scaling.scales) == 1 else "joined_feature"


def _joined(spec: StoreSpec, clustering: Clustering) -> StoreSpec:
    """Return a schema with the features' dimension renamed where vector sets are joined."""
    dim = _feature_dim(clustering)

    def renamed(name: str) -> str:
        return dim if name == "feature" else name

    tables = [replace(table, name=renamed(table.name), dims=tuple(map(renamed, table.dims))) for table in spec.tables]
    return replace(spec, tables=tuple(tables), sizes={renamed(name): size for name, size in spec.sizes.items()})


def _is_whitened(clustering: Clustering) -> bool:
    return bool(clustering.scaling.shrinkage)


def _by_component(centroid: ArraySpec, clustering: Clustering) -> ArraySpec:
    """Return the schema of the centroids: whitened, they are points among the axes, not among the features."""
    if not _is_whitened(clustering):
        return centroid
    return replace(centroid, dims=("cluster_id", "component"), chunks=clustering.centroids.shape)
