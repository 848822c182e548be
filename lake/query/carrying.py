"""Names of clusters carried to another clustering of the same windows, each to the clusters that are mostly its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lake.errors import InputError
from lake.query.naming import Name
from lake.read import grid_of, recorder_names, usable_windows, values_at
from lake.text import normal

LEAST_OVERLAP = 0.5
"""Share of a cluster's windows that had a name from which the cluster gets it."""


@dataclass(frozen=True)
class Match:
    """The fate of a name when clusters are made anew; a name that several clusters get has one for each.

    Attributes
    ----------
    name
        As it was, of the cluster that had most of these windows; notes of others of the same name follow.
    sources
        All clusters that had the name.
    cluster
        The cluster that gets it; of a lost name the one that holds most of its windows, -1 if none holds any.
    overlap
        Share of that cluster's windows that had the name.
    is_carried
        Whether the cluster gets it.
    n_shared, n_named
        Windows of that cluster that had the name, and windows that had it.
    """

    name: Name
    sources: tuple[int, ...]
    cluster: int
    overlap: float
    is_carried: bool
    n_shared: int
    n_named: int


def overlap_table(old: xr.Dataset, new: xr.Dataset) -> NDArray[np.int64]:
    """Return how many windows each old and new cluster share, shape (n_old + 1, n_new).

    Windows are identified by recorder and time; those that only one clustering has do not count. The last row counts
    windows that lie beyond the bound of their old cluster: they came after it was made and are unlike it, so its name
    does not say what they are.

    Raises
    ------
    InputError
        If the two have other windows altogether.
    """
    grids = grid_of(old), grid_of(new)
    apart_ms = grids[1].origin_ms - grids[0].origin_ms
    if (grids[0].window_ms, grids[0].hop_ms) != (grids[1].window_ms, grids[1].hop_ms) or apart_ms % grids[0].hop_ms:
        raise InputError(
            f"the clusterings have other windows ({grids[0].attrs}, {grids[1].attrs}); "
            "names are carried by the windows that both have."
        )
    shift = apart_ms // grids[0].hop_ms
    n_old, n_new = old.sizes["cluster_id"], new.sizes["cluster_id"]
    windows = usable_windows(old, status="cluster_status")
    places = dict(zip(recorder_names(new), range(new.sizes["recorder"]), strict=True))
    theirs = np.array([places.get(name, -1) for name in recorder_names(old)], dtype=np.int64)
    a = values_at(old, "cluster", windows.recorder, windows.cell, -1).astype(np.int64)
    b = values_at(new, "cluster", theirs[windows.recorder], windows.cell - shift, -1).astype(np.int64)
    both = (a >= 0) & (b >= 0)
    if "distance_bound" in old:  # stores of earlier releases have none
        distance = values_at(old, "distance", windows.recorder, windows.cell)
        a[both & (distance > old["distance_bound"].to_numpy()[a])] = n_old
    table = np.bincount(a[both] * n_new + b[both], minlength=(n_old + 1) * n_new)
    return table.reshape(n_old + 1, n_new)


def match_names(names: Sequence[Name], shared: NDArray[np.int64], *, min_overlap: float = LEAST_OVERLAP) -> list[Match]:
    """Match names with the clusters of another clustering.

    Parameters
    ----------
    names
        Of the old clustering. Clusters of the same name count together.
    shared
        Windows that each old and new cluster share, as :func:`overlap_table` returns them.
    min_overlap
        Share of a cluster's windows that had the name, at least, for the cluster to get it. Of several names it gets
        the one that more of them had, and none where two had equally many. So a cluster that was split gives its name
        to each part that is mostly its own, and one that was merged keeps it if it is most of the whole.

    Returns
    -------
    list
        In the order of the names.

    Raises
    ------
    InputError
        If a name is of a cluster that the clustering does not have.
    """
    n_old = len(shared) - 1
    unknown = [name.cluster for name in names if name.cluster >= n_old]
    if unknown:
        raise InputError(f"names.csv names cluster {unknown[0]}, the clustering has {n_old}, numbered from 0.")
    groups: dict[str | int, list[Name]] = {}
    for one in names:
        groups.setdefault(normal(one.name) or one.cluster, []).append(one)
    had = np.array([shared[[one.cluster for one in group]].sum(axis=0) for group in groups.values()]).reshape(
        len(groups), shared.shape[1]
    )
    share = had / np.maximum(shared.sum(axis=0), 1)
    most = had == had.max(axis=0, initial=0)
    gets = most & (most.sum(axis=0) == 1) & (share >= min_overlap) & (had > 0)
    return [
        match
        for group, mine, shares, own in zip(groups.values(), had, share, gets, strict=True)
        for match in _matches(group, shared, mine, shares, own)
    ]


def _matches(
    group: Sequence[Name],
    shared: NDArray[np.int64],
    had: NDArray[np.int64],
    share: NDArray[np.float64],
    gets: NDArray[np.bool_],
) -> Iterator[Match]:
    """Yield the fate of names that are equal: a match for each cluster that gets it, or one that tells of its loss."""
    is_carried = bool(gets.any())
    into = np.flatnonzero(gets).tolist() if is_carried else [int(had.argmax())] if had.any() else [-1]
    sources = tuple(one.cluster for one in group)
    for cluster in into:
        by_share = [group[i] for i in np.argsort(-shared[list(sources), cluster], kind="stable")]
        notes = dict.fromkeys(one.notes for one in by_share if one.notes)
        name = replace(by_share[0], notes="; ".join(notes))
        overlap, n_shared = (float(share[cluster]), int(had[cluster])) if cluster >= 0 else (0.0, 0)
        yield Match(name, sources, cluster, overlap, is_carried, n_shared, int(had.sum()))


def carried(matches: Sequence[Match], run: str) -> list[Name]:
    """Return the names that are carried, as rows of the new clustering's table."""
    return [
        replace(
            match.name, cluster=match.cluster, carried_from=" ".join(f"{run}/{one}" for one in match.sources),
            overlap=match.overlap,
        )
        for match in matches
        if match.is_carried
    ]  # fmt: skip


def fates(matches: Sequence[Match]) -> Iterator[str]:
    """Yield a line for each name: the clusters that have it now, or where its windows are."""
    of: dict[tuple[int, ...], list[Match]] = {}
    for match in matches:
        of.setdefault(match.sources, []).append(match)
    new_names = {match.cluster: match.name.name for match in matches if match.is_carried}
    for sources, mine in of.items():
        name, n_named = repr(mine[0].name.name), mine[0].n_named
        was = f"cluster{'s'[: len(sources) - 1]} {_listed(sources)}"
        if mine[0].is_carried:
            now = ", ".join(f"{match.cluster} (overlap {match.overlap:.2f})" for match in mine)
            kept = sum(match.n_shared for match in mine)
            verb = "is" if len(sources) == 1 else "are"
            yield f"name {name}: {was} {verb} now {now}; {kept} of its {n_named} windows keep it"
        elif mine[0].cluster < 0:
            yield f"name {name} of {was} is lost: no cluster has its windows"
        else:
            there = mine[0].cluster
            whose = f" ({new_names[there]!r})" if there in new_names else ""
            most = f"{mine[0].n_shared} of its {n_named} windows are in {there}{whose}"
            yield f"name {name} of {was} is lost: {most}, overlap {mine[0].overlap:.2f}"


def _listed(clusters: Sequence[int]) -> str:
    return ", ".join(map(str, clusters))
