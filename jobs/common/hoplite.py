"""A database of perch-hoplite 1.0: recordings and windows in SQLite, vectors in USearch."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from usearch.index import Index

from lake.exports.vectors import vectors_of

TABLES, INDEX = "hoplite.sqlite", "usearch.index"
ADD, SEARCH = 256, 128
"""How perch-hoplite sets up an index: its `expansion_add` and `expansion_search`."""
SCHEMA = """
    CREATE TABLE hoplite_metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE deployments (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, project TEXT NOT NULL,
        latitude REAL, longitude REAL, UNIQUE (name, project));
    CREATE TABLE recordings (id INTEGER PRIMARY KEY AUTOINCREMENT, filename TEXT NOT NULL, datetime TEXT,
        deployment_id INTEGER REFERENCES deployments(id) ON DELETE CASCADE,
        UNIQUE (id, deployment_id), UNIQUE (filename, deployment_id));
    CREATE TABLE windows (id INTEGER PRIMARY KEY AUTOINCREMENT,
        recording_id INTEGER NOT NULL REFERENCES recordings(id) ON DELETE CASCADE,
        offsets FLOAT_LIST NOT NULL, UNIQUE (id, recording_id, offsets));
    CREATE TABLE annotations (id INTEGER PRIMARY KEY AUTOINCREMENT,
        recording_id INTEGER NOT NULL REFERENCES recordings(id) ON DELETE CASCADE, offsets FLOAT_LIST NOT NULL,
        label TEXT NOT NULL, label_type INTEGER NOT NULL, provenance TEXT NOT NULL, UNIQUE (id, recording_id, offsets));
    CREATE INDEX idx_annotations ON annotations(recording_id, offsets, label, label_type, provenance);
    CREATE INDEX idx_labels ON annotations(label, label_type, provenance);
    CREATE INDEX idx_recordings_deployment_id ON recordings(deployment_id);
    CREATE INDEX idx_windows_recording_id ON windows(recording_id);
"""


def hoplite(table: pd.DataFrame, clusters: xr.Dataset, urls: Sequence[str], project: str) -> dict[str, bytes]:
    """Return the files of a database: windows of a clustering, with their vectors.

    Parameters
    ----------
    table
        As :func:`lake.exports.clusters.clustering_table` gives it. Of a window across a join the first row is kept.
    clusters, urls
        The clustering, opened as numbers, and the embedding stores that it was made of.
    project
        Name of the study, that of each deployment's project. Deployments are named by recorder and site.

    Returns
    -------
    dict
        Vectors have length 1, scaled as the clustering had them: the inner product that perch-hoplite searches by is
        their cosine. They are float16, as it keeps them.
    """
    rows = table.drop_duplicates(["recorder", "time"]).reset_index(drop=True)
    index = None
    for numbers, vectors in vectors_of(rows, clusters, urls):
        if index is None:
            index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16", expansion_add=ADD, expansion_search=SEARCH)
        index.add(numbers.astype(np.uint64) + 1, vectors)
    with TemporaryDirectory() as folder:
        if index is not None:
            index.save(str(Path(folder) / INDEX))
        _write_tables(Path(folder) / TABLES, rows, 0 if index is None else index.ndim, project)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _write_tables(file: Path, rows: pd.DataFrame, n_features: int, project: str) -> None:
    rows = rows.assign(deployment=(rows["recorder"] + " " + rows["site"].astype(str)).str.strip())
    deployments = rows.drop_duplicates("deployment").reset_index(drop=True)
    recordings = rows.drop_duplicates(["deployment", "recording"]).reset_index(drop=True)
    starts = recordings["time"] - pd.to_timedelta(recordings["start_s"], unit="s")
    of_deployment = {name: i for i, name in enumerate(deployments["deployment"], 1)}
    keys = zip(recordings["deployment"], recordings["recording"], strict=True)
    of_recording = {key: i for i, key in enumerate(keys, 1)}
    config: dict[str, object] = {"embedding_dim": n_features, "dtype": "float16", "metric_name": "IP"}
    config |= {"expansion_add": ADD, "expansion_search": SEARCH}
    with closing(sqlite3.connect(file)) as database:
        database.executescript(SCHEMA)
        database.execute("INSERT INTO hoplite_metadata VALUES ('usearch_config', ?)", [json.dumps(config)])
        database.executemany(
            "INSERT INTO deployments VALUES (?, ?, ?, ?, ?)",
            [
                (of_deployment[row.deployment], row.deployment, project, _number(row.latitude), _number(row.longitude))
                for row in deployments.itertuples()
            ],
        )
        database.executemany(
            "INSERT INTO recordings VALUES (?, ?, ?, ?)",
            [
                (i, row.recording, start.round("ms").isoformat(), of_deployment[row.deployment])
                for i, (row, start) in enumerate(zip(recordings.itertuples(), starts, strict=True), 1)
            ],
        )
        places = zip(rows["deployment"], rows["recording"], strict=True)
        offsets = rows[["start_s", "end_s"]].to_numpy("<f8")
        database.executemany(
            "INSERT INTO windows VALUES (?, ?, ?)",
            [
                (i, of_recording[key], ends.tobytes())
                for i, (key, ends) in enumerate(zip(places, offsets, strict=True), 1)
            ],
        )
        database.commit()


def _number(value: Any) -> float | None:  # noqa: ANN401 (a cell of a database may hold anything)
    return None if np.isnan(value) else float(value)
