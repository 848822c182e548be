"""Plain CSV tables with typed columns: every wrong cell is named when one is read, and bytes are alike when written.

Rows are numbered as a spreadsheet shows them: the header is row 1.
"""

import csv
import io
import math
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from lake.errors import InputError
from lake.escapes import as_written, cell_in_line, defused
from lake.limits import MAX_CELL_CHARACTERS
from lake.storage import Storage

UTC_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?"
UTC_TIME_HINT = "a time such as 2021-06-22T05:00:01.5Z (UTC when it has no offset)"
UTC_SUFFIXES = ("_utc", "_at")
"""Of columns whose times are UTC; they are written with a Z."""
_MAX_SHOWN = 200
_NEEDS_QUOTES = re.compile('[,"\r\n]')

RowProblem = tuple[int, str]
"""A row, and what is wrong in it."""


@dataclass(frozen=True)
class Column:
    """The type of a column's cells.

    Attributes
    ----------
    parse
        Turns a cell's text into its value; its ``ValueError`` says what was expected.
    dtype
        Of the column in the table: ``str``, ``float64``, ``Int64`` or ``datetime64[ms]``.
    is_optional
        Whether a table may lack the column; its cells are empty then.
    """

    parse: Callable[[str], object]
    dtype: str = "str"
    is_optional: bool = False

    @property
    def missing(self) -> object:
        """The value of an empty cell."""
        return {"str": "", "float64": math.nan}.get(self.dtype)


def text(cell: str) -> str:
    """Take any text."""
    return cell


def name(cell: str) -> str:
    """Take a text that is not empty."""
    if not cell.strip():
        raise ValueError("a name")
    return cell


def matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Return a parser of texts that match a pattern, or are empty."""
    compiled = re.compile(pattern)

    def parse(cell: str) -> str:
        if cell and not compiled.fullmatch(cell):
            raise ValueError(expected)
        return cell

    return parse


def number(low: float = -math.inf, high: float = math.inf) -> Callable[[str], float]:
    """Return a parser of finite numbers within bounds; an empty cell is NaN."""
    bounds = "" if math.isinf(low) else f" of at least {low:g}" if math.isinf(high) else f" from {low:g} to {high:g}"

    def parse(cell: str) -> float:
        try:
            value = float(cell or "nan")
        except ValueError:
            value = math.inf
        if math.isinf(value) or value < low or value > high or (cell and math.isnan(value)):
            raise ValueError(f"a number{bounds}")
        return value

    return parse


def count(low: int) -> Callable[[str], int | None]:
    """Return a parser of whole numbers of at least ``low``; an empty cell is missing."""

    def parse(cell: str) -> int | None:
        if cell and (not re.fullmatch(r"[0-9]{1,18}", cell) or int(cell) < low):
            raise ValueError(f"a whole number of at least {low}")
        return int(cell) if cell else None

    return parse


def instant(pattern: str, expected: str, *, is_required: bool = False) -> Callable[[str], datetime | None]:
    """Return a parser of ISO 8601 times of one form; an offset is applied, and the value is naive."""
    compiled = re.compile(pattern)

    def parse(cell: str) -> datetime | None:
        if not cell and not is_required:
            return None
        try:
            value = datetime.fromisoformat(cell) if compiled.fullmatch(cell) else None
            value = value.astimezone(UTC).replace(tzinfo=None) if value and value.tzinfo else value
        except (ValueError, OverflowError):
            value = None
        if value is None:
            raise ValueError(expected)
        return value

    return parse


def read_table(
    source: str | Path,
    columns: Mapping[str, Column],
    *,
    what: str,
    remedy: str,
    aliases: Mapping[str, str | None] = MappingProxyType({}),
) -> tuple[pd.DataFrame, list[RowProblem]]:
    """Read a table.

    Parameters
    ----------
    source
        Path or fsspec URL of a CSV file in UTF-8 with a header.
    columns
        The table's columns.
    what, remedy
        For messages: what the table holds, and what to do when it is not there.
    aliases
        Other names of columns, and with ``None`` the names of columns that are passed over.

    Returns
    -------
    tuple
        The table, with the wrong cells empty, and the problem of each wrong cell.

    Raises
    ------
    InputError
        If there is no file, or columns or cells are missing or too many: then no cell can be judged.
    """
    folder, key = _split(source)
    try:
        content = folder.read(key).decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{source}: expected a table of {what}, found no file; {remedy}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: expected CSV in UTF-8, found other bytes; save the table as UTF-8.") from error
    return parse_table(content, columns, source=source, what=what, aliases=aliases)


def parse_table(
    content: str,
    columns: Mapping[str, Column],
    *,
    source: str | Path,
    what: str,
    aliases: Mapping[str, str | None] = MappingProxyType({}),
) -> tuple[pd.DataFrame, list[RowProblem]]:
    """Read a table from its text; see :func:`read_table`."""
    titles, *rows = _rows(source, what, content)
    header = [aliases.get(title, title) for title in titles]
    refuse(source, what, wrong_columns([title for title in header if title is not None], columns))
    numbered = [(i, row) for i, row in enumerate(rows, 2) if row]
    problems = [
        (i, f"expected {len(header)} cells, found {len(row)}") for i, row in numbered if len(row) != len(header)
    ]
    refuse(source, what, in_order(problems))
    values = {}
    for key, column in columns.items():
        at = header.index(key) if key in header else None
        cells = [(i, as_written(row[at]) if at is not None else "") for i, row in numbered]
        values[key] = _parse_cells(key, column, cells, problems)
    return pd.DataFrame(values).set_axis(pd.Index([i for i, _ in numbered], dtype=np.int64)), problems


def make_table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, Column]) -> pd.DataFrame:
    """Return a table with the columns' types from rows of values; what a row lacks, or is ``None``, is missing."""
    values = {}
    for key, column in columns.items():
        missing = column.missing
        cells = (row.get(key) for row in rows)
        values[key] = _series([missing if cell is None else cell for cell in cells], column)
    return pd.DataFrame(values)


