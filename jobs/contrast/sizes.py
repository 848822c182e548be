"""Estimate what a training needs: steps, operations, disk and memory."""

import torch

from jobs.common.frames.network import CHANNELS, GROUP, STRIDES, WIDTH
from jobs.common.memory import size
from jobs.common.training import checkpoint
from jobs.common.training.session import Extent
from jobs.contrast.config import Config
from jobs.contrast.step import Model

N_VIEWS = 2
N_PRODUCTS = 8
"""Files of a training besides its checkpoints, at most."""
SMALL_BYTES = 2_000_000
"""Bytes that a training writes besides weights: metrics, their plot, and headers of the files of weights."""
KEPT = 3.0
"""Times that what the convolutions give is kept for the backward pass: itself, normalised, rectified."""


def described(found: Extent, config: Config, n_bands: int, n_frames: int) -> list[str]:
    """Return lines on a training.

    Parameters
    ----------
    found
        What it trains on, and how.
    config
        Settings.
    n_bands, n_frames
        Of a window at the network's bands and frames.
    """
    n_windows, n_mels, n_cube_frames = found.shape
    total = config.steps_of(n_windows)
    n_samples = total * config.batch_size
    flops = flops_per_window(n_bands, config.view_frames)
    network, head = parameters(n_bands)
    disk = 8 * network + (checkpoint.KEEP + 1) * 12 * (network + head) + SMALL_BYTES
    together = GROUP if found.n_micro > 1 else config.batch_size / found.n_processes
    held = together * N_VIEWS * _activations(n_bands, config.view_frames) * 4 * KEPT
    passes = f", {n_samples / n_windows:.1f} passes" if n_windows else ""
    seconds = n_samples / found.rate if found.rate else None
    time = (
        f"time: {seconds / 60:.0f} min at {found.rate:,.0f} windows/s ({found.source})"
        if seconds is not None
        else "time: not known, nobody measured windows/s here; about 200 a second on one CPU core with bf16"
    )
    return [
        f"{n_windows:,} windows of {n_mels} x {n_cube_frames}, {n_bands} x {n_frames} for the network",
        f"{total:,} steps of {config.batch_size} windows{passes}; views: {N_VIEWS} of {n_bands} x {config.view_frames}",
        f"{flops / 1e6:.0f} M operations a window, {flops * n_samples:.3g} in all",
        f"network: {network / 1e3:.0f} k parameters, and {head / 1e3:.0f} k of the head, which is not kept",
        f"disk: up to {size(disk)} in {checkpoint.KEEP + 1 + N_PRODUCTS} files",
        f"memory of each of {found.n_processes} processes: about {size(int(held))} for {together:g} windows' views",
        time,
    ]


def parameters(n_bands: int) -> tuple[int, int]:
    """Return the number of parameters of the network and of its head; allocates nothing."""
    with torch.device("meta"):
        model = Model(n_bands)
    network, head = (sum(value.numel() for value in part.parameters()) for part in (model.net, model.head))
    return network, head


def checkpoint_bytes(n_bands: int) -> int:
    """Return what a checkpoint takes: weights and two moments."""
    return 12 * sum(parameters(n_bands))


def flops_per_window(n_bands: int, n_frames: int) -> float:
    """Return the floating-point operations that training takes for one window, both its views.

    Returns
    -------
    float
        Multiplications and additions count one each; forward and backward count three times.
    """
    total, bands, frames = 0.0, n_bands, n_frames
    for i, stride in enumerate(STRIDES):
        bands, frames = -(-bands // stride[0]), -(-frames // stride[1])
        total += 2.0 * 9 * CHANNELS[i] * CHANNELS[i + 1] * bands * frames
    total += 2.0 * frames * (CHANNELS[-1] * bands * WIDTH + WIDTH * WIDTH)
    return 3 * N_VIEWS * total


def _activations(n_bands: int, n_frames: int) -> int:
    """Return how many numbers the convolutions give for one view."""
    total, bands, frames = 0, n_bands, n_frames
    for i, stride in enumerate(STRIDES):
        bands, frames = -(-bands // stride[0]), -(-frames // stride[1])
        total += CHANNELS[i + 1] * bands * frames
    return total
