"""A training that begins with the weights of another run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from stores import make_cube, random_codes

from jobs.common.network.backbone import load_backbone
from jobs.dino.command import train
from jobs.dino.config import Config
from lake.errors import InputError

MakeConfig = Callable[..., Config]


def test_both_networks_begin_with_the_backbone_of_another_run(tmp_path: Path, make_config: MakeConfig) -> None:
    url = make_cube(tmp_path / "lake", random_codes(n_mels=32, n_frames=64)).output.url
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    train(url, first, make_config(steps=2), config_id="a", run="first", device="cpu")
    train(url, second, make_config(steps=1), config_id="b", run="second", device="cpu", init=first)
    expected = load_backbone(first)[0].state_dict()
    begun = load_backbone(second, "initial")[0].state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in begun.items())
    with pytest.raises(
        InputError, match=r"init: the network of 'first' has another shape: depth: 1, that of 'first': 2"
    ):
        train(url, str(tmp_path / "x"), make_config(depth=1), config_id="c", run="x", device="cpu", init=first)
    assert not (tmp_path / "x").exists()
