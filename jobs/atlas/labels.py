"""Labels from outside, as lift over the base rate."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, hypergeom

from jobs.atlas.study import Stores
from jobs.atlas.windows import Table
from lake.tables import Column, in_order, instant, name, read_table, refuse

_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?"
_HINT = "a time such as 2021-06-22T05:00:01.5Z (UTC when it has no offset)"
COLUMNS: Mapping[str, Column] = {
    "recorder": Column(name),
    "start_utc": Column(instant(_TIME, _HINT, is_required=True), "datetime64[ms]"),
    "end_utc": Column(instant(_TIME, _HINT, is_required=True), "datetime64[ms]"),
    "label": Column(name),
}
"""Columns of a table of labels that the atlas reads; any others are left alone."""


@dataclass(frozen=True)
class Intervals:
    """Labelled intervals of one label: recorder's number and span in milliseconds since 1970, shape (n,) each."""

    recorder: NDArray[np.int64]
    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]


@dataclass(frozen=True)
class Lift:
    """A label that a cluster has more often than windows have it on the whole.

    Attributes
    ----------
    label
        The label.
    n_both, n_label
        Windows of the cluster with the label, and all windows with it.
    lift
        Share of the cluster's windows with it over the share of all windows with it.
    q
        Benjamini and Hochberg's q-value over all clusters and labels.
    """

    label: str
    n_both: int
    n_label: int
    lift: float
    q: float


def can_read(path: Path) -> bool:
    """Tell whether a file has the columns that the atlas reads."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return set(COLUMNS) <= set(next(csv.reader(file), []))


def read_intervals(path: Path, recorders: Sequence[str]) -> dict[str, Intervals]:
    """Read a table of labels: the intervals of each label on these recorders, labels in alphabetical order.

    Raises
    ------
    InputError
        With all cells that cannot be read.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = next(csv.reader(file), [])
    columns = {**{key: Column(str) for key in header if key not in COLUMNS}, **COLUMNS}
    table, problems = read_table(
        path, columns, what="labels", remedy="name a table with the columns recorder, start_utc, end_utc and label"
    )
    refuse(path, "labels", in_order(problems))
    number = {recorder: i for i, recorder in enumerate(recorders)}
    table = table[table["recorder"].isin(list(number))]
    found = {}
    for label, rows in table.groupby("label", sort=True):
        spans = [rows[key].to_numpy().astype("datetime64[ms]").astype(np.int64) for key in ("start_utc", "end_utc")]
        recorder = np.array([number[name] for name in rows["recorder"]], dtype=np.int64)
        found[str(label)] = Intervals(recorder, spans[0], spans[1])
    return found


def windows_with(intervals: Intervals, table: Table, stores: Stores) -> NDArray[np.bool_]:
    """Tell which windows overlap an interval, bool, shape (n_windows,); touching is not overlapping."""
    out = np.zeros(len(table), dtype=np.bool_)
    start_ms = stores.grid.origin_ms + table.cell * stores.grid.hop_ms
    edges = np.searchsorted(table.recorder, np.arange(len(stores.recorders) + 1))
    for i in np.unique(intervals.recorder):
        rows = slice(int(edges[i]), int(edges[i + 1]))
        here = intervals.recorder == i
        first = np.searchsorted(start_ms[rows], intervals.start_ms[here] - stores.grid.window_ms, side="right")
        end = np.searchsorted(start_ms[rows], intervals.end_ms[here], side="left")
        marks = np.zeros(rows.stop - rows.start + 1, dtype=np.int64)
        there = end > first
        np.add.at(marks, first[there], 1)
        np.add.at(marks, end[there], -1)
        out[rows] = np.cumsum(marks)[:-1] > 0
    return out


def lifts(
    n_both: NDArray[np.int64], n_cluster: NDArray[np.int64], names: Sequence[str], *, n_most: int
) -> list[list[Lift]]:
    """Return the labels that each cluster has more often than chance would, the greatest lift first.

    Parameters
    ----------
    n_both
        Windows by cluster and label, shape (n_clusters, n_labels).
    n_cluster
        Windows of each cluster, shape (n_clusters,).
    names
        The labels.
    n_most
        Labels of a cluster at most.

    Notes
    -----
    The p-value is the hypergeometric chance of so many labelled windows, or more, in a cluster of that size
    (Fisher's exact test, one-sided); q is Benjamini and Hochberg's. Windows that follow each other are alike,
    so both are smaller than independent windows would give.
    """
    n_label, n_all = n_both.sum(axis=0), int(n_cluster.sum())
    if n_both.size == 0 or n_all == 0:
        return [[] for _ in n_cluster]
    p = hypergeom.sf(n_both - 1, n_all, n_label[None], n_cluster[:, None]).clip(0, 1)
    q = false_discovery_control(p, axis=None).reshape(p.shape)
    base = n_label / n_all
    lift = np.divide(n_both / np.maximum(n_cluster, 1)[:, None], base, where=base > 0, out=np.zeros(n_both.shape))
    found = []
    for i in range(len(n_cluster)):
        order = sorted(np.flatnonzero(lift[i] > 1).tolist(), key=lambda j: (q[i, j] > 0.05, -lift[i, j], names[j]))
        found.append(
            [
                Lift(names[j], int(n_both[i, j]), int(n_label[j]), float(lift[i, j]), float(q[i, j]))
                for j in order[:n_most]
            ]
        )
    return found
