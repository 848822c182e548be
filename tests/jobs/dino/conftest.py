from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jobs.common.network.card import ModelCard
from jobs.common.network.levels import level_statistics
from jobs.common.training.data import from_array
from jobs.common.training.statistics import level_counts
from jobs.dino.config import Config

N_MELS, N_FRAMES = 32, 64

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]


@pytest.fixture
def make_config() -> MakeConfig:
    """Return a maker of configurations of a tiny training on windows of 32 bands and 64 frames."""

    def make(**changes: Any) -> Config:
        tiny: dict[str, Any] = {
            "arch": "vit_tiny_patch16_224",
            "embed_dim": 32,
            "depth": 2,
            "num_heads": 2,
            "patch_size": (16, 4),
            "pooling": "patch_mean",
            "head_hidden": 64,
            "head_bottleneck": 32,
            "n_prototypes": 64,
            "n_local": 2,
            "global_size": (32, 32),
            "local_size": (32, 8),
            "local_mel_span": (0.8, 1.0),
            "active_share": 0.5,
            "batch_size": 8,
            "steps": 10,
            "precision": "fp32",
            "lr": 0.03,
        }
        return Config(**{**tiny, **changes})

    return make


@pytest.fixture
def make_card() -> MakeCard:
    """Return a maker of the cards of windows."""

    def make(config: Config, codes: NDArray[np.uint8]) -> ModelCard:
        mean_db, deviation_db = level_statistics(level_counts(from_array(codes), config))
        return ModelCard(
            arch=config.arch,
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            patch_size=config.patch_size,
            input_size=config.global_size,
            mean_db=tuple(mean_db.tolist()),
            deviation_db=deviation_db,
            seconds_per_frame=0.05,
            mel_first_hz=60.0,
            mel_last_hz=15_000.0,
            run="net",
            config_id="c0ffee",
        )

    return make


@pytest.fixture
def codes() -> NDArray[np.uint8]:
    """Return 24 windows of noise, a tone in each, two of them with gaps."""
    random = np.random.default_rng(7)
    windows = random.normal(60, 6, (24, N_MELS, N_FRAMES))
    for i, band in enumerate(random.integers(0, N_MELS, 24)):
        windows[i, band] += 60
    out: NDArray[np.uint8] = windows.round().clip(1, 255).astype(np.uint8)
    out[3, :, 50:] = 0
    out[5, 28:] = 0
    return out


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")
