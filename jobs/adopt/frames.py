"""A network of frames, as ``contrast`` trains it, from a file of weights that has its card in it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from jobs.adopt.config import Config
from jobs.common.cubes import Cube, batches, drawn
from jobs.common.frames.card import FrameCard
from jobs.common.frames.network import FrameNet
from jobs.common.frames.resampling import Shape, resampler
from jobs.common.frames.stored import save_network, unpacked_network
from jobs.common.network.levels import count_codes, level_statistics
from jobs.common.run import Run
from lake.errors import InputError, StoreError


def adopted_network(run: Run[Config], path: Path, cube: Cube) -> tuple[Callable[[], str], int]:
    """Return what writes the network, and the number of windows that its card's levels are from.

    Raises
    ------
    InputError
        If it is no such file, or the cube is too coarse for its bands and frames, with the settings of one that is not.
    """
    net, card = network_of_file(run, path)
    shape = Shape(cube.mel_hz, cube.n_frames, cube.window_s)
    resample, _ = resampler(shape, np.array(card.mel_hz), card.seconds_per_frame)
    some = drawn(cube, run.config.n_statistics, run.config.seed)
    counts = count_codes(map(resample, batches(some)), card.n_bands)
    mean_db, deviation_db = level_statistics(counts[:, 1:], first_code=1)
    levels = {"mean_db": tuple(mean_db.tolist()), "deviation_db": deviation_db}
    own = card.model_copy(update={**levels, "began_with": card.run, "run": run.name, "config_id": run.config_id})
    return partial(save_network, run.output.url, net, own), len(some.windows)


def network_of_file(run: Run[Config], path: Path) -> tuple[FrameNet, FrameCard]:
    """Return the network in a file, with its card.

    Raises
    ------
    InputError
        If it is no such file.
    """
    try:
        return unpacked_network(path.read_bytes(), str(path))
    except StoreError as error:
        raise InputError(f"run {run.name!r}: {error} Name the backbone.safetensors of a run of contrast.") from error
