"""Lists of windows that people bring: from the atlas's map, a query, a table of their own."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jobs.common.run import listed
from jobs.review.cells import instant, milliseconds
from jobs.review.windows import Windows
from lake import read
from lake.errors import InputError
from lake.escapes import as_written
from lake.sheets import decoded, read_sheet

TIMES = ("time_utc", "time")


def read_list(path: Path, windows: Windows) -> tuple[read.Windows, list[str]]:
    """Return the windows of a list in its order, each once, and notes.

    Parameters
    ----------
    path
        A table with the columns ``recorder`` and ``time_utc`` (or ``time``); others are passed over. Any spreadsheet
        may have saved it.
    windows
        Those of the study.

    Raises
    ------
    InputError
        If it is no such table, is empty, or with all rows that name no window.
    """
    try:
        text, note = decoded(path.read_bytes())
        sheet = read_sheet(text)
    except (OSError, ValueError) as error:
        raise InputError(f"--windows {path}: expected a table of windows (CSV): {error}.") from error
    time = next((name for name in TIMES if name in sheet.header), None)
    if "recorder" not in sheet.header or time is None:
        found = ", ".join(sheet.header) or "nothing"
        raise InputError(f"--windows {path}: expected the columns recorder and time_utc, found {found}.")
    problems: list[str] = []
    places: list[tuple[int, int]] = []
    for number, cells in sheet.rows:
        try:
            places.append(_place(cells, time, windows))
        except ValueError as error:
            problems.append(f"  row {number}: {error}")
    if problems:
        raise InputError(
            f"--windows {path}: {len(problems)} of {len(sheet.rows)} rows are no windows of {windows.run.name!r}; "
            f"correct these and try again:\n{listed(problems)}"
        )
    if not places:
        raise InputError(f"--windows {path}: expected at least one window, found none.")
    notes = [f"{path.name}: {note}."] if note else []
    once = list(dict.fromkeys(places))
    if len(once) < len(places):
        notes.append(f"{path.name}: {len(places) - len(once)} windows are there more than once; each is asked once.")
    recorder, cell = np.array(once, dtype=np.int64).T
    return read.Windows(recorder.astype(np.int32), cell), notes


def _place(cells: Mapping[str, str], time: str, windows: Windows) -> tuple[int, int]:
    recorder = windows.recorder_of(as_written(cells["recorder"]))
    return windows.recorders.index(recorder), windows.cell_of(recorder, milliseconds(instant(cells[time])))
