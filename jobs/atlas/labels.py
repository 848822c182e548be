"""Labels from outside, as lift over the base rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, hypergeom

from jobs.atlas.study import Stores
from jobs.atlas.windows import Table
from jobs.common.labels.intervals import Labels, read_labels
from jobs.common.labels.marks import is_plain_table, read_marks
from jobs.common.labels.placing import labels_of_marks, place_marks, recordings_of
from jobs.common.pages.words import number
from lake.read import Windows
from lake.text import nearest


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


def read_intervals(
    path: Path, stores: Stores, *, min_confidence: float, root: str = ""
) -> tuple[dict[str, Intervals], str]:
    """Read labels: the intervals of each label on a clustering's recorders, labels in alphabetical order.

    Parameters
    ----------
    path
        A table in UTC, or tables of other programs, as :func:`jobs.common.labels.intervals.read_labels` and
        :func:`jobs.common.labels.marks.read_marks` read them.
    stores
        The clustering, and the cube that knows when each recording began.
    min_confidence
        Labels of a program that is less sure are left out.
    root
        Folder that the recordings' paths are relative to.

    Returns
    -------
    intervals
        By label.
    note
        What was passed over, and which labels have no place here, in sentences; empty if all have.

    Raises
    ------
    InputError
        With all that cannot be read, or if no label is of a recording of the cube.
    """
    notes: list[str] = []
    if is_plain_table(path):
        labels = read_labels(path)
    else:
        cube, read = recordings_of(stores.cube, root), read_marks(path)
        found = place_marks(read.marks, cube, min_confidence=min_confidence)
        labels = labels_of_marks(found, cube)
        notes += [*read.notes, *found.notes]
    strange = sorted(set(labels.by_recorder) - set(stores.recorders))
    if strange:
        n = sum(len(labels.by_recorder[name]) for name in strange)
        named = ", ".join(f"{name}{_near(name, stores.recorders)}" for name in strange[:3])
        named += " …" if len(strange) > 3 else ""
        notes.append(f"Labelled intervals of recorders that this clustering does not have: {number(n)} ({named}).")
    return _by_label(labels, stores.recorders), " ".join(notes)


def _near(name: str, known: Sequence[str]) -> str:
    near = nearest(name, known, 1)
    return f", nearest {near[0]}" if near else ""


def _by_label(labels: Labels, recorders: Sequence[str]) -> dict[str, Intervals]:
    parts = [(i, labels.by_recorder[name]) for i, name in enumerate(recorders) if name in labels.by_recorder]
    if not parts:
        return {}
    recorder = np.concatenate([np.full(len(one), i, dtype=np.int64) for i, one in parts])
    start_ms, end_ms, label = (
        np.concatenate([getattr(one, name) for _, one in parts]) for name in ("start_ms", "end_ms", "label")
    )
    order = np.argsort(label, kind="stable")
    edges = np.searchsorted(label[order], np.arange(len(labels.names) + 1))
    rows = [order[edges[j] : edges[j + 1]] for j in range(len(labels.names))]
    return {
        name: Intervals(recorder[mine], start_ms[mine], end_ms[mine])
        for name, mine in zip(labels.names, rows, strict=True)
        if len(mine)
    }


def windows_with(intervals: Intervals, table: Table, stores: Stores) -> NDArray[np.bool_]:
    """Return which windows overlap an interval, bool, shape (n_windows,); touching is not overlapping."""
    out = np.zeros(len(table), dtype=np.bool_)
    start_ms = stores.starts_ms(Windows(table.recorder, table.cell))
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
