"""The whole chain on a small study, as `make demo` runs it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import xarray as xr
from commands import Cli

import jobs.workflows.proposals
import jobs.workflows.quickstart
from jobs.demo.config import SMALL, SMALL_SHA256
from jobs.runner.manifest import read_manifest
from jobs.workflows.quickstart import quickstart

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder; the demo is small there, its training cut to a few steps of a small batch."""
    manifest = tomllib.loads((REPOSITORY / "manifests/demo.toml").read_text())
    manifest["runs"]["dino"]["config"] |= {"steps": 3, "batch_size": 8}
    manifest["runs"]["atoms"]["config"] = {"n_atoms": 8, "n_patches": 500, "n_rounds": 3}
    manifest["runs"]["scores"]["config"] = {"n_bootstrap": 20}
    for run in manifest["runs"].values():
        if run["job"] == "cluster":
            run["config"] |= {"n_clusters": 5}
    template = tmp_path / "template.toml"
    template.write_text(tomli_w.dumps(manifest))
    monkeypatch.setattr(jobs.workflows.quickstart, "TEMPLATE", template)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(jobs.workflows.quickstart, "DEMO", SMALL)
    monkeypatch.setattr(jobs.workflows.quickstart, "STUDY_SHA256", SMALL_SHA256)
    return tmp_path / "here"


def test_the_recordings_alone_for_jobs_that_a_scheduler_runs(here: Path, cli: Cli) -> None:
    ended = cli("demo", "--only-recordings", "--workers", 1)
    assert ended.code == 0
    assert "41 files" in ended.out
    assert [path.name for path in (here / "data/demo").iterdir() if path.is_dir()] == ["study"]
    made = read_manifest(here / "data/demo/manifest.toml").runs
    assert set(made) == set(read_manifest(REPOSITORY / "manifests/demo.toml").runs)
    recordings = made["mels"].recordings
    assert recordings is not None
    assert recordings.table == (here / "data/demo/recordings.csv").resolve()
    assert recordings.root == (here / "data/demo/study/audio").resolve()
    assert recordings.deployments is not None
    assert all(path.exists() for path in (recordings.table, recordings.root, recordings.deployments))
    assert made["mels"].lake.storage.url == str((here / "data/demo").resolve())


def test_the_demo_runs_from_nothing_to_a_page_and_then_does_nothing(here: Path) -> None:
    said: list[str] = []
    quickstart(Path("data/demo"), workers=1, say=said.append)
    text = "\n".join(said)
    assert "windows    66 ok, 5 partial, 0 unreadable" in text
    assert re.search(r"set aside  1 \(AM07/\S+: empty;OA002\) of 41 recordings", text)
    assert re.search(r"noticed    5 \(00023788/\S+: overlap, .*\) among the others", text)
    assert "clusters   5 of 5" in text
    ladder = ["log-mel", "statistics", "dictionary", "untrained network", "DINO", "dictionary ‖ statistics"]
    assert re.findall(r"^  (\D+?) +-?[01]\.\d{3} +[01]\.\d{3}$", text, re.MULTILINE) == ladder
    assert re.search(r"AMI +clusters -?0\.\d+, clusters-logmel -?0\.", text)
    page = here / "data/demo/atlas/atlas/index.html"
    assert re.search(r"\d+ sounds from 40 windows heard, macro AP [01]\.\d\d in 31 others; random order would", text)
    assert re.search(r"counted    \d+ cells of sound and site from 55 windows heard", text)
    assert (here / "data/demo/tables/counts/counts.csv").exists()
    assert str(page) in text
    assert "manifest   data/demo/manifest.toml" in text
    assert page.exists()
    lake = here / "data/demo"
    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()}
    said.clear()
    quickstart(Path("data/demo"), workers=1, say=said.append)
    done = [line for line in said if "nothing to do" in line]
    assert len(done) == 19, "the study and eighteen runs"
    assert {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()} == before
    # What it tells to type works in a Python that does not have this project.
    after = said[said.index("Type next, in any Python that has xarray and zarr:") + 1 :]
    typed = [line.strip() for line in after[: after.index("")]]
    program = "\n".join([*typed[:-1], f"print(vectors.sizes['feature'], ({typed[-1]}).sizes['time'])"])
    alone = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=here, check=True, stdout=subprocess.PIPE, text=True
    )
    n_features, n_windows = map(int, alone.stdout.split())
    assert n_features == 3 * 2 * 4 * 8, "sizes of patch, mean and deviation, rows of frequency, atoms"
    assert n_windows > 0
    stores = [lake / "spectrograms/mels.zarr", lake / "embeddings/vectors.zarr", lake / "clusters/clusters.zarr"]
    stores.append(lake / "detections/detections.zarr")
    opened = [xr.open_dataset(str(store), engine="zarr") for store in stores]
    merged = xr.merge(opened, join="exact", compat="no_conflicts", combine_attrs="override")
    assert merged["score"].dims == ("recorder", "time", "sound")
    vectors = merged["embedding"].sel(recorder="00004862").dropna("time")
    assert np.isfinite(vectors).all()
    assert (np.abs(vectors.to_numpy()).sum(axis=-1) > 0).all(), "no zero rows"
    assert json.loads((lake / "models/dino/config.json").read_text())


def test_the_manifest_that_a_demo_leaves_is_that_of_the_project(tmp_path: Path) -> None:
    """With its comments; only the folders are other ones, so that the lake is where the manifest stands."""
    theirs = (REPOSITORY / "manifests/demo.toml").read_text()
    assert jobs.workflows.proposals.TEMPLATE.read_text() == theirs
    mine = jobs.workflows.quickstart._template()
    assert "../" not in mine
    assert [line for line in mine.splitlines() if line.startswith("#")] == [
        line for line in theirs.splitlines() if line.startswith("#")
    ]
    made = tomllib.loads(mine)
    paths = [made["lake"], made["labels"], *made["recordings"].values()]
    assert paths == [".", "study/truth.csv", "recordings.csv", "study/audio", "study/deployments.csv"]
    assert made["runs"] == tomllib.loads(theirs)["runs"]
