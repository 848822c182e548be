"""One step: parts of a batch, sums as a tree, silence, and what ends a training."""

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.common.frames.network import GROUP
from jobs.contrast.config import Config
from jobs.contrast.loss import nt_xent
from jobs.contrast.step import MakeViews, Model, advance, new_state, packed, rate, restore, signals, tree_sum

MakeConfig = Callable[..., Config]
CPU = torch.device("cpu")


def views(n: int, seed: int = 0) -> torch.Tensor:
    """Return two views of windows that differ by less than windows do, shape (2, n, 1, 32, 16)."""
    random = torch.Generator().manual_seed(seed)
    windows = torch.randn(1, n, 1, 32, 16, generator=random)
    return windows + 0.3 * torch.randn(2, n, 1, 32, 16, generator=random)


def parts_of(given: torch.Tensor) -> MakeViews:
    return lambda part: given[:, part]


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_step_is_that_of_plain_autograd(make_config: MakeConfig) -> None:
    config, n = make_config(batch_size=64, clip=0.0, lr_warmup=0.0), 64
    state, plain = (new_state(32, 0, CPU, "fp32") for _ in range(2))
    given = views(n)
    seen = advance(state, parts_of(given), torch.arange(n), config, n_steps=10)
    out = torch.cat([plain.model(given[:, first : first + GROUP]) for first in (0, 32)], dim=1)
    loss = nt_xent(out.flatten(0, 1), torch.arange(n).repeat(2), config.temperature)
    torch.autograd.backward(loss)
    assert seen.loss.item() == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in plain.model.named_parameters():
        found = dict(state.model.named_parameters())[name].grad
        torch.testing.assert_close(found, parameter.grad, rtol=1e-4, atol=1e-6, msg=name)
    norm = torch.linalg.vector_norm(
        torch.cat([p.grad.flatten() for p in plain.model.parameters() if p.grad is not None])
    )
    assert seen.gradient_norm.item() == pytest.approx(norm.item(), rel=1e-4)


def test_parts_that_are_computed_again_give_the_same_bits(make_config: MakeConfig) -> None:
    config, n = make_config(batch_size=128), 128
    found = []
    for n_micro in (1, 2, 4):
        state = new_state(32, 0, CPU, "fp32")
        for step in range(3):
            advance(state, parts_of(views(n, step)), torch.arange(n), config, n_steps=3, n_micro=n_micro)
        found.append(weights(state.model))
    for name, value in found[0].items():
        assert all(torch.equal(value, each[name]) for each in found[1:]), name


@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_shares_of_powers_of_two_add_up_to_the_same_bits(share: int, n_shares: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    parts = [torch.randn(3, generator=random) for _ in range(share * n_shares)]
    whole = tree_sum(parts)
    shares = [tree_sum(parts[first : first + share]) for first in range(0, len(parts), share)]
    assert torch.equal(tree_sum(shares), whole)
    torch.testing.assert_close(whole, torch.stack(parts).sum(dim=0), rtol=1e-4, atol=1e-5)


def test_a_state_goes_on_to_the_bit(make_config: MakeConfig) -> None:
    config = make_config()
    one, other = new_state(32, 0, CPU, "bf16"), new_state(32, 1, CPU, "fp32")
    for step in range(4):
        if step == 2:
            restore(other, deepcopy(packed(one)))
        for state in (one, other) if step >= 2 else (one,):
            advance(state, parts_of(views(32, step)), torch.arange(32), config, n_steps=4)
    assert other.precision == "bf16"
    for name, value in weights(one.model).items():
        assert torch.equal(value, other.model.state_dict()[name]), name


def test_another_networks_checkpoint_is_refused() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        restore(new_state(48, 0, CPU, "fp32"), packed(new_state(32, 0, CPU, "fp32")))
    with pytest.raises(ValueError, match="other names"):
        restore(new_state(32, 0, CPU, "fp32"), {"parameters": ["a"]})


def test_a_step_without_a_number_changes_nothing(make_config: MakeConfig) -> None:
    state = new_state(32, 0, CPU, "fp32")
    before = weights(state.model)
    given = views(32)
    given[0, 3] = torch.nan
    advance(state, parts_of(given), torch.arange(32), make_config(), n_steps=4)
    assert not state.is_sound
    assert all(torch.equal(value, before[name]) for name, value in weights(state.model).items())


def test_equal_views_have_a_finite_loss_and_say_nothing(make_config: MakeConfig) -> None:
    state = new_state(32, 0, CPU, "fp32")
    silence = torch.zeros(2, 32, 1, 32, 16)
    seen = advance(state, parts_of(silence), torch.arange(32), make_config(), n_steps=4)
    found = signals(seen)
    assert bool(state.is_sound)
    assert found["loss"] == pytest.approx(np.log(63), rel=1e-4)
    assert found["information"] == pytest.approx(0, abs=1e-3)
    assert found["feature_std"] == pytest.approx(0, abs=1e-3)


def test_the_rate_rises_and_falls_to_its_share() -> None:
    config = Config(lr=1e-3, lr_warmup=0.1, final_lr_share=0.02)
    rates = [rate(step, 100, config) for step in range(101)]
    assert rates[0] == 0
    assert max(rates) == rates[9] == rates[10] == 1e-3
    assert rates[100] == pytest.approx(2e-5)
    assert all(a > b for a, b in pairwise(rates[10:]))
