"""The table of recordings: its columns, what they mean, and how one is read and written."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lake.constants import COPIES, S_PER_DAY
from lake.keys import outward
from lake.limits import EARLIEST, LATEST, MAX_CHANNELS, MAX_GAIN_DB, MAX_LENGTH_S, MAX_RATE_HZ, MIN_RATE_HZ
from lake.tables import (
    Column,
    RowProblem,
    as_csv,
    count,
    in_order,
    instant,
    make_table,
    matching,
    name,
    number,
    parse_table,
    read_table,
    refuse,
    repeated,
    text,
    write_bytes,
    wrong_columns,
)

PROBLEMS: Mapping[str, str] = {
    "all_zero": "every sample looked at is zero; used, and marked",
    "beyond_scale": "floating-point samples, most of them beyond 1,000 times full scale: not used",
    "channels_out_of_range": "more than 128 channels: not used",
    "clock_reset": "the start cannot be right: before 2001, in the future, or years from the recorder's others",
    "constant": "every sample looked at has one value; used, and marked",
    "crashed": "the decoder died of it: not used",
    "date_out_of_range": "a start before 1900 or after 2199, and no other: not placed in time",
    "duplicate": "the same bytes as a recording before it: not used",
    "empty": "a file of 0 bytes: not used",
    "full_scale": "samples at full scale (32767/32768), several in a row; used",
    "gain_out_of_range": "a gain beyond 200 dB: not used",
    "header_size": "the header's size is missing or wrong; all samples that are there are used",
    "length_out_of_range": "longer than 366 days: not used",
    "local_time_repeated": "the local time happens twice when clocks go back; the first is taken",
    "local_time_skipped": "clocks jump over this local time; the recorder's clock is taken as not switched",
    "name_not_utf8": "the name is no text: not used; rename the file",
    "near_silent": "no sample above -80 dBFS: a dead microphone; used, and marked",
    "no_samples": "a header, and no sample that decodes: not used",
    "no_time": "no time in the name, the header or the card's log",
    "not_a_file": "a folder, pipe or device: not used",
    "not_a_number": "floating-point samples that are no numbers, or beyond 1,000 times full scale; read as zero",
    "not_listable": "something that a table cannot hold: not used",
    "outside_deployment": "its recorder has deployments, and it started in none of them",
    "overlap": "starts before an earlier recording ends; the one that started first owns the shared seconds",
    "partly_unreadable": "samples in its midst do not decode; what does is used",
    "serial_conflict": "the name has another serial than the header, which is believed",
    "rate_conflict": "GUANO's TE or Samplerate and the file's rate do not agree; the file's rate is used",
    "rate_out_of_range": "a rate below 10 Hz or above 4 MHz: not used",
    "same_sound": "the same sound as a recording of another format, sample by sample: not used",
    "start_disputed": "the same bytes stand under two starts; the first by path is used",
    "time_expanded": "played slower than it was recorded (GUANO's TE); the true rate is used",
    "timeout": "took too long to examine: not used",
    "truncated": "fewer samples than the header promises; what decodes is used",
    "unreadable": "no decoder reads it, or no permission: not used",
    "zero_blocks": "stretches of zeros between sound; used",
    "zone_unknown": "a local time, and no zone to place it",
    "FL001": (
        "Frontier Labs: a header that was put down before the recording stopped, or pieces of one, in at most 1 KiB: "
        "not used"
    ),
    "FL002": "Frontier Labs: empty blocks of audio data; used",
    "FL003": "Frontier Labs: 44 bytes are promised and zeros end the file; set aside until the header is repaired",
    "FL004": "Frontier Labs: square brackets in the name, which shells take for patterns; used",
    "FL005": "Frontier Labs: the size counts the header itself; length corrected",
    "FL006": "Frontier Labs: a schedule name of random characters; used",
    "FL007": "Frontier Labs: the card's serial could not be read, so the name has a wrong one; it is not believed",
    "FL008": "Frontier Labs: a space for a zero in the date; read as the zero",
    "FL010": "Frontier Labs: the header promises twice the samples; length corrected",
    "FL011": "Frontier Labs: was being written when it stopped; read as far as it is whole",
    "FL012": "Frontier Labs: a data size of zero; length corrected",
    "OA001": "AudioMoth: clicks go through the sound; used",
    "OA002": "AudioMoth: a small or empty file: not used",
    "OA003": "AudioMoth: a hexadecimal name; read as seconds since 1970",
    "OE001": "no date in the name",
    "OE002": "a date in the name that the zone is missing from",
    "OE003": "digits in the name where a date should be, and no such date",
    "OE004": "an empty file: not used",
    "OE005": "all bytes are zero: not used",
    "WA001": "Wildlife Acoustics: an empty file: not used",
    "WA002": "Wildlife Acoustics: all bytes are zero: not used",
    "WA003": "Wildlife Acoustics: runs into the next file because the clock drifts; see overlap",
    "WA004": "Wildlife Acoustics: no header, and bytes like noise: not used",
}
"""Meaning of each code in the column ``problems``, and what was done. Codes of two letters and a number are those of
https://github.com/ecoacoustics/known-problems. A code that is also in :data:`lake.constants.QUALITY` means the same."""


