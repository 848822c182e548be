"""Who may import whom, and what runs where torch is not installed."""

import importlib.util
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grimp
import numpy as np
import pytest
from stores import finish, make_cube, random_codes

from jobs.runner.manifest import read_manifest
from jobs.runner.registry import JOBS
from lake.receipts import latest_receipt

ROOT = Path(__file__).resolve().parents[1]
TORCH = ("torch", "torchvision", "torchaudio", "timm")
HELPERS = {"common", "submit"}
JOB_PACKAGES = sorted(path.parent.name for path in ROOT.glob("jobs/*/__init__.py") if path.parent.name not in HELPERS)
LAKE = sorted(f"lake.{path.stem}" for path in ROOT.glob("lake/*.py") if path.stem != "__init__")
WITHOUT_TORCH = [
    "jobs.cli.main", "jobs.runner.manifest", "jobs.runner.execute", "jobs.workflows.quickstart", "jobs.workflows.begin",
    *(f"jobs.{name}.config" for name in JOB_PACKAGES if (ROOT / f"jobs/{name}/config.py").exists()),
    "jobs.catalog.command", "jobs.demo.study", "jobs.cluster.command", "jobs.evaluate.command", "jobs.atlas.command",
    "jobs.embed.command", "jobs.embed.core", "jobs.embed.plan",
]  # fmt: skip


def contracts() -> dict[str, dict[str, Any]]:
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {contract["name"]: contract for contract in text["tool"]["importlinter"]["contracts"]}


def loaded_by(modules: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Import modules one after the other in a fresh process; return which of the names each brought in first."""
    code = f"""
import importlib, json, sys
brought = {{}}
for module in {list(modules)!r}:
    before = set(sys.modules)
    importlib.import_module(module)
    brought[module] = [name for name in {list(names)!r} if name in sys.modules and name not in before]
print(json.dumps(brought))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def test_the_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{len(contracts())} kept, 0 broken" in done.stdout


def test_no_job_loads_what_its_image_lacks() -> None:
    """Not even later: a job whose image has no torch has no line that imports it."""
    graph = grimp.build_graph("jobs", "lake", include_external_packages=True)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    with_torch = {name for name, lines in extras.items() if any(line.startswith("torch") for line in lines)}
    jobs = {job.package for job in JOBS.values() if job.extra not in with_torch}
    assert jobs >= {"jobs.cluster", "jobs.evaluate", "jobs.atlas", "jobs.imports", "jobs.dictionary"}
    assert {job: chain for job in jobs for name in TORCH if (chain := _chain(graph, job, name))} == {}
    assert _chain(graph, "jobs.dino", "torch"), "otherwise this would show nothing"


def _chain(graph: grimp.ImportGraph, job: str, package: str) -> tuple[str, ...]:
    """Return how a job comes to import a package, or nothing."""
    return (package in graph.modules and graph.find_shortest_chain(job, package, as_packages=True)) or ()


def test_the_lake_loads_nothing_of_what_stands_on_it() -> None:
    names = [*TORCH, "jobs", "typer", "rich", "sklearn", "soundfile", "av"]
    found = loaded_by(LAKE, [*names, "zarr"])
    assert [brought for brought in found.values() if brought] == [["zarr"]], "zarr only shows that this can fail"


def test_what_the_images_without_torch_run_loads_none() -> None:
    assert all(importlib.util.find_spec(name) for name in TORCH), "otherwise this would show nothing"
    assert loaded_by(WITHOUT_TORCH, TORCH) == {module: [] for module in WITHOUT_TORCH}


@pytest.fixture
def cube_manifest(tmp_path: Path) -> Path:
    """Return a manifest whose cube is finished."""
    codes = random_codes()
    cube = make_cube(tmp_path / "lake", codes)
    finish(cube)
    cells = np.flatnonzero(codes[0].any(axis=(1, 2)))[:8]
    times = np.datetime64("2021-06-01T00:00:00") + cells * np.timedelta64(600, "s")
    rows = [f"north,{time}Z,{time + np.timedelta64(3, 's')}Z,call {i % 2}" for i, time in enumerate(times)]
    (tmp_path / "labels.csv").write_text("\n".join(["recorder,start_utc,end_utc,label", *rows]) + "\n")
    path = tmp_path / "study.toml"
    path.write_text("""
    lake = "lake"
    labels = "labels.csv"
    [runs.mels]
    job = "spectrograms"
    config = { window_s = 6.0, hop_s = 600.0, n_mels = 8, n_frames = 16, shard_windows = 72 }
    [runs.vectors]
    job = "embed"
    inputs = { spectrograms = "mels" }
    config = { features = "logmel" }
    [runs.clusters]
    job = "cluster"
    inputs = { embeddings = "vectors" }
    config = { n_clusters = 4 }
    [runs.scores]
    job = "evaluate"
    inputs = { mine = "clusters" }
    [runs.atlas]
    job = "atlas"
    inputs = { clusters = "clusters", spectrograms = "mels" }
    """)
    return path


def test_from_the_cube_to_the_pages_without_torch(cube_manifest: Path) -> None:
    code = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {TORCH!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Blocker())
from jobs.cli.main import main
sys.argv = ["dawnchorus", "run", {str(cube_manifest)!r}, "vectors", "clusters", "scores", "atlas", "--workers", "1"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split(": done in ")[0] for line in done.stdout.splitlines()] == [
        "vectors",
        "clusters",
        "scores",
        "atlas",
    ]
    assert (cube_manifest.parent / "lake/atlas/atlas/index.html").exists()
    runs = read_manifest(cube_manifest).runs
    assert (latest_receipt(runs["clusters"].lake, "clusters") or {})["n_windows"] == 48
