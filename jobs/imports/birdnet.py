"""Vectors in BirdNET-Analyzer's text files.

Version 1 wrote a file for each recording, version 2.0 one for each window; later ones write CSV.
"""

import csv
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.imports.source import Part, Source, files_below, joined
from lake.errors import InputError

SUFFIX = ".birdnet.embeddings.txt"
COLUMNS = ["file_path", "start", "end", "embedding"]
_SECONDS = re.compile(r"(.+)_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?)")


def is_birdnet(path: Path) -> bool:
    """Return whether a file, or one below a folder, is named or headed as BirdNET-Analyzer does."""
    if path.is_dir():
        return next(path.rglob(f"*{SUFFIX}"), None) is not None
    return path.name.endswith(SUFFIX) or (path.suffix.lower() == ".csv" and _header(path) == COLUMNS)


def read_birdnet(path: Path) -> Source:
    """Read a folder of text files, one of them, or a CSV file.

    Raises
    ------
    InputError
        If a line cannot be read, or vectors differ in length.
    """
    if path.suffix.lower() == ".csv" and path.is_file():
        return joined(path, list(_rows(path)), [])
    root = path if path.is_dir() else path.parent
    files = files_below(path, f"*{SUFFIX}") if path.is_dir() else iter([path])
    return joined(path, [_part(file, root) for file in files], [])


def _part(file: Path, root: Path) -> Part:
    """Return the vectors of a text file: lines of start, end and vector, or one vector with its seconds in the name."""
    name = file.relative_to(root).as_posix().removesuffix(SUFFIX)
    text = file.read_text(encoding="utf-8", errors="replace")
    values = _numbers(text.replace("\t", ","), file)
    if "\t" in text:
        seconds, vectors = values[:, :2], values[:, 2:]
        recording = name
    elif (found := _SECONDS.fullmatch(name)) is not None and len(values) == 1:
        recording, seconds, vectors = found[1], np.array([[float(found[2]), float(found[3])]]), values
    else:
        raise InputError(
            f"{file}: expected lines of start, end and vector, separated by tabs, or one vector in a file whose name "
            f"ends in _start_end{SUFFIX}; found {len(values)} lines without a tab."
        )
    return Part(
        recording, seconds[:, 0], seconds[:, 1] - seconds[:, 0], vectors.astype(np.float32),
        lambda i: f"line {i + 1} of {file.name}",
    )  # fmt: skip


def _rows(path: Path) -> Iterator[Part]:
    """Yield the vectors of a CSV file, in rows of one recording."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if number == 1 or not row:
                continue
            if len(row) != len(COLUMNS):
                raise InputError(f"{path}, row {number}: expected {len(COLUMNS)} columns, found {len(row)}.")
            seconds = _numbers(",".join(row[1:3]), path, number)
            vector = _numbers(row[3], path, number)
            yield Part(
                row[0], seconds[:, 0], seconds[:, 1] - seconds[:, 0], vector.astype(np.float32),
                partial(_row, number),
            )  # fmt: skip


def _row(number: int, _i: int) -> str:
    return f"row {number}"


def _numbers(text: str, path: Path, row: int = 0) -> NDArray[Any]:
    """Return lines of numbers, separated by commas, as float64 of shape (n_lines, n_numbers)."""
    lines = text.splitlines()
    if not text.strip():
        raise InputError(f"{path}: expected numbers, found nothing.")
    try:
        return np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2, comments=None)
    except ValueError as error:
        at = f"{path}, row {row}" if row else f"{path}"
        raise InputError(f"{at}: expected seconds and vectors as numbers: {error}.") from error


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return [name.strip() for name in next(csv.reader([file.readline(1000)]), [])]