def _relative_path(cell: str) -> str:
    problem = outward(cell)
    if problem:
        raise ValueError(f"a path below the recordings' root, with forward slashes ({problem})")
    if max(len(os.fsencode(part)) for part in cell.split("/")) > _MAX_NAME_BYTES:
        raise ValueError(f"a path whose parts have at most {_MAX_NAME_BYTES} bytes each")
    return cell


_MAX_NAME_BYTES = 255
_DATE = r"\d{4}-\d\d-\d\d"
_CLOCK = r"\d\d:\d\d:\d\d(\.\d{1,3})?"
_OFFSET = r"[+-]\d\d:\d\d"

_RECORDINGS: Mapping[str, Column] = {
    "path": Column(_relative_path),
    "recorder": Column(name),
    "deployment": Column(text),
    "start_utc": Column(
        instant(rf"{_DATE}T{_CLOCK}(Z|{_OFFSET})", "a time such as 2021-06-22T05:00:00Z"), "datetime64[ms]"
    ),
    "start_local": Column(instant(rf"{_DATE}T{_CLOCK}", "a time such as 2021-06-22T00:00:00"), "datetime64[ms]"),
    "utc_offset": Column(matching(r"[+-](0\d|1[0-4]):[0-5]\d", "an offset such as -05:00")),
    "time_source": Column(text),
    "time_conflict": Column(text),
    "duration_s": Column(number(0), "float64"),
    "sample_rate_hz": Column(count(1), "Int64"),
    "n_channels": Column(count(1), "Int64"),
    "n_samples": Column(count(0), "Int64"),
    "format": Column(text),
    "sha256": Column(matching("[0-9a-f]{64}", "64 hexadecimal digits")),
    "reading": Column(matching("libsndfile|pyav", "libsndfile, pyav or nothing")),
    "problems": Column(matching("[A-Za-z0-9_]+(;[A-Za-z0-9_]+)*", "codes joined by ;")),
    "gain_db": Column(number(), "float64"),
    "latitude": Column(number(-90, 90), "float64"),
    "longitude": Column(number(-180, 180), "float64"),
}
COLUMNS = tuple(_RECORDINGS)
"""Columns of a table of recordings, in order."""


def read_recordings(source: str | Path, *, in_bounds: bool = False) -> pd.DataFrame:
    """Read a table of recordings and check every cell.

    Parameters
    ----------
    source
        Path or fsspec URL of a CSV file with exactly the columns :data:`COLUMNS`.
    in_bounds
        Refuse also what no recording can be: see :mod:`lake.limits`.

    Returns
    -------
    pandas.DataFrame
        One row a recording, in the file's order. ``start_utc`` is datetime64[ms] in UTC and ``start_local``
        datetime64[ms] as the recorder's clock read, NaT while unknown; counts are ``Int64`` with NA, other
        numbers float64 with NaN; text is empty where unknown.

    Raises
    ------
    InputError
        If the file is missing or no such table; the message lists all problems with their rows (the
        header is row 1).

    Examples
    --------
    >>> import dawnchorus
    >>> recordings = dawnchorus.read_recordings("data/demo/recordings.csv")
    >>> "00004862" in set(recordings["recorder"])
    True
    >>> recordings.loc[recordings["problems"] == "empty;OA002", "n_samples"].tolist()
    [<NA>]
    """
    table, problems = read_table(
        source, _RECORDINGS, what="recordings", remedy="`dawnchorus catalog AUDIO --out recordings.csv` makes one"
    )
    wrong_rows = {row for row, _ in problems}
    problems += _impossible(table) if in_bounds else []
    problems += repeated(table, "path") + [
        (row, problem) for row, problem in _contradictions(table) if row not in wrong_rows
    ]
    refuse(source, "recordings", in_order(problems))
    return table.reset_index(drop=True)


