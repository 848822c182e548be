"""One of the processes that train together, as `test_together` starts it: CUBE FOLDER CONFIG DIE_AFTER."""

import os
import signal
import sys

import torch

from jobs.common.processes import place
from jobs.contrast.command import train
from jobs.contrast.config import Config
from lake.errors import DawnchorusError

cube, folder, text, die_after = sys.argv[1:]
torch.set_num_threads(1)
here = place(os.environ)


def on_progress(done: int, _total: int) -> None:
    if done == int(die_after) and here.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)


try:
    train(
        cube, folder, Config.model_validate_json(text), config_id="c0ffee", run="net", device="cpu", log_every=1,
        checkpoint_every_s=0.0, on_progress=on_progress, here=here,
    )  # fmt: skip
except DawnchorusError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(error.exit_code)
