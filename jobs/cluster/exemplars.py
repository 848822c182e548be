"""Exemplars: windows near a centroid that are not all of one bout."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Candidates:
    """Windows that may become exemplars; all arrays have the shape (n_windows,).

    Attributes
    ----------
    cluster, distance
        Cluster of the window, and its distance to the centroid.
    recorder, cell
        Its position.
    span
        Number of the span of time that it stands in.
    """

    cluster: NDArray[np.int16]
    distance: NDArray[np.float32]
    recorder: NDArray[np.int32]
    cell: NDArray[np.int64]
    span: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp]) -> "Candidates":
        """Return some of the windows."""
        return Candidates(*(getattr(self, field.name)[rows] for field in fields(self)))


def span_of(cells: NDArray[np.int64], *, hop_ms: int, cells_per_day: int, span_ms: int) -> NDArray[np.int64]:
    """Return the number of the span that each cell starts in; spans begin anew at every UTC midnight."""
    per_day = -(-cells_per_day * hop_ms // span_ms)
    return cells // cells_per_day * per_day + cells % cells_per_day * hop_ms // span_ms


def joined(parts: list[Candidates]) -> Candidates:
    """Return the candidates of several parts in their order."""
    return Candidates(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Candidates)))


def narrowed(windows: Candidates, n_exemplars: int) -> Candidates:
    """Return the windows of a part that can still become exemplars whatever the other parts hold.

    Parameters
    ----------
    windows
        All windows of whole spans.
    n_exemplars
        Exemplars of a cluster.
    """
    order = _ordered(windows)
    best = _first_of_span(windows, order)
    near = np.concatenate([_head(windows, order, n_exemplars), _head(windows, order[best], n_exemplars)])
    return windows.take(np.unique(near))


def exemplars(windows: Candidates, n_clusters: int, n_exemplars: int) -> NDArray[np.int64]:
    """Choose the exemplars of each cluster.

    Parameters
    ----------
    windows
        The narrowed windows of all parts.
    n_clusters, n_exemplars
        How many to choose.

    Returns
    -------
    NDArray
        Recorder and cell of each exemplar, shape (2, n_clusters, n_exemplars), nearest first; -1 where a
        cluster has fewer windows. First the nearest window of each span of each recorder is taken, nearest
        first; while there are too few of them, the nearest of the others. Of windows at the same distance
        the one at the lower position is taken.
    """
    order = _ordered(windows)
    best = _first_of_span(windows, order)
    preferred = np.concatenate([order[best], order[~best]])
    preferred = preferred[np.argsort(windows.cluster[preferred], kind="stable")]
    chosen = windows.take(_head(windows, preferred, n_exemplars))
    chosen = chosen.take(_ordered(chosen))
    rank = _rank(chosen.cluster)
    out = np.full((2, n_clusters, n_exemplars), -1, dtype=np.int64)
    out[:, chosen.cluster, rank] = chosen.recorder, chosen.cell
    return out


def _ordered(windows: Candidates) -> NDArray[np.intp]:
    """Return rows by cluster, then distance, then position."""
    return np.lexsort((windows.cell, windows.recorder, windows.distance, windows.cluster))


def _first_of_span(windows: Candidates, order: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return for each of the ordered rows whether it is the nearest of its cluster, recorder and span."""
    keys = np.stack([windows.cluster[order], windows.recorder[order], windows.span[order]])
    _, first = np.unique(keys, axis=1, return_index=True)
    out = np.zeros(len(order), dtype=np.bool_)
    out[first] = True
    return out


def _head(windows: Candidates, order: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """Return the first n rows of each cluster of rows that are ordered by cluster."""
    return order[_rank(windows.cluster[order]) < n]


def _rank(groups: NDArray[np.int16]) -> NDArray[np.intp]:
    """Return the place of each element among those of its group; groups stand together."""
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(begins, np.diff(begins, append=len(groups)))
