"""Tables whose seconds count from the start of the first of several recordings, as Raven's do without offsets."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.common.labels.marks import Mark

ROUNDED_S = 0.5
"""Seconds that the lengths of all recordings of a sequence may differ from what the program took them for."""


def shifts_of(
    marks: Sequence[Mark], row: NDArray[np.int64], length_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return what is to be taken off the seconds of each mark, and whether that is unclear.

    Parameters
    ----------
    marks, row
        The marks, and the row of each one's recording, shape (n_marks,).
    length_s
        Of all recordings.

    Notes
    -----
    A table that names several recordings without ``File Offset (s)`` may count from the start of each, or of the first
    in the order of their seconds. Where the recordings' lengths allow one of the two alone, it is that one.
    """
    shift_s, unclear = np.zeros(len(marks)), np.zeros(len(marks), dtype=np.bool_)
    by_table: dict[str, list[int]] = defaultdict(list)
    for i, mark in enumerate(marks):
        if mark.in_sequence:
            by_table[mark.table].append(i)
    for places in by_table.values():
        here = np.array(places)
        start_s = np.array([marks[i].start_s for i in places])
        if len(np.unique(row[here])) < 2:
            continue
        lengths = length_s[row[here]]
        offset_s = _offsets(row[here], start_s, length_s)
        each, first = (
            bool(((start_s - off >= -ROUNDED_S) & (start_s - off < lengths)).all())
            for off in (np.zeros(len(places)), offset_s)
        )
        if first and not each:
            shift_s[here] = offset_s
        unclear[here] = first == each
    return shift_s, unclear


def _offsets(
    row: NDArray[np.int64], start_s: NDArray[np.float64], length_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the start of each one's recording in the sequence of recordings, ordered by their seconds."""
    order = sorted(np.unique(row).tolist(), key=lambda one: float(start_s[row == one].min()))
    begins = np.concatenate([[0.0], np.cumsum(length_s[order])[:-1]])
    return np.array([begins[order.index(one)] for one in row.tolist()])
