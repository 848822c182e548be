"""Small tables as people and programs save them: any usual separator, encoding and decimal mark; row by row."""

import codecs
import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CODE_PAGE = "cp1252"
"""A text that is neither UTF-8 nor UTF-16 is read in the code page of Windows in western Europe and the Americas."""
SEPARATORS = ("\t", ";", ",")
MAX_CELL_LETTERS = 131_072
"""Of a cell; an unclosed quotation mark would take the rest of a file into one."""
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True)
class Sheet:
    """A table with a header.

    Attributes
    ----------
    header
        Names of the columns, as written, without blanks around them.
    rows
        The number of each row as a spreadsheet shows it (the header is row 1) and its cells by column; rows without
        any text are left out. A row that is shorter than the header has empty cells.
    """

    header: Sequence[str]
    rows: Sequence[tuple[int, Mapping[str, str]]]


def read_sheet(text: str, *, quotes: bool = True) -> Sheet:
    """Read a table.

    Parameters
    ----------
    text
        The table. Its separator is the one of tab, semicolon and comma that the first line has most of.
    quotes
        Whether cells may be quoted; programs that separate by tabs do not.

    Raises
    ------
    ValueError
        If a row has text beyond the last column, or a column is there twice.
    """
    lines_of = io.StringIO(text, newline="")
    if quotes:
        reader = csv.reader(lines_of, delimiter=separator_of(text))
    else:
        reader = csv.reader(lines_of, delimiter=separator_of(text), quoting=csv.QUOTE_NONE)
    before = csv.field_size_limit(MAX_CELL_LETTERS)  # of the whole process: other libraries raise it
    try:
        lines = [[cell.strip() for cell in line] for line in reader]
    except csv.Error as error:
        raise ValueError(f"a row cannot be read ({error})") from error
    finally:
        csv.field_size_limit(before)
    header = _trimmed(lines[0]) if lines else []
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise ValueError(f"column {twice[0]} is there {header.count(twice[0])} times")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        cells = _trimmed(line)
        if len(cells) > len(header):
            raise ValueError(f"row {number}: expected {len(header)} cells, found {len(cells)}")
        if cells:
            rows.append((number, dict(zip(header, [*cells, *[""] * (len(header) - len(cells))], strict=True))))
    return Sheet(header, rows)


def decoded(data: bytes) -> tuple[str, str]:
    """Return the text of a file, without a byte order mark, and what to say if its encoding was guessed.

    Parameters
    ----------
    data
        UTF-8 or UTF-16 with or without a mark, or else text in :data:`CODE_PAGE`.

    Raises
    ------
    ValueError
        If the bytes are no text.
    """
    head = data[:256]
    encoding, note = "utf-8", ""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif head.count(0) > len(head) // 4:  # a letter of a western script has a zero byte in UTF-16
        encoding = "utf-16-le" if head[1::2].count(0) >= head[::2].count(0) else "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode(CODE_PAGE)
        note = f"not UTF-8; read as {CODE_PAGE} (Windows). Save it as UTF-8 if its letters look wrong"
    if "\0" in text:
        raise ValueError("bytes that are no text")
    return text.removeprefix("\ufeff"), note


def separator_of(text: str) -> str:
    """Return the separator that the first line of a table has most of; a comma if it has none."""
    first = re.sub(r'"[^"]*"', "", text.partition("\n")[0])
    return max(reversed(SEPARATORS), key=first.count)


def to_number(cell: str) -> float:
    """Return the number in a cell, with a decimal point or comma.

    Raises
    ------
    ValueError
        If the cell is no finite number.
    """
    try:
        value = float(cell.replace(",", ".")) if cell.isascii() and "_" not in cell else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"expected a number, found {cell!r}")
    return value


def to_seconds(cell: str) -> float:
    """Return the seconds in a cell: a number, or a duration such as ``0:01:02.5``.

    Raises
    ------
    ValueError
        If the cell is neither.
    """
    clock = _CLOCK.fullmatch(cell)
    if clock is None:
        return to_number(cell)
    return 3600 * int(clock[1] or 0) + 60 * int(clock[2]) + float(clock[3])


def _trimmed(cells: Sequence[str]) -> list[str]:
    """Return cells without the empty ones at the end."""
    n = len(cells)
    while n and not cells[n - 1]:
        n -= 1
    return list(cells[:n])
