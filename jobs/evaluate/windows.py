"""Windows against labels: each window's dominant label, and the clustering's table of clusters by labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.common.labels.intervals import Intervals, Labels
from jobs.common.progress import Advance, progress
from jobs.common.run import Run
from jobs.evaluate.config import Config
from jobs.evaluate.core import NONE, agreement, confusion, dominant_labels
from lake.errors import InputError
from lake.grid import iso
from lake.read import grid_of, recorder_names, usable_windows, values_at

UNLABELLED = "none"
DECIMALS = 6


@dataclass(frozen=True)
class Score:
    """One row of ``scores.csv``: how well one clustering agrees with the labels.

    Attributes
    ----------
    role, run
        The clustering's role among the inputs, and its run.
    n_windows
        Windows that took part.
    n_labels
        Different labels among them.
    n_clusters
        Clusters of the clustering, empty ones included.
    ami, nmi
        Adjusted and normalised mutual information.
    """

    role: str
    run: str
    n_windows: int
    n_labels: int
    n_clusters: int
    ami: float
    nmi: float


def score_windows(run: Run[Config], role: str, store: xr.Dataset, labels: Labels) -> tuple[Score, list[list[object]]]:
    """Return a clustering's score, and its table of clusters by labels, the header first."""
    config, source = run.config, run.inputs[role]
    names = [*labels.names, *([UNLABELLED] if config.keep_unlabelled and UNLABELLED not in labels.names else [])]
    n_recorders = store.sizes["recorder"]
    with progress(f"{run.name}: labels for {source.name}", n_recorders, "recorders") as advance:
        clusters, found = _compared(store, labels, config, advance)
    if not (found != NONE).any():
        raise InputError(_nothing_in_common(run, role, store, labels))
    if config.keep_unlabelled:
        found = np.where(found == NONE, names.index(UNLABELLED), found)
    clusters, found = clusters[found != NONE], found[found != NONE]
    n_clusters = store.sizes["cluster_id"]
    measured = agreement(clusters, found)
    table = confusion(clusters, found, n_clusters, len(names))
    score = Score(
        role, source.name, len(found), len(np.unique(found)), n_clusters,
        round(measured.ami, DECIMALS), round(measured.nmi, DECIMALS),
    )  # fmt: skip
    return score, [["cluster", *names], *([i, *row] for i, row in enumerate(table.tolist()))]


def _compared(
    store: xr.Dataset, labels: Labels, config: Config, advance: Advance
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return cluster and label of every clustered window, by recorder and time."""
    grid = grid_of(store)
    found = []
    windows = usable_windows(store, status="cluster_status")
    clusters = values_at(store, "cluster", windows.recorder, windows.cell)
    for i, recorder in enumerate(recorder_names(store)):
        cells = windows.cell[windows.recorder == i]
        intervals = labels.by_recorder.get(recorder)
        if intervals is None:
            found.append(np.full(len(cells), NONE, dtype=np.int64))
        else:
            min_overlap_ms = round(config.min_overlap_s * 1000)
            found.append(dominant_labels(intervals, cells, grid, min_overlap_ms=min_overlap_ms))
        advance(1)
    return clusters, np.concatenate(found)


def _nothing_in_common(run: Run[Config], role: str, store: xr.Dataset, labels: Labels) -> str:
    config, grid = run.config, grid_of(store)
    spans = list(labels.by_recorder.values())
    return (
        f"run {run.name!r}: none of the {labels.n_intervals} intervals of {run.labels} covers "
        f"{config.min_overlap_s:g} s of a window of {run.inputs[role].name!r}.\n"
        f"  labels: recorders {_named(labels.by_recorder)}; {iso(_first(spans))} to {iso(_last(spans))}\n"
        f"  windows: recorders {_named(store['recorder'].to_numpy().tolist())}; {iso(grid.origin_ms)} to "
        f"{iso(grid.end_ms)}, {grid.window_ms / 1000:g} s each\n"
        "Recorders have to be named alike in both, and times are UTC."
    )


def _first(spans: Sequence[Intervals]) -> int:
    return min(int(intervals.start_ms.min()) for intervals in spans)


def _last(spans: Sequence[Intervals]) -> int:
    return max(int(intervals.end_ms.max()) for intervals in spans)


def _named(names: Iterable[str], most: int = 5) -> str:
    listed = sorted(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