def make_recordings(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return a table of recordings from values by column, sorted by path; what a row lacks is missing.

    Times are naive ``datetime``, in UTC or as the recorder's clock read.
    """
    unknown = [key for row in rows for key in row if key not in _RECORDINGS]
    if unknown:
        raise ValueError(f"no columns of a table of recordings: {unknown}")
    return make_table(rows, _RECORDINGS).sort_values("path", kind="stable", ignore_index=True)


def write_recordings(table: pd.DataFrame, target: str | Path) -> None:
    """Write a table of recordings, sorted by path: the old file or the new one stands, never a part.

    Parameters
    ----------
    table
        As :func:`read_recordings` returns it, in any order of rows and columns.
    target
        Path or fsspec URL.

    Raises
    ------
    InputError
        As :func:`recordings_csv`.
    TryAgainError
        If the disk is full.
    """
    write_bytes(target, recordings_csv(table, target))


def recordings_csv(table: pd.DataFrame, target: str | Path) -> bytes:
    """Return a table of recordings as CSV, sorted by path; ``target`` is for messages.

    Raises
    ------
    InputError
        If the columns are not :data:`COLUMNS`, or a path is there twice.
    """
    refuse(target, "recordings", wrong_columns(table.columns, _RECORDINGS))
    ordered = table.sort_values("path", kind="stable", ignore_index=True)
    refuse(target, "recordings", in_order(repeated(ordered.set_axis(ordered.index + 2), "path")))
    return as_csv(ordered, _RECORDINGS)


def unwritable_rows(table: pd.DataFrame) -> dict[int, str]:
    """Return what :func:`read_recordings` would refuse of a table once it is written, by the row's place from 0."""
    found = parse_table(as_csv(table, _RECORDINGS).decode(), _RECORDINGS, source="", what="recordings")
    problems: dict[int, str] = {}
    for row, problem in [*found[1], *_contradictions(found[0]), *_impossible(found[0])]:
        problems.setdefault(row - 2, problem)
    return problems


def is_usable(table: pd.DataFrame) -> "pd.Series[bool]":
    """Return which recordings have samples to use: read by a decoder, not empty, and there for the first time.

    A time is not asked for; recordings without one may still be placed in sequence.
    """
    has_samples = (table["reading"] != "") & (table["n_samples"].fillna(0) > 0)
    is_copy = has_problem(table, COPIES[0]) | has_problem(table, COPIES[1])
    return (has_samples & ~is_copy).astype(bool)


def has_problem(table: pd.DataFrame, code: str) -> "pd.Series[bool]":
    """Return which rows have a code of :data:`PROBLEMS` among theirs."""
    return (";" + table["problems"] + ";").str.contains(f";{code};", regex=False).astype(bool)


def _impossible(table: pd.DataFrame) -> list[RowProblem]:
    """Return which cells are beyond the bounds of what a recording can be (:mod:`lake.limits`)."""
    bounds: Mapping[str, tuple[Any, Any]] = {
        "start_utc": (EARLIEST, LATEST),
        "sample_rate_hz": (MIN_RATE_HZ, MAX_RATE_HZ),
        "n_channels": (1, MAX_CHANNELS),
        "duration_s": (0, MAX_LENGTH_S),
        "gain_db": (-MAX_GAIN_DB, MAX_GAIN_DB),
    }
    problems: list[RowProblem] = []
    for key, (low, high) in bounds.items():
        is_wrong = (table[key].notna() & ~table[key].between(low, high)).fillna(value=False).astype(bool)
        problems += [
            (row, f"{key} should be from {low} to {high}, found {table.loc[row, key]}") for row in table.index[is_wrong]
        ]
    length_s = table["n_samples"].astype("float64") / table["sample_rate_hz"].astype("float64")
    most = f"n_samples should be at most {MAX_LENGTH_S // S_PER_DAY} days of sound"
    return problems + [
        (row, f"{most}, found {table.loc[row, 'n_samples']}") for row in table.index[length_s > MAX_LENGTH_S]
    ]


def _contradictions(table: pd.DataFrame) -> list[RowProblem]:
    """Return which cells of a row cannot both be right."""
    problems: list[RowProblem] = []
    is_read = table["reading"] != ""
    for key in ("sha256", "duration_s", "sample_rate_hz", "n_channels", "n_samples"):
        is_gone = table[key] == "" if key == "sha256" else table[key].isna()
        problems += [(row, f"{key} is empty, though reading is not") for row in table.index[is_read & is_gone]]
    offset = pd.to_timedelta(table["utc_offset"].where(table["utc_offset"] != "") + ":00")
    shift = table["start_local"] - table["start_utc"]
    is_wrong = shift.notna() & offset.notna() & (shift != offset)
    return problems + [(row, "start_utc, start_local and utc_offset do not agree") for row in table.index[is_wrong]]
