"""What all tests share."""

import math
import os
import time
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import settings

# Before any numerical library is loaded: on tiny arrays more threads only get in each other's way.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A slow machine is no failure, and a failure must come again: examples are the same in every run.
settings.register_profile("dawnchorus", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("dawnchorus")

BEGAN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, default=math.inf, help="begin no test after so many minutes")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    minutes: float = item.config.getoption("--minutes")
    if time.monotonic() - BEGAN >= 60 * minutes:
        pytest.skip(f"left out: tests begin in the first {minutes:g} minutes only")


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the examples of the documentation work: a small demo study, without a network."""
    import jobs.workflows.quickstart
    from jobs.common.run import Options
    from jobs.demo.config import SMALL, SMALL_SHA256
    from jobs.runner.execute import execute_runs
    from jobs.runner.manifest import read_manifest
    from jobs.workflows.rehearsal import rehearse

    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(jobs.workflows.quickstart, "DEMO", SMALL)
        patch.setattr(jobs.workflows.quickstart, "STUDY_SHA256", SMALL_SHA256)
        _, manifest = jobs.workflows.quickstart.prepare_study(Path("data/demo"), 1, lambda _: None)
        text = tomllib.loads(manifest.read_text())
        config = {"n_clusters": 5, "n_refits": 0}
        text["runs"] = {
            "mels": text["runs"]["mels"],
            "vectors": {"job": "embed", "inputs": {"spectrograms": "mels"}, "config": {"features": "logmel"}},
            "clusters": {"job": "cluster", "inputs": {"embeddings": "vectors"}, "config": config},
            "heads": {"job": "learn", "inputs": {"embeddings": "vectors"}, "config": {"n_bootstrap": 10}},
            "detections": {"job": "detect", "inputs": {"embeddings": "vectors", "heads": "heads"}},
        }
        manifest.write_text(tomli_w.dumps(text))
        execute_runs(read_manifest(manifest), [], Options(), lambda _: None)
        rehearse(read_manifest(manifest), 1, lambda _: None)
    return folder