def as_csv(table: pd.DataFrame, columns: Mapping[str, Column]) -> bytes:
    """Return columns of a table, with their types, as CSV.

    Times are written in ISO 8601 with milliseconds only where they are not zero, numbers in the shortest
    form that reads back as the same number, and what is missing as an empty cell. Text that a spreadsheet would run
    has an apostrophe in front (:func:`lake.escapes.defused`), which :func:`read_table` takes off.
    """
    typed = table.astype({key: column.dtype for key, column in columns.items()})
    texts = [map(_quoted, _cells(typed[key], suffix="Z" if key.endswith(UTC_SUFFIXES) else "")) for key in columns]
    lines = [",".join(columns), *map(",".join, zip(*texts, strict=True))]
    return ("\n".join(lines) + "\n").encode()


def write_bytes(target: str | Path, data: bytes) -> None:
    """Write a file, in place of what stood there, whole or not at all.

    Raises
    ------
    TryAgainError
        If the disk is full; what stood there before still stands.
    """
    folder, key = _split(target)
    folder.write(key, data)


def defused_table(table: pd.DataFrame, *, one_line: bool = False) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet runs; with ``one_line`` no row has control characters either."""
    safe = cell_in_line if one_line else defused

    @cache
    def made_safe(cell: object) -> object:
        return safe(cell) if isinstance(cell, str) else cell

    texts = [name for name, column in table.items() if pd.api.types.is_string_dtype(column) or column.dtype == object]
    return table.assign(**{str(name): table[name].map(made_safe) for name in texts})


def wrong_columns(found: Iterable[str], columns: Mapping[str, Column]) -> list[str]:
    """Return what is wrong with a table's header."""
    header = list(found)
    problems = [
        f"column {key} is missing" for key, column in columns.items() if key not in header and not column.is_optional
    ]
    problems += [f"column {key!r} is unknown" for key in header if key not in columns]
    return problems + [f"column {key} is there {header.count(key)} times" for key in columns if header.count(key) > 1]


