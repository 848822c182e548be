"""Vectors of another grid than the cube's, as BirdNET makes them: all that follows is of their own seconds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from atlases import read_cluster
from chains import run_chain, store
from soundfiles import usual_study

import dawnchorus
from lake.exports.clusters import clustering_table
from lake.find import Wanted
from lake.query import open_any
from lake.trace import trace

RUNS = """
[runs.theirs]
job = "import"
inputs = { spectrograms = "mels" }
files = { table = "vectors.csv", vectors = "vectors.npy" }
config = { window_s = 3.0, hop_s = 3.0 }
[runs.clusters]
job = "cluster"
inputs = { embeddings = "theirs" }
config = { n_clusters = 3, seed = 7 }
[runs.atlas]
job = "atlas"
inputs = { clusters = "clusters", spectrograms = "mels" }
config = { n_exemplars = 2 }
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of a study with vectors of 3 s from each recording's start, on a cube of 4 s every 2 s."""
    made = usual_study(tmp_path_factory.mktemp("study"))
    manifest = made.write()
    manifest.write_text(manifest.read_text() + RUNS)
    rows = [
        (row["path"], 3.0 * i)
        for row in made.rows
        for i in range(int(row["duration_s"] // 3))
        if not str(row["problems"]) and row["recorder"]
    ]
    pd.DataFrame(rows, columns=["recording", "start_s"]).to_csv(made.folder / "vectors.csv", index=False)
    vectors = np.random.default_rng(0).normal(size=(len(rows), 8)).astype(np.float32)
    np.save(made.folder / "vectors.npy", vectors)
    text = manifest.read_text().replace("hop_s = 3.0 }", 'hop_s = 3.0, shared_cells = "nearest" }')
    manifest.write_text(text)
    run_chain(manifest)
    return manifest


def test_queries_know_local_time(study: Path) -> None:
    table = dawnchorus.query(store(study, "theirs"), local=True, date="2021-07-14")
    assert len(table) > 5
    assert (table["time"] - table["time_local"] == pd.Timedelta("5h")).all()


def test_exports_name_the_vectors_own_seconds(study: Path) -> None:
    clusters, cube = open_any(store(study, "clusters")), open_any(store(study, "mels"))
    table = clustering_table(clusters, cube, Wanted(), names={})
    begins = dict(zip(cube["recording_path"].to_numpy(), cube["recording_start_ms"].to_numpy(), strict=True))
    starts = pd.read_csv(study.parent / "vectors.csv")
    known = {(path[0], begins[path] + round(start_s * 1000)) for path, start_s in starts.itertuples(index=False)}
    whole = table[np.isclose(table["end_s"] - table["start_s"], 3.0)]
    assert len(whole) > 5
    pairs = zip(whole["recording"], whole["start_s"], strict=True)
    assert {(path[0], begins[path] + round(start_s * 1000)) for path, start_s in pairs} <= known


def test_the_page_shows_the_vectors_own_seconds(study: Path) -> None:
    folder = study.parent / "lake/atlas/atlas"
    clusters = open_any(store(study, "clusters"))
    number, cell = (clusters[name].to_numpy()[0, 0] for name in ("exemplar_recorder", "exemplar_cell"))
    grid = clusters.attrs["grid"]
    assert grid["window_ms"] == 3000
    recorder = str(clusters["recorder"].to_numpy()[number])
    listed = str(np.datetime64(grid["origin_ms"] + int(cell) * grid["hop_ms"], "ms"))
    piece = trace(store(study, "theirs"), recorder, listed).pieces[0]
    page = read_cluster(folder, 0)
    assert piece.path in page.text
    assert list(folder.rglob("*.ogg"))


def test_windows_near_one_are_told_with_their_place(study: Path) -> None:
    row = dawnchorus.query(store(study, "theirs")).iloc[3]
    near = dawnchorus.similar(store(study, "theirs"), row["recorder"], row["time"], n=3)
    assert len(near) == 3
