"""Two processes that train together take the steps of one, to the bit."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from stores import make_cube

from jobs.common.run import Run
from jobs.common.training import journal
from jobs.contrast.command import train
from jobs.contrast.config import Config
from lake.storage import Storage

MakeConfig = Callable[..., Config]
ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).parent / "together.py"
TIMINGS = ("windows_per_s", "data_wait", "memory_bytes", "flops_per_s", "mfu")

pytestmark = pytest.mark.slow


@pytest.fixture
def large(tmp_path: Path, codes: NDArray[np.uint8]) -> Run:
    """Return a cube of 160 windows."""
    return make_cube(tmp_path / "lake", np.concatenate([codes, codes[::-1]]), recorders=("a", "b", "c", "d"))


def start(cube: Run, folder: Path, config: Config, die_after: int = 0) -> list[tuple[int, str]]:
    """Start two processes as a launcher does; return their exit codes and what they said."""
    meeting = Path(tempfile.mkdtemp(dir=folder.parent))
    common = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DAWNCHORUS_RANKS": "2",
        "DAWNCHORUS_NODES": "1", "DAWNCHORUS_MEETING": str(meeting / "store"),
    }  # fmt: skip
    command = [sys.executable, str(SCRIPT), cube.output.url, str(folder), config.model_dump_json(), str(die_after)]
    running = [
        subprocess.Popen(
            command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**common, "DAWNCHORUS_RANK": str(rank), "DAWNCHORUS_LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    return [(process.wait(240), process.communicate()[1]) for process in running]


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if k not in TIMINGS} for entry in journal.read(Storage(folder))]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_processes_take_the_steps_of_one(
    precision: str, large: Run, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(batch_size=128, steps=5, precision=precision)
    one, two = tmp_path / "one", tmp_path / "two"
    url = large.output.url
    train(url, str(one), config, config_id="c0ffee", run="net", device="cpu", log_every=1, n_micro=2)
    assert [code for code, _ in start(large, two, config)] == [0, 0]
    for name in ("backbone.safetensors", "initial.safetensors", "config.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert metrics(one) == metrics(two)


def test_a_death_of_one_is_survived(large: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    config = make_config(batch_size=128, steps=5)
    one, two = tmp_path / "one", tmp_path / "two"
    url = large.output.url
    train(url, str(one), config, config_id="c0ffee", run="net", device="cpu", log_every=1)
    (first, said), (second, _) = start(large, two, config, die_after=3)
    assert (first, second) == (75, -9), said
    train(url, str(two), config, config_id="c0ffee", run="net", device="cpu", log_every=1)
    assert (one / "backbone.safetensors").read_bytes() == (two / "backbone.safetensors").read_bytes()


def test_shares_that_cut_through_groups_are_refused(large: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    ended = start(large, tmp_path / "two", make_config(batch_size=32))
    assert [code for code, _ in ended] == [3, 3]
    assert "batch_size: expected a multiple of 64 for 2 processes of 1 parts, found 32" in ended[0][1]
