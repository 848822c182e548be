"""Estimate what a clustering needs: windows, disk and memory."""

from jobs.cluster.config import Config
from jobs.cluster.source import KEPT_BYTES
from jobs.common.needs import LIBRARIES_BYTES, described, store_space
from jobs.common.run import Run
from jobs.common.space import Space
from lake.scaling import N_AXES
from lake.schema import cluster_spec
from lake.vectors import MOST_CELLS, VectorSets, by_day

N_MORE_TABLES = 16
"""Tables of a cluster store beside those of every one, with a few values for each cluster, feature or axis."""


def needed(run: Run[Config], sets: VectorSets, *, n_clusters: int, threads: int) -> list[str]:
    """Return the lines of a dry run.

    Parameters
    ----------
    run, sets
        The run, and its vectors.
    n_clusters
        Number of clusters.
    threads
        Threads that read ahead.
    """
    config, n_features = run.config, sum(sets.n_features)
    days = by_day(sets.spans)
    spec = cluster_spec(
        sets.grid, n_clusters=n_clusters, n_features=n_features, n_exemplars=config.n_exemplars, attrs=run.store_attrs
    )
    plain = store_space(spec, n_recorders=len(sets.recorders), n_windows=sets.n_windows, n_days=len(days))
    n_axes = min(config.n_components or N_AXES, n_features)
    more_bytes = 4 * n_axes * n_features + N_MORE_TABLES * (8_000 + 8 * (n_clusters + n_features))
    n_sample = min(sets.n_windows, max(config.n_init_windows, 10 * n_clusters))
    n_held = 3 * n_sample + 2 * min(sets.n_windows, config.buffer_windows) + 2 * threads * MOST_CELLS
    memory_bytes = min(4 * n_features * sets.n_windows, KEPT_BYTES) + 4 * n_features * n_held + 24 * n_features**2
    names = " and ".join(one.name for one in run.sources("embeddings"))
    return described(
        run,
        read=[f"{sets.n_windows} windows of {names}, {n_features} features, {len(days)} partitions (a recorder's day)"],
        written=f"{n_clusters} clusters, and the cluster of each window in as many partitions",
        takes=Space(plain.n_bytes + more_bytes, plain.n_files + 2 * N_MORE_TABLES),
        memory_bytes=LIBRARIES_BYTES + memory_bytes,
    )
