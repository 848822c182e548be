"""The cluster store's schema for a run, with what this job adds to it, and its tables."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.config import Config
from jobs.cluster.core import Clustering, in_features
from jobs.cluster.flags import FLAGS
from jobs.cluster.source import Source
from jobs.cluster.stability import Tried, columns
from jobs.common.run import Run
from lake.schema import ArraySpec, StoreSpec, cluster_spec

Tables = dict[str, NDArray[Any]]

SCAN = {
    "scan_mean_square_distance": "inertia a window of the sample",
    "scan_silhouette": "mean silhouette of windows of the sample",
    "scan_ari_seeds": "adjusted Rand index of two fits with other seeds",
    "scan_ari_subsamples": "adjusted Rand index of fits to all and to halves of the sample",
}


def store_spec(run: Run, source: Source, n_clusters: int, *, n_scanned: int) -> StoreSpec:
    """Return the schema of a run's store."""
    config = cast("Config", run.config)
    spec = cluster_spec(
        source.grid, n_clusters=n_clusters, n_features=source.n_features, n_exemplars=config.n_exemplars,
        attrs={**run.store_attrs, "grid": source.grid.attrs},
    )  # fmt: skip
    bits = {"flag_masks": list(FLAGS.values()), "flag_meanings": " ".join(FLAGS)}
    more = [
        _of_cluster("cluster_flags", "int8", 0, n_clusters, "what is unusual about the cluster", **bits),
        _of_cluster("recorder_share", "float32", np.nan, n_clusters, "largest share of one recorder"),
        _of_cluster("hour_share", "float32", np.nan, n_clusters, "largest share of one UTC hour of the day"),
        _of_cluster("contrast_db", "float32", np.nan, n_clusters, "exemplars above their own background", units="dB"),
        _of_cluster("stability", "float32", np.nan, n_clusters, "mean Jaccard index with refits on halves"),
    ]
    if config.n_components is not None:
        shape = (config.n_components, source.n_features)
        told = {"long_name": "directions that scaled vectors are projected on"}
        more.append(ArraySpec("components", ("component", "feature"), "float32", np.nan, shape, None, told))
    if n_scanned:
        more.append(ArraySpec("scan_n_clusters", ("scan",), "int32", 0, (n_scanned,), None, {"long_name": "clusters"}))
        more += [
            ArraySpec(name, ("scan",), "float32", np.nan, (n_scanned,), None, {"long_name": told})
            for name, told in SCAN.items()
        ]
    sizes = {**spec.sizes, **({"component": config.n_components} if config.n_components else {})}
    return replace(spec, sizes=sizes, tables=(*spec.tables, *more))


def clustering_tables(clustering: Clustering) -> Tables:
    """Return the tables that say how a vector is scaled and where the centroids are."""
    scale, n_clusters = clustering.scale, clustering.n_clusters
    tables: Tables = {
        "feature": np.arange(len(scale.mean), dtype=np.int32),
        "feature_mean": scale.mean,
        "feature_deviation": scale.deviation,
        "cluster_id": np.arange(n_clusters, dtype=np.int16),
        "centroid": in_features(clustering.centroids, scale),
    }
    return tables if scale.components is None else {**tables, "components": scale.components}


def scan_tables(tried: list[Tried]) -> Tables:
    """Return the tables of a scan; none if nothing was tried."""
    counts, values = columns(tried)
    return {"scan_n_clusters": counts, **dict(zip(SCAN, values, strict=True))} if tried else {}


def _of_cluster(name: str, dtype: str, fill: float, n: int, told: str, **attrs: Any) -> ArraySpec:  # noqa: ANN401 (JSON)
    return ArraySpec(name, ("cluster_id",), dtype, fill, (n,), None, {"long_name": told, **attrs})
