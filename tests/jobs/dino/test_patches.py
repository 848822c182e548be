import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jobs.common.network.card import ModelCard
from jobs.dino.config import Config
from jobs.dino.loss import SPREAD_GROUP, spread_loss, teacher_probabilities
from jobs.dino.patches import moved_patch_center, patch_loss, patch_masks
from jobs.dino.train import advance, new_state

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]
Codes = NDArray[np.uint8]


def numbers(n: int = 8, first: int = 0) -> NDArray[np.int64]:
    return np.arange(first, first + n, dtype=np.int64)


def test_masks_are_whole_patches_in_the_shares_asked_for(make_config: MakeConfig, cpu: torch.device) -> None:
    config = make_config(recipe="dino-plus", ibot_share=0.5, ibot_mask=(0.25, 0.5))
    masks = patch_masks(numbers(200), config, cpu)
    assert masks.shown.shape == (2, 200, 32, 32)
    patches = masks.shown.unfold(2, 16, 16).unfold(3, 4, 4).flatten(4)  # (2, 200, 2, 8, 64)
    assert (patches == patches[..., :1]).all()
    lost = (patches[..., 0] == 0).flatten(2)
    assert torch.equal(lost.flatten().nonzero()[:, 0], masks.index)
    share = lost.float().mean(dim=2)
    assert 0.4 < (share > 0).float().mean() < 0.6
    assert share[share > 0].min() >= 0.25
    assert share.max() <= 0.5
    torch.testing.assert_close(masks.weight.sum(), (share > 0).float().mean())


def test_masks_follow_from_seed_sample_and_view(make_config: MakeConfig, cpu: torch.device) -> None:
    config = make_config(recipe="dino-plus", ibot_share=1.0)
    whole, second = patch_masks(numbers(16), config, cpu), patch_masks(numbers(8, first=8), config, cpu)
    assert torch.equal(whole.shown[:, 8:], second.shown)
    assert not torch.equal(whole.shown[0], whole.shown[1])
    assert not torch.equal(whole.shown, patch_masks(numbers(16), make_config(ibot=1.0, seed=1), cpu).shown)


def test_the_loss_of_patches_is_that_of_a_slow_twin(make_config: MakeConfig, cpu: torch.device) -> None:
    config = make_config(recipe="dino-plus", ibot_share=0.7)
    masks, random = patch_masks(numbers(), config, cpu), torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 8, 16, 5, generator=random, dtype=torch.float64) for _ in range(2))
    center = torch.randn(5, generator=random, dtype=torch.float64)
    expected = 0.0
    lost = torch.zeros(2 * 8 * 16, dtype=torch.bool)
    lost[masks.index] = True
    for view in range(2):
        for window in range(8):
            mine = lost.reshape(2, 8, 16)[view, window].nonzero()[:, 0].tolist()
            for patch in mine:
                t = torch.exp((teacher[view, window, patch] - center) / 0.04)
                s = torch.exp(student[view, window, patch] / 0.1)
                expected -= float((t / t.sum() * torch.log(s / s.sum())).sum()) / len(mine) / 16
    there = teacher_probabilities(teacher.flatten(0, 2)[masks.index], center, 0.04)
    found = patch_loss(student.flatten(0, 2)[masks.index], there, masks.weight.double(), 0.1)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_no_masked_patch_costs_nothing(make_config: MakeConfig, cpu: torch.device) -> None:
    masks = patch_masks(numbers(), make_config(ibot=1.0, ibot_share=0.0), cpu)
    assert masks.shown.all()
    nothing = torch.empty(0, 5)
    assert patch_loss(nothing, nothing, masks.weight, 0.1).item() == 0.0
    assert torch.equal(moved_patch_center(torch.ones(5), nothing, 0.9), torch.ones(5))


def test_the_patches_centre_is_a_running_mean() -> None:
    center, logits = torch.ones(3), torch.arange(12.0).reshape(4, 3)
    torch.testing.assert_close(moved_patch_center(center, logits, 0.9), 0.9 * center + 0.1 * logits.mean(dim=0))


def test_the_loss_of_nearness_is_that_of_a_slow_twin() -> None:
    features = torch.randn(2, SPREAD_GROUP + 9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = features / features.norm(dim=2, keepdim=True)
    expected = 0.0
    for view in range(2):
        for first, last in ((0, SPREAD_GROUP), (SPREAD_GROUP, SPREAD_GROUP + 9)):
            for i in range(first, last):
                near = min(float((unit[view, i] - unit[view, j]).norm()) for j in range(first, last) if j != i)
                expected -= math.log(near) / (2 * (SPREAD_GROUP + 9))
    assert spread_loss(features).item() == pytest.approx(expected, abs=1e-9)


def test_duplicates_and_a_lone_window_stay_finite() -> None:
    features = torch.ones(2, 8, 4, requires_grad=True)  # a length of 2, so that no digit is rounded
    loss = spread_loss(features)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    assert loss.item() == pytest.approx(-math.log(1e-4))
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert spread_loss(torch.randn(1, 1, 6)).isfinite()


@pytest.mark.parametrize(
    "changes",
    [
        {"ibot": 1.0},
        {"koleo": 0.1},
        {"registers": 4},
        {"recipe": "dino-plus"},
        {"recipe": "dino-plus", "patch_size": (32, 4)},
        {"recipe": "dino-plus", "pooling": "class", "precision": "bf16"},
    ],
)
def test_each_part_of_the_recipes_trains_alone(
    changes: dict[str, object], make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    config = make_config(**changes, lr_warmup=0.0, ibot_share=1.0)
    card = make_card(config, codes).model_copy(update={"registers": config.n_registers})
    state, plain = new_state(card, config, cpu), make_config()
    prefix = state.pair.student.backbone.num_prefix_tokens
    assert prefix == 1 + config.n_registers
    twin = new_state(make_card(plain, codes), plain, cpu)
    batch = torch.from_numpy(codes[:8])
    seen = advance(state, batch, numbers(), card=card, config=config, n_steps=10)
    expected = advance(twin, batch, numbers(), card=card, config=plain, n_steps=10)
    assert seen.loss.isfinite()
    assert seen.loss.item() != expected.loss.item()
    assert state.patch_center.any() == bool(config.ibot_weight)
    missing = [name for name, value in state.pair.student.named_parameters() if value.grad is None]
    assert not missing
