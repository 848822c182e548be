"""Databases of perch-hoplite, which BirdNET-Analyzer 2 writes as well: recordings in SQLite, vectors in USearch.

Three layouts are read. Since version 1.0 the tables are ``windows``, ``recordings`` and ``deployments``, with the
seconds of a window as two little-endian float64. Version 0.1 had ``hoplite_embeddings`` and ``hoplite_sources``, with
one or two float32. Before that the vectors stood in ``hoplite_embeddings`` themselves, float16, as did the seconds.
"""

import json
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.common.installation import how_to_install
from jobs.common.run import listed
from jobs.imports.source import Floats, Source
from lake.errors import InputError

TABLES = "hoplite.sqlite"
INDEX = "usearch.index"
MAGIC = b"SQLite format 3\0"
MATRIX_HEADER_BYTES = 8
VECTORS_AT_ONCE = 65_536
FLOAT16_EXACT_S = 2048.0
"""Whole seconds beyond this one do not all exist as 16-bit floats."""

NEW = """
    SELECT windows.id, windows.offsets, recordings.filename, deployments.project
    FROM windows JOIN recordings ON windows.recording_id = recordings.id
    LEFT JOIN deployments ON recordings.deployment_id = deployments.id ORDER BY windows.id
"""
OLD = """
    SELECT embeddings.id, embeddings.offsets, sources.source, sources.dataset{more}
    FROM hoplite_embeddings AS embeddings JOIN hoplite_sources AS sources ON embeddings.source_idx = sources.id
    ORDER BY embeddings.id
"""


@dataclass(frozen=True)
class Rows:
    """The rows of a database: numbers of the windows, their seconds, recordings and data sets, and metadata.

    ``blobs`` are the vectors, where the database itself has them.
    """

    ids: list[int]
    seconds: list[Floats]
    recordings: list[str]
    datasets: list[str]
    metadata: Mapping[str, object]
    blobs: list[bytes] | None = None
    are_short: bool = False


