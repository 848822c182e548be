"""A training that is killed while it writes a checkpoint, at a step and a byte that nobody chose."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jobs.common.network.card import ModelCard
from jobs.common.training import journal
from jobs.common.training.data import from_array
from jobs.common.training.watch import Surroundings
from jobs.dino.config import Config
from jobs.dino.loop import fit
from lake.storage import Storage

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
N_STEPS = 10
N_KILLS = 3
TIMINGS = ("windows_per_s", "data_wait", "memory_bytes", "flops_per_s", "mfu")

KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np, torch
from jobs.common.network.card import ModelCard
from jobs.dino.config import Config
from jobs.common.training.data import from_array
from jobs.dino.loop import fit
from jobs.common.training.watch import Surroundings
from lake.storage import Storage

folder, step, share, n_threads = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(n_threads)
given = folder.parent / "given"
config = Config.model_validate_json((given / "config.json").read_text())
card = ModelCard.model_validate_json((given / "card.json").read_text())
codes = np.load(given / "codes.npy")

class Dying:
    def __init__(self, file):
        self.file = file
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self.file.close()
    def seek(self, position):
        return self.file.seek(position)
    def write(self, data):
        self.file.write(data[: int(share * len(data))])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

plain, write_aside, target_now = Path.open, Storage._write_aside, []
def writing(self, target, data):
    target_now[:] = [target.name]
    return write_aside(self, target, data)
def opened(self, *args, **options):
    file = plain(self, *args, **options)
    is_wanted = self.name.endswith(".aside") and target_now == [f"step-{step:09d}.pt"]
    return Dying(file) if is_wanted else file
Path.open, Storage._write_aside = opened, writing

around = Surroundings("net", "c0ffee", torch.device("cpu"), "cpu-test", log_every=1, checkpoint_every_s=0.0)
fit(Storage(folder), from_array(codes), config, make_card=lambda: card, around=around)
"""


def left_by(folder: Path) -> tuple[dict[str, bytes], dict[str, Any], list[dict[str, float]]]:
    """Return the models' bytes, all of the last checkpoint but the time it took, and the lines of metrics."""
    names = ("backbone.safetensors", "initial.safetensors", "config.json")
    content = torch.load(max((folder / "checkpoints").glob("*.pt")), weights_only=True)
    del content["elapsed_s"]
    lines = [{k: v for k, v in entry.items() if k not in TIMINGS} for entry in journal.read(Storage(folder))]
    return {name: (folder / name).read_bytes() for name in names}, flat(content, ""), lines


def flat(value: object, name: str) -> dict[str, Any]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return {k: v for key, each in value.items() for k, v in flat(each, f"{name}.{key}").items()}
    return {name: value.numpy().tobytes() if isinstance(value, torch.Tensor) else value}


def test_a_training_killed_in_mid_write_at_any_step_ends_with_the_same_bits(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, codes: NDArray[np.uint8], cpu: torch.device
) -> None:
    seed = int(os.environ.get("KILL_SEED") or secrets.randbits(32))
    sys.stderr.write(f"KILL_SEED={seed} repeats this\n")
    random = np.random.default_rng(seed)
    config = make_config(steps=N_STEPS, drop_path=0.3, recipe="dino-plus")
    card = make_card(config, codes).model_copy(update={"registers": config.n_registers})
    given = tmp_path / "given"
    given.mkdir()
    (given / "config.json").write_text(config.model_dump_json())
    (given / "card.json").write_text(card.model_dump_json())
    np.save(given / "codes.npy", codes)
    around = Surroundings("net", "c0ffee", cpu, "cpu-test", log_every=1, checkpoint_every_s=0.0)
    fit(Storage(tmp_path / "whole"), from_array(codes), config, make_card=lambda: card, around=around)
    whole = left_by(tmp_path / "whole")
    for i in range(N_KILLS):
        folder, step, share = tmp_path / f"killed-{i}", int(random.integers(1, N_STEPS + 1)), float(random.random())
        said = f"KILL_SEED={seed}: killed in the checkpoint of step {step}, after {share:.3f} of its bytes"
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder), str(step), str(share), str(torch.get_num_threads())],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, said
        there = sorted((folder / "checkpoints").iterdir())
        torn = [path for path in there if path.name.endswith(".aside")]
        assert len(torn) == 1, said
        finished = [path.name for path in there if path not in torn]
        assert finished[-1:] == ([f"step-{step - 1:09d}.pt"] if step > 1 else []), said
        fit(Storage(folder), from_array(codes), config, make_card=lambda: card, around=around)
        assert left_by(folder) == whole, said
