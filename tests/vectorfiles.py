"""Files of vectors as other programs write them."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from usearch.index import Index

Windows = Sequence[tuple[str, float, float]]
"""Recording, start and end of each vector."""


def hoplite(
    folder: Path, windows: Windows, vectors: NDArray[np.floating], *,
    metadata: Mapping[str, object] | None = None, projects: Sequence[str] = (), without: Sequence[int] = (),
) -> Path:  # fmt: skip
    """Write a database as perch-hoplite 1.0 does; windows of the numbers ``without`` have no vector."""
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "hoplite.sqlite")) as database:
        database.executescript("""
            CREATE TABLE hoplite_metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL);
            CREATE TABLE deployments (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, project TEXT NOT NULL,
                latitude REAL, longitude REAL, UNIQUE (name, project));
            CREATE TABLE recordings (id INTEGER PRIMARY KEY AUTOINCREMENT, filename TEXT NOT NULL, datetime TEXT,
                deployment_id INTEGER REFERENCES deployments(id), UNIQUE (filename, deployment_id));
            CREATE TABLE windows (id INTEGER PRIMARY KEY AUTOINCREMENT, recording_id INTEGER NOT NULL,
                offsets FLOAT_LIST NOT NULL, UNIQUE (id, recording_id, offsets));
        """)
        kept = {key: json.dumps(value) for key, value in (metadata or {}).items()}
        database.executemany("INSERT INTO hoplite_metadata VALUES (?, ?)", kept.items())
        keys = list(zip([window[0] for window in windows], projects or ["set"] * len(windows), strict=True))
        number = {key: i for i, key in enumerate(dict.fromkeys(keys), start=1)}
        for (recording, project), i in number.items():
            database.execute("INSERT INTO deployments VALUES (?, ?, ?, NULL, NULL)", (i, f"d{i}", project))
            database.execute("INSERT INTO recordings VALUES (?, ?, NULL, ?)", (i, recording, i))
        for key, (_, start, end) in zip(keys, windows, strict=True):
            offsets = np.array([start, end], dtype="<f8").tobytes()
            database.execute("INSERT INTO windows (recording_id, offsets) VALUES (?, ?)", (number[key], offsets))
        database.commit()
    _index(folder / "usearch.index", vectors, without)
    return folder


def hoplite_0_1(folder: Path, windows: Windows, vectors: NDArray[np.floating], *, has_ends: bool = True) -> Path:
    """Write a database as perch-hoplite 0.1 does, with the end of each window or, as Perch, without."""
    folder.mkdir(parents=True)
    _embeddings(folder / "hoplite.sqlite", windows, None, "<f4", has_ends=has_ends)
    _index(folder / "usearch.index", vectors)
    return folder


def hoplite_blobs(file: Path, windows: Windows, vectors: NDArray[np.floating]) -> Path:
    """Write a database as before perch-hoplite 0.1, with vectors and starts as 16-bit floats in SQLite."""
    _embeddings(file, windows, vectors, "<f2", has_ends=False)
    return file


def birdnet_1(folder: Path, windows: Windows, vectors: NDArray[np.floating]) -> Path:
    """Write a text file for each recording, as BirdNET-Analyzer 1 does."""
    lines: dict[str, list[str]] = {}
    for (recording, start, end), vector in zip(windows, vectors, strict=True):
        numbers = ",".join(map(str, vector.tolist()))
        lines.setdefault(recording.rsplit(".", 1)[0], []).append(f"{start}\t{end}\t{numbers}\n")
    for name, rows in lines.items():
        file = folder / f"{name}.birdnet.embeddings.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(rows))
    return folder


def birdnet_2_0(folder: Path, windows: Windows, vectors: NDArray[np.floating]) -> Path:
    """Write a text file for each window, as BirdNET-Analyzer 2.0 does."""
    for (recording, start, end), vector in zip(windows, vectors, strict=True):
        file = folder / f"{recording.rsplit('.', 1)[0]}_{start}_{end}.birdnet.embeddings.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(",".join(map(str, vector.tolist())))
    return folder


def birdnet_csv(file: Path, windows: Windows, vectors: NDArray[np.floating]) -> Path:
    """Write the CSV file that BirdNET-Analyzer 2 writes beside its database."""
    rows = [
        f'{recording},{start},{end},"{",".join(map(str, vector.tolist()))}"\n'
        for (recording, start, end), vector in zip(windows, vectors, strict=True)
    ]
    file.write_text("".join(["file_path,start,end,embedding\n", *rows]))
    return file


def bacpipe(
    folder: Path, windows: Windows, vectors: NDArray[np.floating], *, model: str = "birdnet", rate_hz: int = 48_000
) -> Path:
    """Write a folder of one model's vectors, as bacpipe does."""
    window_s = max(end - start for _, start, end in windows)
    names = list(dict.fromkeys(recording for recording, _, _ in windows))
    rows = {name: [i for i, window in enumerate(windows) if window[0] == name] for name in names}
    for name in names:
        file = folder / f"{name.rsplit('.', 1)[0]}_{model}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, vectors[rows[name]])
    files = {
        "audio_files": names,
        "file_lengths (s)": [max(windows[i][2] for i in rows[name]) for name in names],
        "nr_embeds_per_file": [len(rows[name]) for name in names],
    }
    about = {
        "model_name": model, "audio_dir": "/somewhere/audio", "embed_dir": str(folder), "files": files,
        "segment_length (samples)": round(window_s * rate_hz), "sample_rate (Hz)": rate_hz,
        "embedding_size": int(vectors.shape[1]),
    }  # fmt: skip
    (folder / "metadata.yml").write_text(yaml.safe_dump(about))
    return folder


