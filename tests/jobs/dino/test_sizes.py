import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from stores import make_cube, make_run, random_codes

from jobs.common.run import Options
from jobs.common.training import journal
from jobs.dino.command import describe
from jobs.dino.config import Config
from jobs.dino.sizes import described, parameters, tokens
from jobs.runner.manifest import read_manifest

MakeConfig = Callable[..., Config]

ROOT = Path(__file__).parents[3]


def test_the_paper_sized_study_is_told_before_it_runs() -> None:
    manifest = tomllib.loads((ROOT / "manifests/arboretum-2021.toml").read_text(encoding="utf-8"))
    config = Config(**manifest["runs"]["dino"]["config"])
    lines = described((230_259, 1024, 1024), config, n_processes=8, n_micro=1, rate=None, source="x")
    assert lines[0] == "230,259 windows of 1024 x 1024, 241 GB of codes"
    assert lines[1].startswith("22,486 steps of 512 windows, 50.0 passes; views: 2 of 224 x 224 and 8 of 96 x 96")
    assert lines[2] == "112.9 G operations a window, 1.3e+18 in all"
    assert lines[3].startswith("network: 21.5 M parameters, and 22.3 M of the head")
    assert "checkpoints of 700 MB" in lines[4]
    assert lines[5].startswith("memory of each of 8 processes: 875 MB of weights")
    assert lines[6] == "time: not known, nobody measured windows/s here (x)"
    timed = described((230_259, 1024, 1024), config, n_processes=8, n_micro=1, rate=16_000.0, source="x")
    assert timed[6] == "time: 12.0 minutes at 16,000 windows/s (x)"


def test_parameters_are_counted_without_being_made() -> None:
    backbone, head, width, depth = parameters(Config())
    assert (width, depth) == (384, 12)
    assert backbone == 21_469_056  # 22,050,664 of timm's, less its classifier and two of three input channels
    assert head == 384 * 2048 + 2048 + 2048 * 2048 + 2048 + 2048 * 256 + 256 + 65_536 * 256
    assert tokens(Config()) == 2 * 197 + 8 * 37


def test_the_manifest_of_the_study_is_right() -> None:
    runs = read_manifest(ROOT / "manifests/arboretum-2021.toml").runs
    assert runs["dino"].resources.gpus == 8
    assert runs["clusters"].config.model_dump()["n_clusters"] == 100


def test_a_run_that_has_begun_tells_its_own_rate(tmp_path: Path, make_config: MakeConfig) -> None:
    cube = make_cube(tmp_path / "lake", random_codes(n_mels=32, n_frames=64))
    run = make_run(tmp_path / "lake", "net", "dino", make_config(steps=600), inputs={"spectrograms": cube})
    lines = describe(run, Options(device="cpu"))
    assert lines[0] == "48 windows of 32 x 64, 98.3 kB of codes"
    assert "nobody measured" in lines[-1]
    for step in (10, 20):
        journal.append(run.output, {"step": step, "windows_per_s": 2.0})
    told = describe(run, Options(device="cpu"))[-1]
    assert told == "time: 40.0 minutes at 2 windows/s (this run's own metrics so far)"


@pytest.mark.parametrize("n_micro", [1, 2])
def test_parts_of_a_share_need_less_memory(n_micro: int) -> None:
    line = described((1000, 128, 256), Config(), n_processes=1, n_micro=n_micro, rate=None, source="x")[5]
    assert f"for {512 // n_micro} windows' blocks" in line
