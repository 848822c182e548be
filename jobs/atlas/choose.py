"""Which windows of a cluster are shown besides its exemplars: borders and outliers."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.atlas.windows import Table

SPAN_MS = 600_000
"""Spans of a recorder's time that give one window each while there are enough."""


def rows_by_cluster(table: Table, n_clusters: int) -> list[NDArray[np.intp]]:
    """Return the rows of each cluster's windows, ascending."""
    order = np.argsort(table.cluster, kind="stable")
    edges = np.searchsorted(table.cluster[order], np.arange(n_clusters + 1))
    return [order[edges[i] : edges[i + 1]] for i in range(n_clusters)]


def least(
    key: NDArray[np.floating[Any]],
    rows: NDArray[np.intp],
    table: Table,
    *,
    hop_ms: int,
    n: int,
    taken: Iterable[int] = (),
) -> list[int]:
    """Return the rows with the least keys, at most one of a recorder's ten minutes while there are enough.

    Parameters
    ----------
    key
        One for every window of the table; windows without one (NaN) are not chosen.
    rows
        The rows to choose among.
    table, hop_ms
        The windows, and the distance of two starts.
    n
        How many.
    taken
        Rows that are shown already.

    Returns
    -------
    list of int
        In order of their keys; of equal keys the lower row comes first.
    """
    left = rows[~np.isin(rows, list(taken)) & np.isfinite(key[rows])]
    order = left[np.argsort(key[left], kind="stable")]
    span = table.cell[order] * hop_ms // SPAN_MS
    _, first = np.unique(np.stack([table.recorder[order].astype(np.int64), span]), axis=1, return_index=True)
    preferred = np.sort(first)
    others = np.setdiff1d(np.arange(len(order)), preferred)
    chosen = np.sort(np.concatenate([preferred, others])[:n])
    return [int(row) for row in order[chosen]]
