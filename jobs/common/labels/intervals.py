"""Tables of labels: who called, where, from when to when."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lake.tables import (
    UTC_TIME,
    UTC_TIME_HINT,
    Column,
    RowProblem,
    in_order,
    instant,
    name,
    number,
    read_table,
    refuse,
    text,
)

COLUMNS: Mapping[str, Column] = {
    "recorder": Column(name),
    "start_utc": Column(instant(UTC_TIME, UTC_TIME_HINT, is_required=True), "datetime64[ms]"),
    "end_utc": Column(instant(UTC_TIME, UTC_TIME_HINT, is_required=True), "datetime64[ms]"),
    "label": Column(name),
    "level_db": Column(number(), "float64", is_optional=True),
}
"""Columns of a table of labels; any others are left alone."""


@dataclass(frozen=True)
class Intervals:
    """Labelled intervals; all arrays have the shape (n_intervals,).

    Attributes
    ----------
    start_ms, end_ms
        Milliseconds since 1970, int64; the end is exclusive.
    label
        Number of the label in alphabetical order, int64.
    level_db
        Level of the labelled sound, dB; NaN where it is not known.
    """

    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    label: NDArray[np.int64]
    level_db: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Labels:
    """A table of labels: the names of all labels in alphabetical order, and each recorder's intervals."""

    names: tuple[str, ...]
    by_recorder: Mapping[str, Intervals]

    @property
    def n_intervals(self) -> int:
        """Number of labelled intervals."""
        return sum(len(intervals) for intervals in self.by_recorder.values())


def read_labels(path: Path) -> Labels:
    """Read a table of labels.

    Parameters
    ----------
    path
        CSV in UTF-8 with the columns :data:`COLUMNS`; ``level_db`` may be missing.

    Raises
    ------
    InputError
        With all problems: missing columns, cells that cannot be read, intervals that end before they
        begin, no labels at all.
    """
    columns = {**{key: Column(text) for key in _header(path) if key not in COLUMNS}, **COLUMNS}
    table, problems = read_table(
        path, columns, what="labels", remedy="name a table with the columns recorder, start_utc, end_utc and label"
    )
    refuse(path, "labels", [*in_order([*problems, *_backward(table)]), *([] if len(table) else ["it has no rows"])])
    names, label = np.unique(table["label"].to_numpy(dtype=str), return_inverse=True)
    start_ms, end_ms = (
        table[key].to_numpy().astype("datetime64[ms]").astype(np.int64) for key in COLUMNS if "utc" in key
    )
    level_db = table["level_db"].to_numpy(dtype=np.float64)
    by_recorder = {
        str(recorder): Intervals(start_ms[rows], end_ms[rows], label[rows].astype(np.int64), level_db[rows])
        for recorder, rows in table.reset_index(drop=True).groupby("recorder").indices.items()
    }
    return Labels(tuple(names.tolist()), by_recorder)


def joined(intervals: Intervals) -> Intervals:
    """Join intervals of the same label that touch or overlap, so that no instant counts twice.

    The level of what was joined is that of the loudest. The result is sorted by label and start.
    """
    order = np.lexsort((intervals.end_ms, intervals.start_ms, intervals.label))
    label, start_ms, end_ms = intervals.label[order], intervals.start_ms[order], intervals.end_ms[order]
    if not len(order):
        return intervals
    # Times of one label are moved past those of the label before, so that one running maximum serves all.
    apart = label * (int(end_ms.max()) - int(start_ms.min()) + 1)
    reach = np.maximum.accumulate(end_ms + apart)
    first = np.flatnonzero(np.concatenate([[True], (start_ms + apart)[1:] > reach[:-1]]))
    level_db = np.where(np.isnan(intervals.level_db), -np.inf, intervals.level_db)[order]
    loudest = np.maximum.reduceat(level_db, first)
    return Intervals(
        start_ms[first], np.maximum.reduceat(end_ms, first), label[first], np.where(np.isinf(loudest), np.nan, loudest)
    )


def _header(path: Path) -> Sequence[str]:
    """Return the names in a table's header; none where there is no table, which its reader will say."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file), [])


def _backward(table: pd.DataFrame) -> list[RowProblem]:
    wrong = table.index[(table["end_utc"] <= table["start_utc"]).to_numpy(dtype=bool)]
    return [(int(row), "end_utc is not after start_utc") for row in wrong]
