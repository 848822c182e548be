"""Vectors in NumPy's format, with a table that names the recording and the second of each."""

from pathlib import Path

import numpy as np

from jobs.common.run import listed
from jobs.imports.config import Config
from jobs.imports.source import Source, load_array
from lake.errors import InputError
from lake.escapes import as_written
from lake.sheets import decoded, read_sheet, to_seconds


def read_table(table: Path, array: Path, config: Config) -> Source:
    """Read a table and an array with a row for each of its rows.

    Raises
    ------
    InputError
        If either is missing, has no such columns, is no numbers, or does not fit the other.
    """
    if not table.is_file():
        raise InputError(f"{table}: expected a table of vectors, found no file.")
    try:
        text, note = decoded(table.read_bytes())
        sheet = read_sheet(text)
    except ValueError as error:
        raise InputError(f"{table}: expected a table of vectors (CSV): {error}.") from error
    recording, start = config.recording_column, config.start_column
    if not {recording, start} <= set(sheet.header):
        raise InputError(
            f"{table}: expected the columns {recording}, {start}, found {', '.join(sheet.header) or 'nothing'}. "
            "Name them in recording_column and start_column."
        )
    starts, problems = [], []
    for number, row in sheet.rows:
        try:
            starts.append(to_seconds(row[start]))
        except ValueError:
            problems.append(
                f"  row {number}: {start} should be a number of seconds, found {row[start]!r} "
                f"(recording {row[recording]})"
            )
    if problems:
        raise InputError(f"{table}: {len(problems)} rows cannot be read:\n{listed(problems)}")
    vectors = load_array(array)
    if vectors.ndim != 2 or len(vectors) != len(starts) or vectors.dtype.kind != "f":
        raise InputError(
            f"{array}: expected one vector for each of the table's {len(starts)} rows, numbers of shape "
            f"({len(starts)}, n_features); found {vectors.dtype} of shape {vectors.shape}."
        )
    names = [as_written(row[recording]) for _, row in sheet.rows]
    numbers = [number for number, _ in sheet.rows]
    notes = [f"{table.name}: {note}."] * bool(note)
    return Source(table, names, np.array(starts), None, np.asarray(vectors), lambda i: f"row {numbers[i]}", notes)
