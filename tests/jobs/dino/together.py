"""One of the processes that train together: what to train on, and how, is in the folder that it is given.

``python together.py FOLDER``; the launcher's environment says which process it is.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from jobs.common.network.card import ModelCard
from jobs.common.processes import place
from jobs.common.training import group
from jobs.common.training.data import from_array
from jobs.common.training.watch import Surroundings
from jobs.dino.config import Config
from jobs.dino.loop import fit
from jobs.dino.probe import embedded
from jobs.dino.train import new_state
from lake.errors import InputError, TryAgainError
from lake.storage import Storage

folder = Path(sys.argv[1])
codes = np.load(folder / "codes.npy")
card = ModelCard.model_validate_json((folder / "card.json").read_text())
here = place(os.environ)
torch.set_num_threads(1)


def do(task: dict[str, object]) -> None:
    config = Config(**task["config"])  # type: ignore[arg-type]  # as JSON holds it
    out, stop, die = folder / str(task["out"]), task.get("stop_after"), task.get("die_after")
    n_calls = 0

    def why_stop() -> str | None:
        nonlocal n_calls
        n_calls += 1
        return "a stop" if n_calls == stop and here.rank == 0 else None

    def on_progress(done: int, _total: int) -> None:
        if done == die and here.rank == task.get("who_dies", 1):
            os.kill(os.getpid(), signal.SIGKILL)

    rename = Path.replace

    def replace(self: Path, target: str | Path) -> Path:
        if str(target).endswith(f"step-{task['killed_at']:09d}.pt"):
            self.write_bytes(self.read_bytes()[:5000])
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    if task.get("killed_at"):
        Path.replace = replace  # type: ignore[method-assign, assignment]
    around = Surroundings(
        "net", "c0ffee", torch.device("cpu"), "cpu-test", log_every=1, why_stop=why_stop, on_progress=on_progress,
        n_micro=int(str(task.get("n_micro", 1))), checkpoint_every_s=0.0 if task.get("killed_at") else 1e9,
    )  # fmt: skip
    fit(Storage(out), from_array(codes), config, make_card=lambda: card, around=around)


def embed(task: dict[str, object]) -> None:
    """Write the features of some windows as process 0 has put them together."""
    config, source = Config(**task["config"]), from_array(codes)  # type: ignore[arg-type]
    network = new_state(card, config, torch.device("cpu")).pair.teacher
    found = embedded(network, source, np.arange(7), card, config)
    if here.rank == 0:
        np.save(folder / "features.npy", found)


def every_task() -> int:
    code = 0
    for task in json.loads((folder / "tasks.json").read_text()):
        try:
            (embed if "embed" in task else do)(task)
        except (InputError, TryAgainError) as error:
            sys.stderr.write(f"[{here.rank}] {error}\n")
            code = error.exit_code
    return code


try:
    with group.joined(here, torch.device("cpu")):
        ended = every_task()
except TryAgainError as error:
    sys.stderr.write(f"[{here.rank}] {error}\n")
    ended = error.exit_code
sys.exit(ended)
