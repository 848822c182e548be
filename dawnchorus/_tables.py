"""Reading tables of labels."""

from pathlib import Path

import numpy as np
import pandas as pd

from jobs.common.labels.intervals import Labels
from jobs.common.labels.intervals import read_labels as read_plain_table
from jobs.common.labels.marks import is_plain_table, read_marks
from jobs.common.labels.placing import labels_of_marks, place_marks, recordings_of
from lake.errors import InputError
from lake.read import open_cube

COLUMNS = ("recorder", "start_utc", "end_utc", "label", "level_db")


def read_labels(
    source: str | Path, *, cube: str | None = None, root: str | Path = "", min_confidence: float = 0.0
) -> pd.DataFrame:
    """Read labels: who called, where, from when to when.

    Parameters
    ----------
    source
        A CSV file with the columns ``recorder, start_utc, end_utc, label`` and perhaps ``level_db``; or a table, or a
        folder of tables, of Raven, Audacity, BirdNET, Kaleidoscope and others (``docs/evaluation.md``), which say
        where in a recording a sound is.
    cube
        The cube that knows when each recording began; needed for tables of other programs.
    root
        The folder that the cube's paths are relative to, where tables name files by their full path.
    min_confidence
        Labels of a program that is less sure are left out.

    Returns
    -------
    pandas.DataFrame
        One row a label, by recorder and start: recorder, start_utc and end_utc (datetime64[ms], the end is
        exclusive), label, level_db (NaN where it is not known). ``table.attrs["notes"]`` lists what was left out.

    Raises
    ------
    InputError
        With all rows that cannot be read; if no label belongs to a recording of the cube, or a cube is needed.

    Examples
    --------
    >>> import dawnchorus
    >>> labels = dawnchorus.read_labels("data/demo/study/truth.csv")
    >>> list(labels.columns)
    ['recorder', 'start_utc', 'end_utc', 'label', 'level_db']
    >>> "00004862" in set(labels["recorder"])
    True
    """
    path = Path(source)
    if is_plain_table(path):
        return _table(read_plain_table(path), [])
    if cube is None:
        raise InputError(
            f"{path} labels recordings, and only a cube knows their times; name it: cube=…/spectrograms/RUN.zarr."
        )
    read = read_marks(path)
    with open_cube(cube) as opened:
        recordings = recordings_of(opened, str(root))
        placed = place_marks(read.marks, recordings, min_confidence=min_confidence)
    return _table(labels_of_marks(placed, recordings), [*read.notes, *placed.notes])


def _table(labels: Labels, notes: list[str]) -> pd.DataFrame:
    names = np.array(labels.names, dtype=object)
    parts = [
        pd.DataFrame({
            "recorder": recorder,
            "start_utc": intervals.start_ms.astype("datetime64[ms]"),
            "end_utc": intervals.end_ms.astype("datetime64[ms]"),
            "label": names[intervals.label],
            "level_db": intervals.level_db,
        }).sort_values(["start_utc", "end_utc", "label"], kind="stable")
        for recorder, intervals in sorted(labels.by_recorder.items())
    ]  # fmt: skip
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    table.attrs["notes"] = notes
    return table
