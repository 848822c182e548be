"""Labels of recordings laid on a cube's time: whose recording each belongs to, and when that began."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.common.labels import Intervals, Labels
from jobs.common.marks import Mark
from lake.errors import InputError
from lake.read import paths_of

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Placed:
    """The recordings of a cube: path, recorder, start and end (milliseconds since 1970), by row.

    Attributes
    ----------
    by_path
        Row by path.
    """

    path: tuple[str, ...]
    recorder: tuple[str, ...]
    start_ms: Ints
    end_ms: Ints

    @property
    def by_path(self) -> dict[str, int]:
        """Row by path."""
        return {path: i for i, path in enumerate(self.path)}


@dataclass(frozen=True)
class PlacedMarks:
    """Marks of a cube's recordings; all columns have the same length.

    Attributes
    ----------
    marks, row
        The marks, and the row of each one's recording.
    start_ms, end_ms
        When each begins and ends, milliseconds since 1970, shape (n_marks,); the end is exclusive.
    n_strange
        Marks of other recordings.
    """

    marks: tuple[Mark, ...]
    row: tuple[int, ...]
    start_ms: Ints
    end_ms: Ints
    n_strange: int


def recordings_of(cube: xr.Dataset) -> Placed:
    """Return the recordings table of a cube."""
    start_ms = cube["recording_start_ms"].to_numpy().astype(np.int64)
    length_ms = cube["recording_n_samples"].to_numpy() * 1000 / cube["recording_sample_rate_hz"].to_numpy()
    recorder = tuple(str(name) for name in cube["recording_recorder"].to_numpy())
    return Placed(tuple(paths_of(cube)), recorder, start_ms, start_ms + np.ceil(length_ms).astype(np.int64))


def place_marks(marks: Sequence[Mark], cube: Placed, *, min_confidence: float) -> PlacedMarks:
    """Return the marks in recordings of a cube; those that are less sure than ``min_confidence`` are left out.

    A recording is found by its path or the end of it, with or without its suffix.

    Raises
    ------
    InputError
        If two recordings answer to a name, or none of the marks is of the cube's recordings.
    """
    sure = [mark for mark in marks if mark.confidence >= min_confidence]
    ends = _ends(cube.path)
    rows: list[int] = []
    kept: list[Mark] = []
    for mark in sure:
        found = ends.get(mark.recording) or ends.get(PurePosixPath(mark.recording).name) or []
        if len(found) > 1:
            named = ", ".join(cube.path[i] for i in found[:3])
            raise InputError(f"{mark.where}: {mark.recording!r} may be {named}; name more of the path.")
        if found:
            rows.append(found[0])
            kept.append(mark)
    if not kept:
        some = ", ".join(sorted({mark.recording for mark in sure})[:3]) or "none that is sure enough"
        raise InputError(
            f"none of {len(marks)} labels is of a recording of the cube; labelled are {some}; the cube has "
            f"{', '.join(cube.path[:3])}. Recordings are named by their path below the root, or the end of it."
        )
    start_ms = cube.start_ms[rows] + np.array([round(mark.start_s * 1000) for mark in kept], dtype=np.int64)
    length_ms = np.array([max(1, round((mark.end_s - mark.start_s) * 1000)) for mark in kept], dtype=np.int64)
    return PlacedMarks(tuple(kept), tuple(rows), start_ms, start_ms + length_ms, len(sure) - len(kept))


def labels_of_marks(found: PlacedMarks, cube: Placed) -> Labels:
    """Return placed marks as a table of labels, by recorder."""
    names, label = np.unique(np.array([mark.label for mark in found.marks], dtype=str), return_inverse=True)
    recorder = np.array([cube.recorder[row] for row in found.row], dtype=str)
    by_recorder = {
        str(name): Intervals(
            found.start_ms[rows], found.end_ms[rows], label[rows].astype(np.int64), np.full(int(rows.sum()), np.nan)
        )
        for name in np.unique(recorder)
        for rows in [recorder == name]
    }
    return Labels(tuple(names.tolist()), by_recorder)


def _ends(paths: Sequence[str]) -> dict[str, list[int]]:
    """Return the rows by every end of a path, with the suffix and without."""
    ends: dict[str, list[int]] = {}
    for i, path in enumerate(paths):
        parts = PurePosixPath(path).parts
        for n in range(len(parts)):
            end = "/".join(parts[n:])
            for name in {end, end.removesuffix(PurePosixPath(path).suffix)}:
                ends.setdefault(name, []).append(i)
    return {**ends, **{path: [i] for i, path in enumerate(paths)}}
