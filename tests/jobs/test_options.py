"""Options of `run`: each job follows one, or refuses it; none is passed over without a word."""

from pathlib import Path

import pytest
from commands import Cli

from jobs.runner.registry import JOBS

MANIFEST = """
lake = "lake"
recordings = { table = "recordings.csv", root = "audio" }
[runs.a-spectrograms]
job = "spectrograms"
[runs.a-contrast]
job = "contrast"
inputs = { spectrograms = "a-spectrograms" }
[runs.a-dino]
job = "dino"
inputs = { spectrograms = "a-spectrograms" }
[runs.a-adopt]
job = "adopt"
inputs = { spectrograms = "a-spectrograms" }
files = { weights = "w.safetensors" }
config = { arch = "vit_tiny_patch16_224", patch_size = [16, 16], input_size = [32, 32] }
[runs.a-dictionary]
job = "dictionary"
inputs = { spectrograms = "a-spectrograms" }
[runs.a-embed]
job = "embed"
inputs = { spectrograms = "a-spectrograms" }
config = { features = "logmel" }
[runs.a-import]
job = "import"
inputs = { spectrograms = "a-spectrograms" }
files = { table = "t.csv", vectors = "v.npy" }
[runs.a-cluster]
job = "cluster"
inputs = { embeddings = "a-embed" }
[runs.a-learn]
job = "learn"
inputs = { embeddings = "a-embed" }
[runs.a-detect]
job = "detect"
inputs = { embeddings = "a-embed", heads = "a-learn" }
[runs.a-count]
job = "count"
inputs = { spectrograms = "a-spectrograms", detections = "a-detect" }
[runs.a-evaluate]
job = "evaluate"
inputs = { one = "a-cluster" }
[runs.a-atlas]
job = "atlas"
inputs = { clusters = "a-cluster", spectrograms = "a-spectrograms" }
"""
FOLLOW = {
    "--scheduler tls://127.0.0.1:1": {"spectrograms", "embed", "cluster", "detect"},
    "--max-memory 64GB": {"spectrograms", "detect"},
    "--refresh": {
        "dino",
        "contrast",
        "adopt",
        "dictionary",
        "import",
        "cluster",
        "learn",
        "count",
        "evaluate",
        "atlas",
    },
    "--mix": {"spectrograms", "dino", "contrast", "embed", "cluster", "detect"},
    "--device cpu": {"dino", "contrast", "embed"},
    "--no-audio": {"atlas"},
    "--partition 0/2": {"spectrograms", "embed", "cluster", "detect"},
}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "m.toml"
    path.write_text(MANIFEST)
    return path


@pytest.mark.parametrize("option", FOLLOW)
@pytest.mark.parametrize("job", list(JOBS))
def test_each_job_follows_an_option_or_refuses_it(cli: Cli, manifest: Path, job: str, option: str) -> None:
    ended = cli("run", manifest, f"a-{job}", "--dry-run", *option.split())
    word = option.split(maxsplit=1)[0]
    if job in FOLLOW[option]:
        assert ended.code != 2, ended.error
        assert word not in ended.error
    elif word == "--partition":
        assert ended.code == 3
        assert f"run 'a-{job}' is a {job!r} run, which has no partitions" in ended.error
    else:
        assert ended.code == 2
        assert f"{word} does nothing for a-{job} ({job}): jobs that follow it are " in ended.error
    assert not (manifest.parent / "lake").exists()


def test_of_several_runs_those_that_an_option_does_not_bind_are_named(cli: Cli, manifest: Path) -> None:
    ended = cli(
        "run", manifest, "a-spectrograms", "a-atlas", "a-evaluate", "--no-audio", "--max-memory", "64GB", "--dry-run"
    )
    assert "note: --max-memory does nothing for a-evaluate (evaluate), a-atlas (atlas)" in ended.error
    assert "note: --no-audio does nothing for a-spectrograms (spectrograms), a-evaluate (evaluate)" in ended.error


def test_all_options_that_do_nothing_are_named_at_once(cli: Cli, manifest: Path) -> None:
    ended = cli("run", manifest, "a-import", "--no-audio", "--mix")
    assert ended.code == 2
    assert "--mix does nothing for a-import (import)" in ended.error
    assert "--no-audio does nothing for a-import (import)" in ended.error
