"""The units of an evaluation: labelled intervals, what each belongs to, and its mean vector or its cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.common.labels.intervals import Intervals, Labels
from jobs.common.labels.placing import Placed, PlacedMarks
from lake.constants import OFFSET_ARRAY, UNTIMED
from lake.grid import iso
from lake.read import grid_of, read_rows, recorder_names, usable_windows, values_at
from lake.scaling import Scaling, scaled
from lake.vectors import VectorSets

Ints = NDArray[np.int64]
GROUPS = ("recording", "day", "recorder", "group")
"""Groups of an interval, in the order of the tables."""
INTERVALS_AT_ONCE = 2_000


@dataclass(frozen=True)
class Units:
    """Labelled intervals; all arrays have the shape (n_intervals,).

    Attributes
    ----------
    recorder
        Name.
    start_ms, end_ms
        Milliseconds since 1970 on the study's grid.
    label
        Name.
    recording, day, group
        What the interval belongs to; empty where that is not known.
    """

    recorder: NDArray[np.str_]
    start_ms: Ints
    end_ms: Ints
    label: NDArray[np.str_]
    recording: NDArray[np.str_]
    day: NDArray[np.str_]
    group: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.start_ms)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Units":
        """Return some of the intervals."""
        return Units(*(getattr(self, field.name)[rows] for field in fields(self)))

    def groups(self, kind: str) -> tuple[Ints, Ints]:
        """Return the rows whose group of a kind is known, and the groups' numbers from 0."""
        names = getattr(self, kind)
        rows = np.flatnonzero(names != "")
        return rows, np.unique(names[rows], return_inverse=True)[1].astype(np.int64)


def units_of_labels(labels: Labels, cube: Placed | None) -> Units:
    """Return the intervals of a table in UTC; each belongs to the recording that holds its middle, if one does."""
    parts = [(name, one) for name, one in labels.by_recorder.items()]
    recorder = np.concatenate([np.full(len(one), name) for name, one in parts])
    start_ms = np.concatenate([one.start_ms for _, one in parts])
    end_ms = np.concatenate([one.end_ms for _, one in parts])
    label = np.array(labels.names)[np.concatenate([one.label for _, one in parts])]
    recording = np.full(len(start_ms), "", dtype=object)
    for name, one in parts if cube else []:
        mine = np.flatnonzero(np.array(cube.recorder) == name) if cube else np.empty(0, dtype=np.int64)
        mine = mine[np.argsort(cube.start_ms[mine], kind="stable")] if cube else mine
        if cube is None or not len(mine):
            continue
        middle = (one.start_ms + one.end_ms) // 2
        at = np.searchsorted(cube.start_ms[mine], middle, side="right") - 1
        inside = (at >= 0) & (middle < cube.end_ms[mine][np.maximum(at, 0)])
        paths = np.array(cube.path, dtype=object)[mine][np.maximum(at, 0)]
        recording[recorder == name] = np.where(inside, paths, "")
    return _units(recorder, start_ms, end_ms, label, recording, np.full(len(start_ms), ""))


def units_of_marks(found: PlacedMarks, cube: Placed) -> Units:
    """Return the intervals of marks that were placed in recordings of a cube."""
    return _units(
        np.array([cube.recorder[i] for i in found.row]), found.start_ms, found.end_ms,
        np.array([mark.label for mark in found.marks]), np.array([cube.path[i] for i in found.row], dtype=object),
        np.array([mark.group for mark in found.marks]),
    )  # fmt: skip


def labels_of_units(units: Units) -> Labels:
    """Return intervals as a table of labels, by recorder."""
    names, label = np.unique(units.label, return_inverse=True)
    by_recorder: Mapping[str, Intervals] = {
        str(name): Intervals(
            units.start_ms[rows], units.end_ms[rows], label[rows].astype(np.int64), np.full(int(rows.sum()), np.nan)
        )
        for name in np.unique(units.recorder)
        for rows in [units.recorder == name]
    }
    return Labels(tuple(str(name) for name in names), by_recorder)


