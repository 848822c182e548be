"""The cluster store's schema for a run, with what this job adds to it, and its tables."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.config import Config
from jobs.cluster.core import Clustering
from jobs.cluster.flags import FLAGS
from jobs.cluster.stability import Tried, columns
from jobs.common.run import Run
from lake.grid import Grid
from lake.scaling import Normalise, Scaling, in_features, scaling_tables
from lake.schema import ArraySpec, StoreSpec, cluster_spec

Tables = dict[str, NDArray[Any]]

SCAN = {
    "scan_mean_square_distance": "inertia a window of the sample",
    "scan_silhouette": "mean silhouette of windows of the sample",
    "scan_ari_seeds": "adjusted Rand index of two fits with other seeds",
    "scan_ari_subsamples": "adjusted Rand index of fits to all and to halves of the sample",
}


def store_spec(run: Run, grid: Grid, clustering: Clustering, *, normalise: Normalise, n_scanned: int) -> StoreSpec:
    """Return the schema of a run's store."""
    config, n_clusters = cast("Config", run.config), clustering.n_clusters
    resolved = {} if config.normalise == normalise else {"normalise": normalise}
    spec = cluster_spec(
        grid, n_clusters=n_clusters, n_features=clustering.scaling.n_features, n_exemplars=config.n_exemplars,
        attrs={**run.store_attrs, "grid": grid.attrs, **resolved},
    )  # fmt: skip
    bits = {"flag_masks": list(FLAGS.values()), "flag_meanings": " ".join(FLAGS)}
    more = [
        _of_cluster("cluster_flags", "int8", 0, n_clusters, "what is unusual about the cluster", **bits),
        _of_cluster("recorder_share", "float32", np.nan, n_clusters, "largest share of one recorder"),
        _of_cluster("hour_share", "float32", np.nan, n_clusters, "largest share of one UTC hour of the day"),
        _of_cluster("contrast_db", "float32", np.nan, n_clusters, "exemplars above their own background", units="dB"),
        _of_cluster("stability", "float32", np.nan, n_clusters, "mean Jaccard index with refits on halves"),
    ]
    more += _of_scaling(clustering.scaling)
    if n_scanned:
        more.append(ArraySpec("scan_n_clusters", ("scan",), "int32", 0, (n_scanned,), None, {"long_name": "clusters"}))
        more += [
            ArraySpec(name, ("scan",), "float32", np.nan, (n_scanned,), None, {"long_name": told})
            for name, told in SCAN.items()
        ]
    tables = [_by_component(table, clustering) if table.name == "centroid" else table for table in spec.tables]
    return _joined(replace(spec, tables=(*tables, *more)), clustering)


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


def _of_cluster(name: str, dtype: str, fill: float, n: int, told: str, **attrs: Any) -> ArraySpec:  # noqa: ANN401 (JSON)
    return ArraySpec(name, ("cluster_id",), dtype, fill, (n,), None, {"long_name": told, **attrs})


def _of_scaling(scaling: Scaling) -> list[ArraySpec]:
    """Return the schema of the tables of a scaling that a cluster store has beside mean and deviation."""
    long_names = {
        "components": "axes that scaled vectors are projected on",
        "feature_set": "vector set that the feature is of",
        "component_set": "vector set that the axis is of",
    }
    dims = {"components": ("component", "feature"), "feature_set": ("feature",), "component_set": ("component",)}
    return [
        ArraySpec(
            name,
            dims[name],
            str(values.dtype),
            np.nan if values.dtype.kind == "f" else 0,
            values.shape,
            None,
            {"long_name": long_names[name]},
        )
        for name, values in scaling_tables(scaling).items()
        if name in dims
    ]


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
