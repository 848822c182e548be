"""Labels of recordings laid on a cube's time: whose recording each belongs to, and when that began."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.common.labels.intervals import Intervals, Labels
from jobs.common.labels.marks import Mark
from jobs.common.labels.matching import match_recordings, told_unknown
from jobs.common.run import listed
from jobs.common.sequences import shifts_of
from lake.errors import InputError
from lake.read import paths_of

Ints = NDArray[np.int64]

EDGE_S = 0.1
"""A label may lie outside of its recording by so much, as programs round."""
PADDED_S = 3.0
"""A label may reach so far beyond the end: BirdNET fills the last window of a recording up to 3 s."""
MOST_NAMED = 5


@dataclass(frozen=True)
class Placed:
    """The recordings of a cube: path, recorder, start and end (milliseconds since 1970), by row; and their folder."""

    path: tuple[str, ...]
    recorder: tuple[str, ...]
    start_ms: Ints
    end_ms: Ints
    root: str = ""


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
    n_outside
        Marks of seconds that their recording does not have.
    notes
        What was left out and what was cut, a line each.
    """

    marks: tuple[Mark, ...]
    row: tuple[int, ...]
    start_ms: Ints
    end_ms: Ints
    n_strange: int
    n_outside: int
    notes: tuple[str, ...]


def recordings_of(cube: xr.Dataset, root: str = "") -> Placed:
    """Return the recordings table of a cube; ``root`` is the folder that their paths are relative to."""
    start_ms = cube["recording_start_ms"].to_numpy().astype(np.int64)
    length_ms = cube["recording_n_samples"].to_numpy() * 1000 / cube["recording_sample_rate_hz"].to_numpy()
    recorder = tuple(str(name) for name in cube["recording_recorder"].to_numpy())
    return Placed(tuple(paths_of(cube)), recorder, start_ms, start_ms + np.ceil(length_ms).astype(np.int64), root)


def place_marks(marks: Sequence[Mark], cube: Placed, *, min_confidence: float) -> PlacedMarks:
    """Return the marks in recordings of a cube; those that are less sure than ``min_confidence`` are left out.

    Recordings are found as :func:`jobs.common.labels.matching.match_recordings` says. A mark that begins in its
    recording is cut at its end if it reaches beyond by :data:`PADDED_S` at most; what lies elsewhere is left out
    and counted.

    Raises
    ------
    InputError
        If two recordings answer to a name, or none of the marks is of the cube's recordings, or in one.
    """
    sure = [mark for mark in marks if mark.confidence >= min_confidence]
    if not sure:
        raise InputError(f"none of {len(marks)} labels has a confidence of {min_confidence:g}; lower min_confidence.")
    matched = match_recordings([mark.recording for mark in sure], cube.path, root=cube.root)
    known = [mark for mark in sure if mark.recording in matched.row]
    strange = told_unknown(matched.unknown, cube.path)
    if not known:
        raise InputError(
            f"none of {len(marks)} labels is of a recording of the cube; labelled are "
            f"{', '.join(sorted(matched.unknown)[:3])}; the cube has {', '.join(cube.path[:3])}. Recordings are named "
            f"by their path below the root, or the end of it. Most alike: {strange}."
        )
    row = np.array([matched.row[mark.recording] for mark in known], dtype=np.int64)
    length_s = (cube.end_ms - cube.start_ms) / 1000
    shift_s, unclear = shifts_of(known, row, length_s)
    start_s = np.array([mark.start_s for mark in known]) - shift_s
    end_s = np.array([mark.end_s for mark in known]) - shift_s
    is_in = (start_s >= -EDGE_S) & (start_s < length_s[row]) & (end_s <= length_s[row] + PADDED_S) & ~unclear
    is_cut = is_in & ((start_s < 0) | (end_s > length_s[row] + EDGE_S))
    outside = [_told_outside(known[i], cube, int(row[i]), is_unclear=bool(unclear[i])) for i in np.flatnonzero(~is_in)]
    if not is_in.any():
        raise InputError(
            f"none of {len(known)} labels lies within its recording:\n{listed(outside[:MOST_NAMED])}\n"
            "Seconds count from the start of the recording that the row names."
        )
    notes = []
    if len(sure) > len(known):
        notes.append(
            f"{len(sure) - len(known)} labels are of {len(matched.unknown)} recordings that the cube does not have: "
            f"{strange}."
        )
    if outside:
        more = f"; and {len(outside) - MOST_NAMED} more" if len(outside) > MOST_NAMED else ""
        notes.append(f"{len(outside)} labels lie outside their recording: {'; '.join(outside[:MOST_NAMED])}{more}.")
    if is_cut.any():
        notes.append(f"{int(is_cut.sum())} labels reach beyond the end or the start of their recording; they are cut.")
    kept = np.flatnonzero(is_in)
    origin_ms = cube.start_ms[row[kept]]
    low_s, high_s = np.maximum(start_s[kept], 0), np.minimum(end_s[kept], length_s[row[kept]])
    start_ms = origin_ms + np.rint(low_s * 1000).astype(np.int64)
    length_ms = np.maximum(1, np.rint((high_s - low_s) * 1000)).astype(np.int64)
    return PlacedMarks(
        tuple(known[i] for i in kept), tuple(int(i) for i in row[kept]), start_ms, start_ms + length_ms,
        len(sure) - len(known), len(outside), tuple(notes),
    )  # fmt: skip


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


def _told_outside(mark: Mark, cube: Placed, row: int, *, is_unclear: bool) -> str:
    length_s = (cube.end_ms[row] - cube.start_ms[row]) / 1000
    why = "the table names several files without File Offset (s), so its seconds are unclear" if is_unclear else ""
    return (
        f"{mark.where}: {mark.label!r} from {mark.start_s:g} to {mark.end_s:g} s of {cube.path[row]}, which has "
        f"{length_s:g} s{f' ({why})' if why else ''}"
    )