def windows_of(store: xr.Dataset, status: str, units: Units, *, min_overlap_ms: int) -> list[tuple[int, Ints]]:
    """Return recorder number and cells of the windows that each interval shares enough time with.

    Enough is ``min_overlap_ms``, or all of an interval that is shorter. Where a store's vectors stand beside
    their cells (``embedding_offset_s``), their own times count.
    """
    grid, names = grid_of(store), recorder_names(store)
    usable = usable_windows(store, status=status)
    out: list[tuple[int, Ints]] = [(-1, np.empty(0, dtype=np.int64))] * len(units)
    for name in np.unique(units.recorder):
        if name not in names:
            continue
        i = names.index(str(name))
        cells = usable.cell[usable.recorder == i]
        start_ms = grid.origin_ms + cells * grid.hop_ms
        if OFFSET_ARRAY in store and len(cells):
            offset_s = values_at(store, OFFSET_ARRAY, np.full(len(cells), i), cells)
            start_ms = start_ms + np.rint(offset_s * 1000).astype(np.int64)
        for row in np.flatnonzero(units.recorder == name):
            begin, end = int(units.start_ms[row]), int(units.end_ms[row])
            low, high = np.searchsorted(start_ms, [begin - grid.window_ms, end])
            first = start_ms[low:high]
            shared = np.minimum(first + grid.window_ms, end) - np.maximum(first, begin)
            out[row] = i, cells[low:high][shared >= min(min_overlap_ms, end - begin)].astype(np.int64)
    return out


def mean_vectors(sets: VectorSets, scaling: Scaling | None, windows: Sequence[tuple[int, Ints]]) -> NDArray[np.float32]:
    """Return the mean vector of each interval's windows.

    Parameters
    ----------
    sets
        The vectors, of one store or several side by side.
    scaling
        How windows are scaled before the mean is taken; ``None`` leaves them as they are stored.
    windows
        Recorder number and cells of each interval.

    Returns
    -------
    NDArray
        float32, shape (n_intervals, n_scaled or n_features).
    """
    n_values = sum(sets.n_features) if scaling is None else scaling.n_scaled
    out = np.empty((len(windows), n_values), dtype=np.float32)
    for first in range(0, len(windows), INTERVALS_AT_ONCE):
        part = windows[first : first + INTERVALS_AT_ONCE]
        sizes = np.array([len(cells) for _, cells in part])
        recorder = np.repeat([i for i, _ in part], sizes)
        place = np.stack([recorder, np.concatenate([cells for _, cells in part])])
        unique, inverse = np.unique(place, axis=1, return_inverse=True)
        vectors = scaled_rows(sets, scaling, unique[0], unique[1])
        rows = np.asarray(vectors, dtype=np.float64)[inverse.ravel()]
        begins = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        out[first : first + len(part)] = np.add.reduceat(rows, begins, axis=0) / sizes[:, None]
    return out


def scaled_rows(
    sets: VectorSets, scaling: Scaling | None, recorder: NDArray[np.integer[Any]], cell: Ints
) -> NDArray[np.float32]:
    """Return the vectors of single windows, float32, shape (n_windows, n_scaled or n_features)."""
    parts = [np.asarray(read_rows(array, recorder, cell), dtype=np.float32) for array in sets.arrays]
    vectors = np.concatenate(parts, axis=1)
    return vectors if scaling is None else scaled(vectors, scaling, in_place=True)


def commonest_cluster(store: xr.Dataset, windows: Sequence[tuple[int, Ints]]) -> Ints:
    """Return the cluster that most of each interval's windows are in; of a tie, the lower number."""
    sizes = [len(cells) for _, cells in windows]
    places = np.repeat([i for i, _ in windows], sizes), np.concatenate([cells for _, cells in windows])
    labels = np.split(values_at(store, "cluster", *places), np.cumsum(sizes)[:-1])
    return np.array([np.bincount(each).argmax() for each in labels], dtype=np.int64)


def _units(  # noqa: PLR0917 (one column each)
    recorder: NDArray[np.str_],
    start_ms: Ints,
    end_ms: Ints,
    label: NDArray[np.str_],
    recording: NDArray[np.object_],
    group: NDArray[np.str_],
) -> Units:
    day = np.array(
        [
            "" if name.startswith(UNTIMED) else iso(int(start))[:10]
            for name, start in zip(recorder, start_ms, strict=True)
        ]
    )
    return Units(
        recorder.astype(str), start_ms, end_ms, label.astype(str), recording.astype(str), day, group.astype(str)
    )
