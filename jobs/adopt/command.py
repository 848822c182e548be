"""The ``adopt`` job: a file of weights and a cube around the pure core."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from jobs.adopt.config import Config
from jobs.adopt.core import adopted, read_tensors
from jobs.adopt.frames import adopted_network, network_of_file
from jobs.common.cubes import WINDOWS_AT_ONCE, Cube, batches, cube_of, drawn
from jobs.common.frames.card import ARCHITECTURE
from jobs.common.needs import FILE_BYTES, TORCH_BYTES, described
from jobs.common.network.backbone import build_backbone, save_backbone
from jobs.common.network.card import ModelCard
from jobs.common.network.levels import count_codes, level_statistics
from jobs.common.run import Options, Outcome, Run
from jobs.common.space import Space
from lake.digest import sha256
from lake.errors import InputError


def execute(run: Run[Config], options: Options) -> Outcome:
    """Write the weights and the card of a backbone; ``embed`` uses it like one that was trained here.

    Raises
    ------
    InputError
        If there are no weights, they are not those of the network, or the cube has no windows.
    """
    path, cube = _weights(run), cube_of(run)
    of_weights = adopted_network if run.config.arch == ARCHITECTURE else _adopted_backbone
    save, n_windows = of_weights(run, path, cube)
    outcome = Outcome(did=True, counts={"windows_of_the_statistics": n_windows}, backend="torch")
    run = options.begin(run, outcome)
    save()
    keys = run.output.list_keys()
    run.ledger.settle_files({key: sha256(run.output.read(key)) for key in keys})
    return outcome


def describe(run: Run[Config], _options: Options) -> list[str]:
    """Return what a run would read, write and take, without writing anything."""
    weights, cube = _weights(run), cube_of(run)
    shape, n_read = cube.shape, min(run.config.n_statistics, len(cube.windows))
    if run.config.arch == ARCHITECTURE:
        model: nn.Module = network_of_file(run, weights)[0]
    else:
        with torch.device("meta"):
            model = build_backbone(_card(run, cube, np.zeros(shape[0]), 1.0))
    n_values = sum(value.numel() for value in model.state_dict().values())
    card_bytes = FILE_BYTES + 32 * shape[0]
    return described(
        run,
        read=[f"{n_read} of {len(cube.windows)} windows of {run.inputs['spectrograms'].name}", str(weights)],
        written=f"a network ({run.config.arch}) of {n_values / 1e6:.1f} M parameters",
        takes=Space(4 * n_values + 256 * len(model.state_dict()) + card_bytes, 2),
        memory_bytes=TORCH_BYTES + 2 * weights.stat().st_size + 8 * n_values + WINDOWS_AT_ONCE * shape[0] * shape[1],
    )


def _adopted_backbone(run: Run[Config], path: Path, cube: Cube) -> tuple[Callable[[], str], int]:
    """Return what writes the backbone, and the number of windows that its card's levels are from."""
    some = drawn(cube, run.config.n_statistics, run.config.seed)
    counts = count_codes(batches(some), len(cube.mel_hz))
    mean_db, deviation_db = level_statistics(counts[:, 1:], first_code=1)
    card = _card(run, cube, mean_db, deviation_db)
    try:
        model = build_backbone(card)
        tensors = read_tensors(path.read_bytes(), is_safetensors=path.suffix == ".safetensors")
        model.load_state_dict(adopted(tensors, model))
    except InputError as error:
        raise InputError(f"run {run.name!r}: {path}: {error}") from error
    return partial(save_backbone, run.output.url, model, card), len(some.windows)


def _weights(run: Run[Config]) -> Path:
    path = run.files["weights"]
    if not path.is_file():
        raise InputError(f"run {run.name!r}: {path}: expected weights, found no file. Nothing is downloaded.")
    return path


def _card(run: Run[Config], cube: Cube, mean_db: NDArray[np.float64], deviation_db: float) -> ModelCard:
    config = run.config
    return ModelCard(
        arch=config.arch, patch_size=config.patch_size, input_size=config.input_size, registers=config.registers,
        mean_db=tuple(mean_db.tolist()), deviation_db=deviation_db,
        seconds_per_frame=cube.window_s / config.input_size[1], mel_first_hz=float(cube.mel_hz[0]),
        mel_last_hz=float(cube.mel_hz[-1]), run=run.name, config_id=run.config_id,
    )  # fmt: skip
