"""Vectors as any of the programs wrote them that are known here."""

from pathlib import Path

import numpy as np

from jobs.imports.bacpipe import is_bacpipe, read_bacpipe
from jobs.imports.birdnet import is_birdnet, read_birdnet
from jobs.imports.config import Config
from jobs.imports.hoplite import is_hoplite, read_hoplite
from jobs.imports.source import Source
from jobs.imports.table import read_table
from lake.errors import InputError

READERS = ((is_hoplite, read_hoplite), (is_bacpipe, read_bacpipe), (is_birdnet, read_birdnet))
KNOWN = (
    "a folder of perch-hoplite or of BirdNET-Analyzer 2 (hoplite.sqlite and usearch.index), bacpipe's folder of one "
    "model (metadata.yml and .npy files), BirdNET-Analyzer's text files (*.birdnet.embeddings.txt) or CSV "
    "(file_path, start, end, embedding), or an array (.npy) with table = a CSV of its recordings and seconds"
)
LENGTH_TOLERANCE_S = 0.02
MOST_NAMED = 4


def read_source(vectors: Path, table: Path | None, config: Config) -> Source:
    """Read vectors, and refuse those of another length than the settings say.

    Parameters
    ----------
    vectors
        A file or a folder.
    table
        Recordings and seconds of an array's rows; ``None`` where the program wrote both together.
    config
        Settings of the run.

    Raises
    ------
    InputError
        If nothing of the kind is there, it cannot be read, or the vectors are of another length.
    """
    if table is not None and any(is_one(vectors) for is_one, _ in READERS):
        raise InputError(f"{vectors}: names its recordings and seconds itself. Take table out of files.")
    found = read_table(table, vectors, config) if table is not None else _read_known(vectors)
    _require_length(found, config)
    return found


def _read_known(path: Path) -> Source:
    if not path.exists():
        raise InputError(f"{path}: expected vectors, found nothing: {KNOWN}.")
    for is_one, read in READERS:
        if is_one(path):
            return read(path)
    if path.suffix == ".npy":
        raise InputError(f"{path}: an array needs table = a CSV of the recording and second of each row, in files.")
    raise InputError(f"{path}: expected {KNOWN}; found {_told(path)}.")


def _told(path: Path) -> str:
    """Return what a path is, in words."""
    if not path.is_dir():
        return "a file of another kind"
    names = sorted(child.name + "/" * child.is_dir() for child in path.iterdir())
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    inner = [
        child.name for child in sorted(path.iterdir()) if child.is_dir() and any(is_one(child) for is_one, _ in READERS)
    ]
    if inner:
        return f"a folder of such folders ({', '.join(inner[:MOST_NAMED])}): name one of them"
    return f"a folder with {', '.join(names[:MOST_NAMED]) or 'nothing'}{more}"


def _require_length(source: Source, config: Config) -> None:
    """Refuse vectors that are longer than the settings say, or all shorter; recordings may end within the last one."""
    if source.length_s is None:
        return
    longest_s = float(np.max(source.length_s))
    if abs(longest_s - config.window_s) <= LENGTH_TOLERANCE_S:
        return
    raise InputError(
        f"{source.path}: its vectors are of {longest_s:g} s of sound each, and window_s is {config.window_s:g}. Write "
        f"window_s = {longest_s:.6g} and hop_s = {_hop_s(source) or longest_s:.6g} in the config of the run."
    )


def _hop_s(source: Source) -> float:
    """Return the usual distance of two vectors of a recording in seconds; 0 if there are no two."""
    names = np.unique(np.asarray(source.recordings), return_inverse=True)[1]
    order = np.lexsort((source.start_s, names))
    steps = np.diff(source.start_s[order])[np.diff(names[order]) == 0]
    steps = np.round(steps[steps > 0], 3)
    values, counts = np.unique(steps, return_counts=True)
    return float(values[counts.argmax()]) if len(values) else 0.0
