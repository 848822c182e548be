"""Bounds of clusters around their centroids, and the share of windows beyond them that calls for a new clustering."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.config import number_of_clusters
from jobs.cluster.store import Tables

PERCENT_WITHIN: Final = 99
"""Percent of a cluster's windows at the fit that lie within its bound."""
WORTH_SHARE: Final = 0.05
"""Share of the new windows beyond the bounds, five times that of the fit, from which a new clustering is worth it."""
WORTH_WINDOWS: Final = 10
"""Windows beyond the bounds below which their share says nothing."""
WORTH_TIMES: Final = 2
"""Times as many clusters that ``n_clusters = "auto"`` would make now, from which a new clustering is worth it."""


def distance_bounds(cluster: NDArray[np.int16], distance: NDArray[np.float32], n_clusters: int) -> NDArray[np.float32]:
    """Return the bound of each cluster: the least of its distances that 99 % do not exceed.

    Parameters
    ----------
    cluster, distance
        Of all windows of the fit, shape (n_windows,).
    n_clusters
        Number of clusters.

    Returns
    -------
    NDArray
        float32, shape (n_clusters,); NaN for a cluster without windows, beyond which all windows are.
    """
    sizes = np.bincount(cluster, minlength=n_clusters)
    ordered = distance[np.lexsort((distance, cluster))]
    last = np.cumsum(sizes) - sizes - (-PERCENT_WITHIN * sizes // 100) - 1
    out = np.full(n_clusters, np.nan, dtype=np.float32)
    out[sizes > 0] = ordered[last[sizes > 0]]
    return out


def n_beyond(
    cluster: NDArray[np.int16], distance: NDArray[np.float32], bounds: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return how many windows of each cluster lie beyond its bound, shape (n_clusters,)."""
    is_beyond = ~(distance <= bounds[cluster])
    return np.bincount(cluster[is_beyond], minlength=len(bounds))


def bound_tables(cluster: NDArray[np.int16], distance: NDArray[np.float32], n_clusters: int) -> Tables:
    """Return the tables of :data:`jobs.cluster.store.GROWTH` of a fit."""
    bounds = distance_bounds(cluster, distance, n_clusters)
    beyond = n_beyond(cluster, distance, bounds)
    sizes = np.bincount(cluster, minlength=n_clusters)
    return {"distance_bound": bounds, "n_beyond": beyond, "n_windows_at_fit": sizes, "n_beyond_at_fit": beyond}


def advice(tables: Tables, run: str, *, is_auto: bool) -> str:
    """Return what to do where many new windows are unlike those of the fit, or few were fitted; empty otherwise.

    Parameters
    ----------
    tables
        ``n_windows`` of the store, and those of :data:`jobs.cluster.store.GROWTH`.
    run
        Name of the run.
    is_auto
        Whether the number of clusters follows that of the windows.
    """
    n, fitted = int(tables["n_windows"].sum()), int(tables["n_windows_at_fit"].sum())
    beyond = int(tables["n_beyond"].sum() - tables["n_beyond_at_fit"].sum())
    new = n - fitted
    why = []
    if new > 0 and beyond >= WORTH_WINDOWS and beyond >= WORTH_SHARE * new:
        why.append(f"{beyond} of {new} new windows ({beyond / new:.0%}) lie beyond the bounds of their clusters")
    now, then = number_of_clusters("auto", n), len(tables["n_windows"])
    if is_auto and now >= WORTH_TIMES * then:
        why.append(f"it was fitted to {fitted} windows and has {then} clusters; {n} windows would make {now}")
    if not why:
        return ""
    return f"{'; '.join(why)}. A new clustering is worth it: `dawnchorus run MANIFEST {run} --refresh`; names are kept"
