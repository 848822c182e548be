"""On one machine nothing listens beyond loopback, whichever way a run is started."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from commands import ROOT
from sockets import is_open, watching
from soundfiles import usual_study
from standins import install

from jobs.runner.manifest import read_manifest
from jobs.runner.state import states
from jobs.submit.command import Where, submit
from jobs.submit.plan import Kind, plan
from jobs.submit.sites import read_site

RUNS = """
[runs.cube]
job = "spectrograms"
resources = { workers = 2, dask = true }
config = { %s }
[runs.net]
job = "dino"
inputs = { spectrograms = "mels" }
resources = { workers = 2 }
config = { arch = "vit_tiny_patch16_224", embed_dim = 32, depth = 1, num_heads = 2, patch_size = [16, 16], n_local = 1,\
 global_size = [32, 32], local_size = [16, 16], head_hidden = 32, head_bottleneck = 16, n_prototypes = 64,\
 batch_size = 4, steps = 2, precision = "fp32" }
[runs.vectors]
job = "embed"
inputs = { spectrograms = "mels", model = "net" }
resources = { gpus = 2 }
[runs.clusters]
job = "cluster"
inputs = { embeddings = "vectors" }
config = { n_clusters = 3 }
"""
SHARES = "resources = { tasks = 2, workers = 2 }\n"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return a manifest of a small study with a run for each kind of step that `submit` writes."""
    path = usual_study(tmp_path).write()
    text = path.read_text()
    (config,) = [line for line in text.splitlines() if line.startswith("config = {")]
    inner = config.removeprefix("config = {").removesuffix("}").strip()
    path.write_text(text.replace(config, SHARES + config) + (RUNS % inner).replace("\\\n", ""))
    return path


def run_watched(words: list[str], environment: dict[str, str], folder: Path) -> tuple[int, set[tuple[str, str]], str]:
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(words, env=environment, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
        with watching(process.pid) as found:
            code = process.wait(900)
    return code, found, log.read_text()


@pytest.mark.slow
def test_no_line_that_submit_writes_listens_beyond_loopback(manifest: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("spectrograms", "dino", "cluster"):
        (images / f"{name}.sif").touch()
    environment = install(tmp_path / "local", "local")
    study = read_manifest(manifest)
    site = read_site("local").model_copy(update={"apptainer": "apptainer", "workers": 2})
    kinds = {step.kind for step in plan(study, list(study.runs.values()), site, images)}
    assert kinds == set(get_args(Kind)), "a run for each kind of step"
    out = tmp_path / "out"
    submit(study, [], site, Where(images, out), lambda _: None, dry_run=True)
    code, found, told = run_watched(["bash", str(out / "submit.sh")], environment, tmp_path)
    assert code == 0, told
    assert {state.state for state in states(read_manifest(manifest))} == {"done"}, told
    assert sorted({line for line in found if is_open(line[0])}) == []
    assert any("dask" in command for _, command in found), "Dask's own sockets were seen"
    assert any("runpy" in command for _, command in found), "those of the training's processes were seen"
    assert not [path.name for path in out.iterdir() if path.name.startswith((".meeting", "tls"))]


@pytest.mark.slow
def test_no_worker_of_run_listens_beyond_loopback(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "jobs", "run", str(usual_study(tmp_path).write()), "--workers", "2"]
    code, found, told = run_watched(words, {**os.environ, "PYTHONPATH": str(ROOT)}, tmp_path)
    assert code == 0, told
    assert found
    assert not any(is_open(ip) for ip, _ in found)


@pytest.mark.slow
def test_the_watch_sees_what_torchrun_opens(tmp_path: Path) -> None:
    """So it would see it in a script, too."""
    words = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "1", "--rdzv-backend"]
    words += ["c10d", "--rdzv-endpoint", "127.0.0.1:0", "--no-python", "sleep", "3"]
    code, found, told = run_watched(words, dict(os.environ), tmp_path)
    assert code == 0, told
    assert any(is_open(ip) for ip, _ in found)
