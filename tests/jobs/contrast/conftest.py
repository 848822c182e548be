from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stores import make_cube, random_codes

from jobs.common.run import Run
from jobs.contrast.config import Config

MakeConfig = Callable[..., Config]


@pytest.fixture
def make_config() -> MakeConfig:
    """Return a maker of configurations of a tiny training on windows of 32 bands and 64 frames."""

    def make(**changes: Any) -> Config:
        tiny: dict[str, Any] = {
            "batch_size": 32, "steps": 6, "view_frames": 16, "precision": "fp32", "bands": 32, "frame_s": 0.001,
        }  # fmt: skip
        if "epochs" in changes:
            del tiny["steps"]
        return Config(**{**tiny, **changes})

    return make


@pytest.fixture
def codes() -> NDArray[np.uint8]:
    """Return 80 windows among 576 cells, some partial, one recorder without the upper bands."""
    codes = random_codes(n_mels=32, n_frames=64, n_days=2, n_per_day=20, n_kinds=8)
    codes[1, :, 28:] = 0
    return codes


@pytest.fixture
def cube(tmp_path: Path, codes: NDArray[np.uint8]) -> Run:
    return make_cube(tmp_path / "lake", codes)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