def repeated(table: pd.DataFrame, key: str) -> list[RowProblem]:
    """Return which rows repeat a value of a column that must be unique."""
    first: dict[str, object] = {}
    problems: list[RowProblem] = []
    for row, value in table[key].items():
        if value != "" and first.setdefault(value, row) != row:
            problems.append((int(str(row)), f"{key} {value} is in row {first[value]} already"))
    return problems


def in_order(problems: Iterable[RowProblem]) -> list[str]:
    """Return problems as text, by row."""
    return [f"row {row}: {problem}" for row, problem in sorted(problems, key=lambda problem: problem[0])]


def refuse(source: str | Path, what: str, problems: Sequence[str]) -> None:
    """Raise ``InputError`` with all problems, if there are any."""
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise InputError(f"{source} is not a table of {what}; fix these and try again:\n{listed}")


def _rows(source: str | Path, what: str, content: str) -> list[list[str]]:
    """Return the cells of a table, its header first; csv's own limit is lifted, longer cells are judged one by one."""
    before = csv.field_size_limit(max(len(content), 1))
    try:
        return list(csv.reader(io.StringIO(content, newline=""))) or [[]]
    except csv.Error as error:
        raise InputError(f"{source}: expected CSV with a table of {what}, found something else ({error}).") from error
    finally:
        csv.field_size_limit(before)


def _parse_cells(
    key: str, column: Column, cells: Sequence[tuple[int, str]], problems: list[RowProblem]
) -> "pd.Series[Any]":
    known: dict[str, object] = {}
    for row, cell in cells:
        if cell in known:
            continue
        try:
            known[cell] = _short_enough(column.parse(cell) if len(cell) <= MAX_CELL_CHARACTERS else cell)
        except ValueError as error:
            problems.append((row, f"{key} should be {error}, found {_shortened(cell)}"))
    missing = column.missing
    return _series([known.get(cell, missing) for _, cell in cells], column)


def _short_enough(value: object) -> object:
    if isinstance(value, str) and len(value) > MAX_CELL_CHARACTERS:
        raise ValueError(f"at most {MAX_CELL_CHARACTERS:,} characters")
    return value


def _shortened(cell: str) -> str:
    """Return a cell as a message shows it."""
    return repr(cell) if len(cell) <= _MAX_SHOWN else f"{cell[:_MAX_SHOWN]!r}… ({len(cell):,} characters)"


def _series(values: list[Any], column: Column) -> "pd.Series[Any]":
    """Return values as a column; numpy first, because pandas would guess another unit of time."""
    return pd.Series(np.array(values, dtype=column.dtype) if column.dtype[0] == "d" else values, dtype=column.dtype)


def _cells(values: "pd.Series[Any]", *, suffix: str) -> list[str]:
    """Return the texts of a column's values."""
    if values.dtype.kind == "M":
        texts = np.datetime_as_string(values.to_numpy().astype("datetime64[ms]"), unit="ms").tolist()
        return ["" if text == "NaT" else text.removesuffix(".000") + suffix for text in texts]
    as_text = repr if values.dtype.kind == "f" else _defused_text
    return ["" if gone else as_text(value) for value, gone in zip(values.tolist(), values.isna().tolist(), strict=True)]


def _defused_text(value: object) -> str:
    return defused(value) if isinstance(value, str) else str(value)


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _NEEDS_QUOTES.search(cell) else cell


def _split(location: str | Path) -> tuple[Storage, str]:
    """Return the folder of a path or URL, and the key below it."""
    folder, key = posixpath.split(str(location))
    return Storage(folder or "."), key
