"""Estimate what a training takes, before it begins: steps, operations, files and memory."""

import torch

from jobs.common.network.card import ModelCard
from jobs.common.training import checkpoint
from jobs.dino.config import Config
from jobs.dino.flops import flops_per_window
from jobs.dino.model import build_pair
from lake.lengths import lasting

BYTES_PER_TOKEN_WIDTH: float = 34.0
"""What a block keeps for the backward pass, for each token and unit of width, when it computes in 16 bits and its
attention matrices are not kept (Korthikanti et al. 2022, arXiv:2205.05198, equation 2 without its last term)."""
N_PRODUCTS = 8
"""Files of a training other than checkpoints, at most."""
SMALL_BYTES = 2_000_000
"""What a training writes beside weights: the table of its steps and a picture of it, and what files hold of a tensor
beside its values."""


def described(
    shape: tuple[int, int, int], config: Config, *, n_processes: int, n_micro: int, rate: float | None, source: str
) -> list[str]:
    """Return lines on a training.

    Parameters
    ----------
    shape
        Number of windows, mel bands and frames.
    config
        Settings.
    n_processes, n_micro
        Processes that share each batch, and parts of a share.
    rate, source
        Windows/s of all processes, and where that figure is from; ``None`` where nobody measured it.
    """
    n_windows, n_mels, n_frames = shape
    total = config.steps_of(n_windows)
    backbone, head, width, depth = parameters(config)
    flops = flops_per_window(config, width, depth)
    share = config.batch_size / n_processes / n_micro
    each = 16 * (backbone + head)
    weights, states = 4 * backbone, 20 * (backbone + head)
    disk = 2 * weights + (checkpoint.KEEP + 1) * each + SMALL_BYTES
    n_samples = total * config.batch_size
    held = share * (tokens(config) * depth * width * BYTES_PER_TOKEN_WIDTH * (2 if config.precision == "fp32" else 1))
    logits = share * (2 * config.n_global + config.n_local) * config.n_prototypes * 4 * 3
    views = " and ".join(
        f"{n} of {size[0]} x {size[1]}"
        for n, size in ((config.n_global, config.global_size), (config.n_local, config.local_size))
        if n
    )
    time = (
        f"time: {lasting(n_samples / rate)} at {rate:,.0f} windows/s ({source})"
        if rate
        else f"time: not known, nobody measured windows/s here ({source})"
    )
    return [
        f"{n_windows:,} windows of {n_mels} x {n_frames}, {_bytes(n_windows * n_mels * n_frames)} of codes",
        f"{total:,} steps of {config.batch_size} windows, {n_samples / n_windows:.1f} passes; views: {views}",
        f"{flops / 1e9:.1f} G operations a window, {flops * n_samples:.3g} in all",
        f"network: {backbone / 1e6:.1f} M parameters, and {head / 1e6:.1f} M of the head, which is not kept",
        (
            f"disk: up to {_bytes(disk)} in {checkpoint.KEEP + 1 + N_PRODUCTS} files: 2 x {_bytes(weights)} of weights,"
            f" {checkpoint.KEEP + 1} checkpoints of {_bytes(each)}, and small ones"
        ),
        (
            f"memory of each of {n_processes} processes: {_bytes(states)} of weights, gradients and moments, about"
            f" {_bytes(held)} for {share:g} windows' blocks and {_bytes(logits)} for their logits"
        ),
        time,
    ]


def parameters(config: Config) -> tuple[int, int, int, int]:
    """Return the number of parameters of backbone and head, and the network's width and depth; allocates nothing."""
    card = ModelCard(
        arch=config.arch, embed_dim=config.embed_dim, depth=config.depth, num_heads=config.num_heads,
        patch_size=config.patch_size, input_size=config.global_size, mean_db=(0.0,), deviation_db=1.0,
        seconds_per_frame=1.0, mel_first_hz=0.0, mel_last_hz=1.0, run="", config_id="", registers=config.n_registers,
    )  # fmt: skip
    with torch.device("meta"):
        student = build_pair(card, config).student
    sizes = [sum(value.numel() for value in part.parameters()) for part in (student.backbone, student.head)]
    return sizes[0], sizes[1], int(student.backbone.num_features), len(student.backbone.blocks)


def tokens(config: Config) -> int:
    """Return the tokens of all views of a window, the student's."""
    n = 0
    for count, size in ((config.n_global, config.global_size), (config.n_local, config.local_size)):
        patches = (size[0] // config.patch_size[0]) * (size[1] // config.patch_size[1])
        n += count * (patches + 1 + config.n_registers)
    return n


def _bytes(n: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n / 1e3:.3g} kB"