def _embeddings(
    file: Path, windows: Windows, vectors: NDArray[np.floating] | None, kind: str, *, has_ends: bool
) -> None:
    with closing(sqlite3.connect(file)) as database:
        blob = "embedding BLOB NOT NULL, " if vectors is not None else ""
        database.executescript(f"""
            CREATE TABLE hoplite_sources (id INTEGER PRIMARY KEY AUTOINCREMENT, dataset STRING NOT NULL,
                source STRING NOT NULL);
            CREATE TABLE hoplite_embeddings (id INTEGER PRIMARY KEY AUTOINCREMENT, {blob}source_idx INTEGER NOT NULL,
                offsets BLOB NOT NULL);
            CREATE TABLE hoplite_metadata (key STRING PRIMARY KEY, data STRING NOT NULL);
        """)
        number = {name: i for i, name in enumerate(dict.fromkeys(window[0] for window in windows), start=1)}
        database.executemany("INSERT INTO hoplite_sources VALUES (?, 'set', ?)", [(i, n) for n, i in number.items()])
        for i, (recording, start, end) in enumerate(windows):
            offsets = np.array([start, end][: 1 + has_ends], dtype=kind).tobytes()
            values: tuple[object, ...] = (number[recording], offsets)
            if vectors is not None:
                values = (vectors[i].astype("<f2").tobytes(), *values)
            columns = "embedding, source_idx, offsets" if vectors is not None else "source_idx, offsets"
            marks = ", ".join("?" * len(values))
            database.execute(f"INSERT INTO hoplite_embeddings ({columns}) VALUES ({marks})", values)  # noqa: S608
        database.commit()


def _index(file: Path, vectors: NDArray[np.floating], without: Sequence[int] = ()) -> None:
    """Write vectors of windows 1, 2, … as perch-hoplite keeps them: 16-bit floats, inner product."""
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16")
    keys = np.array([i for i in range(1, len(vectors) + 1) if i not in without], dtype=np.uint64)
    index.add(keys, vectors[keys.astype(np.int64) - 1].astype(np.float16))
    index.save(str(file))