def is_hoplite(path: Path) -> bool:
    """Return whether a folder or a file is such a database."""
    file = path / TABLES if path.is_dir() else path
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def read_hoplite(path: Path) -> Source:
    """Read a database: its folder, or the file of one from before version 0.1.

    Raises
    ------
    InputError
        If it is damaged or has other tables, a window's seconds cannot be read, its vectors are elsewhere, or the
        package for them is missing.
    """
    file = path / TABLES if path.is_dir() else path
    try:
        with _opened(file) as database:
            rows = _rows_of(database, file)
    except sqlite3.Error as error:
        raise InputError(f"{file}: expected a database of perch-hoplite, which SQLite cannot read: {error}.") from error
    if not rows.ids:
        raise InputError(f"{file}: expected windows with vectors, found none.")
    notes = _notes(rows, file)
    if rows.blobs is not None:
        vectors, has = _of_blobs(rows, file), np.ones(len(rows.ids), dtype=np.bool_)
    elif path.is_dir():
        vectors, has = _of_index(path / INDEX, np.array(rows.ids, dtype=np.uint64))
    else:
        raise InputError(
            f"{path}: its vectors are in {INDEX}, in the same folder. Name the folder: vectors = {str(path.parent)!r}."
        )
    kept = np.flatnonzero(has)
    if not len(kept):
        raise InputError(f"{path}: none of {len(rows.ids)} windows of {TABLES} has a vector in {INDEX}.")
    if len(kept) < len(rows.ids):
        notes.append(f"{len(rows.ids) - len(kept)} windows of {file.name} have no vector in {INDEX}.")
    names = _names(rows)
    start_s = np.array([rows.seconds[i][0] for i in kept])
    length_s = _lengths(rows, kept, start_s)
    return Source(
        path, [names[i] for i in kept], start_s, length_s, vectors, lambda i: f"window {rows.ids[kept[i]]}", notes
    )


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a database without writing anything beside it, with what its write-ahead log has not handed over yet."""
    log = file.with_name(f"{file.name}-wal")
    with TemporaryDirectory() as folder:
        if log.is_file() and log.stat().st_size:
            copy = Path(folder) / file.name
            shutil.copyfile(file, copy)
            shutil.copyfile(log, copy.with_name(log.name))
            uri = f"{copy.as_uri()}?mode=rw"
        else:
            uri = f"{file.resolve().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            yield database


def _rows_of(database: sqlite3.Connection, file: Path) -> Rows:
    tables = {str(name) for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if {"windows", "recordings", "deployments"} <= tables:
        found, value, is_blob, kind = database.execute(NEW).fetchall(), "value", False, "<f8"
    elif {"hoplite_embeddings", "hoplite_sources"} <= tables:
        columns = {row[1] for row in database.execute("PRAGMA table_info(hoplite_embeddings)")}
        is_blob = "embedding" in columns
        query = OLD.format(more=", embeddings.embedding" if is_blob else "")
        found, value, kind = database.execute(query).fetchall(), "data", "<f2" if is_blob else "<f4"
    else:
        raise InputError(
            f"{file}: expected the tables of perch-hoplite (windows and recordings, or hoplite_embeddings and "
            f"hoplite_sources), found {', '.join(sorted(tables)) or 'none'}."
        )
    metadata = {}
    if "hoplite_metadata" in tables:
        metadata = dict(database.execute(f"SELECT key, {value} FROM hoplite_metadata").fetchall())  # noqa: S608 (one of two literals)
    kinds = ["<f2" if kind == "<f4" and isinstance(row[1], bytes) and len(row[1]) == 2 else kind for row in found]
    seconds = [_floats(row[1], kind) for row, kind in zip(found, kinds, strict=True)]
    _refuse_unreadable(file, [(int(row[0]), one) for row, one in zip(found, seconds, strict=True)])
    return Rows(
        [int(row[0]) for row in found],
        [one for one in seconds if one is not None],
        [str(row[2]) for row in found],
        [str(row[3] or "") for row in found],
        {str(key): _parsed(text) for key, text in metadata.items()},
        [bytes(row[4]) for row in found] if is_blob else None,
        "<f2" in kinds,
    )


def _floats(value: object, kind: str) -> Floats | None:
    """Return one or two numbers of seconds, or ``None`` if a value is something else."""
    size = np.dtype(kind).itemsize
    if not isinstance(value, bytes) or len(value) not in {size, 2 * size}:
        return None
    found = np.frombuffer(value, dtype=kind).astype(np.float64)
    return found if np.isfinite(found).all() else None


def _refuse_unreadable(file: Path, seconds: Sequence[tuple[int, Floats | None]]) -> None:
    lines = [f"  window {number}" for number, one in seconds if one is None]
    if lines:
        raise InputError(
            f"{file}: {len(lines)} windows have no start that can be read (one or two numbers of seconds):\n"
            f"{listed(lines)}"
        )


def _parsed(text: object) -> object:
    try:
        return json.loads(str(text))
    except ValueError:
        return None


def _within(metadata: Mapping[str, object], *keys: str) -> object:
    """Return a value within nested metadata, or ``None``."""
    value: object = metadata
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _notes(rows: Rows, file: Path) -> list[str]:
    notes = []
    if rows.are_short and max(one[0] for one in rows.seconds) > FLOAT16_EXACT_S:
        notes.append(
            f"{file.name} keeps starts as 16-bit floats, which round beyond {FLOAT16_EXACT_S:g} s: windows late in "
            "long recordings may stand a second or more beside their sound."
        )
    speed = _within(rows.metadata, "birdnet_analyzer_settings", "AUDIO_SPEED")
    if isinstance(speed, int | float) and speed != 1:
        notes.append(f"{file.name} was made at {speed:g} times the speed: its seconds may not be the recordings'.")
    return notes


def _names(rows: Rows) -> list[str]:
    """Return the recording of each window; with the folder of its data set where two have recordings of one name."""
    roots = {"birdnet_analyzer_dataset": _within(rows.metadata, "birdnet_analyzer_settings", "AUDIO_ROOT")}
    globs = _within(rows.metadata, "audio_sources", "audio_globs")
    for one in globs if isinstance(globs, list) else []:
        if isinstance(one, Mapping):
            roots[str(one.get("dataset_name"))] = one.get("base_path")
    datasets = defaultdict(set)
    for recording, dataset in zip(rows.recordings, rows.datasets, strict=True):
        datasets[recording].add(dataset)
    return [
        recording if len(datasets[recording]) == 1 else f"{roots.get(dataset) or dataset}/{recording}"
        for recording, dataset in zip(rows.recordings, rows.datasets, strict=True)
    ]


def _lengths(rows: Rows, kept: NDArray[np.int64], start_s: Floats) -> Floats | None:
    """Return the seconds of each window: between its two numbers, or of the model; ``None`` if neither is there."""
    if all(len(rows.seconds[i]) == 2 for i in kept):
        return np.array([rows.seconds[i][1] for i in kept]) - start_s
    window_s = _within(rows.metadata, "model_config", "model_config", "window_size_s")
    return np.full(len(kept), float(window_s)) if isinstance(window_s, int | float) else None


def _of_blobs(rows: Rows, file: Path) -> NDArray[Any]:
    sizes = {len(blob) for blob in rows.blobs or []}
    if len(sizes) != 1 or (size := sizes.pop()) % 2 or not size:
        raise InputError(f"{file}: expected vectors of one length, 16-bit floats, found {sorted(sizes)} bytes.")
    n_features = _within(rows.metadata, "model_config", "embedding_dim")
    kind = "<f4" if n_features == size // 4 else "<f2"
    return np.frombuffer(b"".join(rows.blobs or []), dtype=kind).reshape(len(rows.ids), -1)


def _of_index(path: Path, ids: NDArray[np.uint64]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the vectors of windows in a USearch index, and which windows have one, shape (n_windows,)."""
    try:
        from usearch.index import Index  # noqa: PLC0415 (only such databases need it)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path}: reading it needs the package {error.name!r}, which is not installed here. Type "
            f"`{how_to_install('hoplite')}`."
        ) from error
    if not path.is_file():
        raise InputError(f"{path}: expected the vectors of {TABLES}, found no file. Copy both files of the database.")
    try:
        about = Index.metadata(str(path)) or {}
        _require_whole(path, about)
        index = Index.restore(str(path), view=True)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path}: expected an index of USearch: {error}. Copy it again.") from error
    if index is None:
        raise InputError(f"{path}: expected an index of USearch, found another file.")
    has = np.asarray(index.contains(ids), dtype=np.bool_)
    kind = "f16" if about["kind_scalar"].name == "F16" else "f32"
    out = np.empty((int(has.sum()), int(about["dimensions"])), dtype=np.float16 if kind == "f16" else np.float32)
    known = ids[has]
    for first in range(0, len(known), VECTORS_AT_ONCE):
        some = known[first : first + VECTORS_AT_ONCE]
        out[first : first + len(some)] = index.get(some, dtype=kind)
    return out, has


def _require_whole(path: Path, about: Mapping[str, Any]) -> None:
    """Refuse an index whose header and matrix do not fit each other; USearch itself would end the process."""
    if not about:
        raise ValueError("it has no header")
    n_rows, row_bytes = np.fromfile(path, dtype="<u4", count=2).tolist()
    counted = int(about["count_present"]) + int(about["count_deleted"])
    bits = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I8": 8, "U8": 8, "B1": 1}
    size = -(-int(about["dimensions"]) * bits.get(about["kind_scalar"].name, 0) // 8)
    is_whole = about["matrix_included"] and not about["matrix_uses_64_bit_dimensions"]
    if not is_whole or (n_rows, row_bytes) != (counted, size) or n_rows * row_bytes > path.stat().st_size:
        raise ValueError(f"it has {n_rows} rows of {row_bytes} bytes for {counted} vectors of {size} bytes")
