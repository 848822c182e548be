"""Folders of vectors that bacpipe made: ``metadata.yml``, and a ``.npy`` file for each recording."""

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from jobs.common.run import listed
from jobs.imports.source import Part, Source, files_below, joined, load_array
from lake.errors import InputError

METADATA = "metadata.yml"


def is_bacpipe(path: Path) -> bool:
    """Return whether a path is such a folder."""
    return path.is_dir() and (path / METADATA).is_file()


def read_bacpipe(path: Path) -> Source:
    """Read a folder of one model's vectors.

    Raises
    ------
    InputError
        If the metadata lack what is needed, a path in them leads out of the folder, or the vectors of a recording do
        not follow each other from its start to its end.
    """
    metadata = _metadata(path / METADATA)
    model = str(metadata["model_name"])
    window_s = float(metadata["segment_length (samples)"]) / float(metadata["sample_rate (Hz)"])
    files = metadata["files"]
    names = [str(name).replace("\\", "/") for name in files["audio_files"]]
    lengths = files.get("file_lengths (s)") or [math.nan] * len(names)
    if len(lengths) != len(names) or not all(isinstance(one, int | float) for one in lengths):
        raise InputError(
            f"{path / METADATA}: expected file_lengths (s), a number for each of {len(names)} audio_files."
        )
    known = {file.relative_to(path).as_posix(): file for file in files_below(path, "*.npy")}
    parts, problems, missing = [], [], []
    for name, length_s in zip(names, lengths, strict=True):
        array = _array_name(name, model, path)
        if array not in known:
            missing.append(name)
            continue
        part = _part(name, known.pop(array), window_s)
        if abs(len(part.vectors) * window_s - float(length_s)) >= window_s:
            problems.append(f"  {name}: {len(part.vectors)} vectors of {window_s:g} s, {float(length_s):g} s of sound")
        parts.append(part)
    if problems:
        raise InputError(
            f"{path}: the vectors of {len(problems)} recordings do not cover them from start to end, so nobody can say "
            f"which seconds they are of (bacpipe's only_embed_annotations makes such):\n{listed(problems)}"
        )
    notes = [f"{len(missing)} recordings of {METADATA} have no vectors: {', '.join(missing[:3])}."] if missing else []
    if known:
        notes.append(f"{len(known)} .npy files are of no recording of {METADATA}: {', '.join(sorted(known)[:3])}.")
    return joined(path, parts, notes)


def _metadata(path: Path) -> Mapping[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            found = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected bacpipe's metadata: {' '.join(str(error).split())}.") from error
    needed = ("model_name", "segment_length (samples)", "sample_rate (Hz)", "files")
    lacking = [key for key in needed if not isinstance(found, Mapping) or found.get(key) is None]
    if not lacking and not isinstance(found["files"], Mapping):
        lacking = ["files"]
    if not lacking and not isinstance(found["files"].get("audio_files"), list):
        lacking = ["files: audio_files"]
    if not lacking:
        lacking = [key for key in needed[1:3] if not isinstance(found[key], int | float) or not found[key] > 0]
    if lacking:
        raise InputError(
            f"{path}: expected bacpipe's metadata of a folder of embeddings, with {', '.join(lacking)}. If bacpipe was "
            "stopped, run it again: it goes on."
        )
    return dict(found)


def _array_name(recording: str, model: str, folder: Path) -> str:
    """Return the file of a recording's vectors, below the folder."""
    path = PurePosixPath(recording)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(
            f"{folder / METADATA}: {recording!r} leads out of the folder. Recordings are named from audio_dir on."
        )
    return str(path.parent / f"{path.stem}_{model}.npy")


def _part(recording: str, file: Path, window_s: float) -> Part:
    array = np.atleast_2d(load_array(file))
    if array.ndim != 2 or array.dtype.kind != "f":
        raise InputError(f"{file}: expected vectors (n, n_features), found {array.dtype} of shape {array.shape}.")
    n = len(array)
    start_s = np.arange(n, dtype=np.float64) * window_s
    length_s = np.full(n, window_s, dtype=np.float64)
    return Part(recording, start_s, length_s, np.asarray(array), lambda i: f"vector {i} of {file.name}")
