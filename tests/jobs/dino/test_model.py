import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from jobs.common.network.card import ModelCard
from jobs.dino.config import Config
from jobs.dino.loss import dino_loss, teacher_probabilities
from jobs.dino.model import Head, build_pair, follow

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]
Codes = NDArray[np.uint8]


def test_the_head_gives_cosines_with_its_prototypes(make_config: MakeConfig) -> None:
    torch.manual_seed(0)
    head = Head(32, make_config(head_layers=1))
    layer = head.layers[0]
    assert isinstance(layer, nn.Linear)
    x = torch.randn(5, 32)
    y = (x @ layer.weight.T + layer.bias).detach().numpy()
    prototypes = head.prototypes.detach().numpy()
    expected = y @ prototypes.T / np.linalg.norm(y, axis=1)[:, None] / np.linalg.norm(prototypes, axis=1)
    np.testing.assert_allclose(head(x).detach(), expected, atol=1e-6)


def test_the_head_has_the_layers_asked_for(make_config: MakeConfig) -> None:
    head = Head(32, make_config(head_layers=3, head_hidden=48, head_bottleneck=16))
    shapes = {name: tuple(value.shape) for name, value in head.named_parameters()}
    assert shapes == {
        "prototypes": (64, 16),
        "layers.0.weight": (48, 32),
        "layers.0.bias": (48,),
        "layers.2.weight": (48, 48),
        "layers.2.bias": (48,),
        "layers.4.weight": (16, 48),
        "layers.4.bias": (16,),
    }


def test_the_length_of_a_prototype_says_nothing(make_config: MakeConfig) -> None:
    head = Head(32, make_config())
    x = torch.randn(3, 32)
    before = head(x).detach()
    with torch.no_grad():
        head.prototypes.mul_(7.0)
    torch.testing.assert_close(head(x).detach(), before)


def test_in_bf16_the_cosines_are_fp32(make_config: MakeConfig) -> None:
    head = Head(32, make_config())
    with torch.autocast("cpu", torch.bfloat16):
        assert head(torch.randn(3, 32)).dtype == torch.float32


def test_the_first_loss_is_that_of_the_number_of_prototypes(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes
) -> None:
    # In a wide bottleneck random directions are nearly orthogonal; narrower ones begin elsewhere.
    config = make_config(head_bottleneck=4096, n_prototypes=1024)
    pair = build_pair(make_card(config, codes), config)
    views = torch.randn(4, 8, 32, 32)
    with torch.no_grad():
        teacher = teacher_probabilities(pair.teacher([views[:2]])[1], torch.zeros(1024), 0.04)
        loss = dino_loss(pair.student([views])[1], teacher, 0.1)
    assert loss.item() == pytest.approx(math.log(1024), rel=0.01)


def test_groups_come_out_in_their_order(make_config: MakeConfig, make_card: MakeCard, codes: Codes) -> None:
    config = make_config()
    network = build_pair(make_card(config, codes), config).teacher
    large, small = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 8)
    with torch.no_grad():
        pooled, logits, _ = network([large, small])
        for i, group in enumerate((large, small)):
            for j in range(2):
                tokens = network.backbone.forward_features(group[j][:, None])
                torch.testing.assert_close(pooled[2 * i + j], tokens[:, 1:].mean(dim=1))
                torch.testing.assert_close(logits[2 * i + j], network.head(pooled[2 * i + j]))


def test_the_class_token_can_be_pooled(make_config: MakeConfig, make_card: MakeCard, codes: Codes) -> None:
    config = make_config(pooling="class")
    network = build_pair(make_card(config, codes), config).teacher
    views = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = network.backbone.forward_features(views[0][:, None])[:, 0]
        torch.testing.assert_close(network([views])[0][0], expected)


def test_the_teacher_starts_as_the_student_and_learns_nothing_itself(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes
) -> None:
    config = make_config(drop_path=0.3)
    card = make_card(config, codes)
    pair = build_pair(card, config)
    assert all(torch.equal(pair.teacher.state_dict()[k], v) for k, v in pair.student.state_dict().items())
    assert not any(value.requires_grad for value in pair.teacher.parameters())
    assert all(value.requires_grad for value in pair.student.parameters())
    assert pair.student.training
    assert not any(module.training for module in pair.teacher.modules())
    names = {type(module).__name__ for module in pair.teacher.modules()}
    assert "DropPath" in {type(module).__name__ for module in pair.student.modules()}
    assert "DropPath" not in names


def test_weights_follow_from_the_seed_and_leave_torchs_generator_alone(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes
) -> None:
    config = make_config()
    card = make_card(config, codes)
    before = torch.get_rng_state()
    first, again = build_pair(card, config).student, build_pair(card, config).student
    other = build_pair(card, make_config(seed=1)).student
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.head.prototypes, again.head.prototypes)
    assert not torch.equal(first.head.prototypes, other.head.prototypes)


def test_the_teacher_follows_as_the_closed_form_says() -> None:
    teacher, student = nn.Linear(3, 2), nn.Linear(3, 2)
    begin = teacher.weight.detach().clone()
    for _ in range(10):
        follow(teacher, student, torch.tensor(0.1))
    expected = student.weight + (begin - student.weight) * 0.9**10
    torch.testing.assert_close(teacher.weight.detach(), expected.detach(), atol=1e-6, rtol=0)
    kept = teacher.weight.detach().clone()
    follow(teacher, student, torch.tensor(0.0))
    assert torch.equal(teacher.weight, kept)
    follow(teacher, student, torch.tensor(1.0))
    torch.testing.assert_close(teacher.weight, student.weight)


def test_weights_are_paired_by_name_not_by_order() -> None:
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    teacher = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    student = nn.ModuleDict({"b": b, "a": a})
    follow(teacher, student, torch.tensor(1.0))
    torch.testing.assert_close(teacher["a"].weight, a.weight)
    with pytest.raises(AssertionError, match="names differ"):
        follow(teacher, nn.ModuleDict({"a": a}), torch.tensor(1.0))
