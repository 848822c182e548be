from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.common.network.backbone import build_backbone
from jobs.common.network.card import ModelCard
from jobs.common.training.optim import build_optimizer, clip_gradients, parameter_groups, set_rates
from jobs.dino.config import Config
from jobs.dino.model import Network, build_pair

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]

BLOCK = {
    "decayed": ["attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight"],
    "others": [
        "norm1.weight", "norm1.bias", "attn.qkv.bias", "attn.proj.bias",
        "norm2.weight", "norm2.bias", "mlp.fc1.bias", "mlp.fc2.bias",
    ],
}  # fmt: skip


def expected_names(depth: int) -> tuple[list[str], list[str]]:
    decayed = [f"backbone.blocks.{i}.{name}" for i in range(depth) for name in BLOCK["decayed"]]
    decayed += [f"head.layers.{i}.weight" for i in (0, 2, 4)]
    decayed += ["backbone.patch_embed.proj.weight", "head.prototypes"]
    others = [f"backbone.blocks.{i}.{name}" for i in range(depth) for name in BLOCK["others"]]
    others += [f"head.layers.{i}.bias" for i in (0, 2, 4)]
    others += [
        "backbone.cls_token",
        "backbone.pos_embed",
        "backbone.patch_embed.proj.bias",
        "backbone.norm.weight",
        "backbone.norm.bias",
    ]
    return sorted(decayed), sorted(others)


def test_exactly_the_matrices_decay(make_config: MakeConfig, make_card: MakeCard, codes: NDArray[np.uint8]) -> None:
    config = make_config()
    student = build_pair(make_card(config, codes), config).student
    decayed, others = parameter_groups(student)
    assert (sorted(decayed), sorted(others)) == expected_names(depth=2)
    optimizer = build_optimizer(student)
    grouped = [id(value) for group in optimizer.param_groups for value in group["params"]]
    assert sorted(grouped) == sorted(id(value) for value in student.parameters())


def test_exactly_the_matrices_of_vit_small_decay(make_card: MakeCard, codes: NDArray[np.uint8]) -> None:
    config = Config(precision="fp32")
    with torch.device("meta"):
        network = Network(build_backbone(make_card(config, codes)), config)
    decayed, others = parameter_groups(network)
    assert (sorted(decayed), sorted(others)) == expected_names(depth=12)
    assert sum(value.numel() for value in network.backbone.parameters()) == 21_469_056


def test_only_the_first_group_decays() -> None:
    optimizer = build_optimizer(torch.nn.Linear(2, 2))
    set_rates(optimizer, lr=0.5, weight_decay=0.25)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [
        (0.5, 0.25),
        (0.5, 0.0),
    ]


def with_gradients(*gradients: list[float]) -> list[Tensor]:
    parameters = []
    for gradient in gradients:
        parameter = torch.zeros(len(gradient), requires_grad=True)
        parameter.grad = torch.tensor(gradient)
        parameters.append(parameter)
    return [*parameters, torch.zeros(2, requires_grad=True)]


def gradients_of(parameters: list[Tensor]) -> list[list[float] | None]:
    return [None if p.grad is None else p.grad.tolist() for p in parameters]


def test_gradients_are_clipped_one_by_one() -> None:
    parameters = with_gradients([3.0, 4.0], [0.6, 0.8])
    total = clip_gradients(parameters, Config(clip=2.5, clip_mode="per_parameter"))
    assert total.item() == pytest.approx(26**0.5)
    assert gradients_of(parameters)[0] == pytest.approx([1.5, 2.0])
    assert gradients_of(parameters)[1:] == [pytest.approx([0.6, 0.8]), None]


def test_gradients_are_clipped_together() -> None:
    parameters = with_gradients([3.0, 4.0], [0.6, 0.8])
    clip_gradients(parameters, Config(clip=2.5, clip_mode="global"))
    scale = 2.5 / 26**0.5
    assert gradients_of(parameters)[0] == pytest.approx([3 * scale, 4 * scale], rel=1e-5)
    assert gradients_of(parameters)[1] == pytest.approx([0.6 * scale, 0.8 * scale], rel=1e-5)


def test_zero_does_not_clip() -> None:
    parameters = with_gradients([3.0, 4.0])
    assert clip_gradients(parameters, Config(clip=0)).item() == pytest.approx(5.0)
    assert gradients_of(parameters)[0] == [3.0, 4.0]
