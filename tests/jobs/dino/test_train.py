import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from jobs.common.network.card import ModelCard
from jobs.common.network.inputs import gaps_of
from jobs.dino.config import Config
from jobs.dino.schedule import pace
from jobs.dino.train import State, advance, new_state, packed, restore

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]
Codes = NDArray[np.uint8]


def snapshot(state: State) -> dict[str, torch.Tensor]:
    weights = {f"student.{k}": v.clone() for k, v in state.pair.student.state_dict().items()}
    weights |= {f"teacher.{k}": v.clone() for k, v in state.pair.teacher.state_dict().items()}
    for i, values in state.optimizer.state_dict()["state"].items():
        weights |= {f"optimizer.{i}.{k}": v.clone() for k, v in values.items()}
    return {**weights, "center": state.center.clone()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def do(state: State, codes: Codes, card: ModelCard, config: Config, n: int, n_steps: int = 10) -> list[float]:
    losses = []
    for _ in range(n):
        samples = np.arange(8, dtype=np.int64) + 8 * state.step
        batch = torch.from_numpy(codes[samples % len(codes)])
        seen = advance(state, batch, samples, card=card, config=config, n_steps=n_steps)
        losses.append(seen.loss.item())
    return losses


def test_the_prototypes_stay_while_they_are_frozen(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    config = make_config(freeze_last_layer=0.3, lr_warmup=0.0)
    card = make_card(config, codes)
    state = new_state(card, config, cpu)
    begin = snapshot(state)
    do(state, codes, card, config, 3)
    frozen = snapshot(state)
    assert torch.equal(frozen["student.head.prototypes"], begin["student.head.prototypes"])
    assert not torch.equal(frozen["student.head.layers.4.weight"], begin["student.head.layers.4.weight"])
    do(state, codes, card, config, 1)
    assert not torch.equal(state.pair.student.head.prototypes, begin["student.head.prototypes"])


def test_every_weight_moves_and_the_teacher_goes_the_schedules_share_of_the_way(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    config = make_config(lr_warmup=0.0, freeze_last_layer=0.0, teacher_momentum=0.9)
    card = make_card(config, codes)
    state = new_state(card, config, cpu)
    do(state, codes, card, config, 1)
    begin = snapshot(state)
    do(state, codes, card, config, 1)
    end = snapshot(state)
    momentum = pace(1, 10, config).teacher_momentum
    for name in begin:
        if name.startswith("student."):
            assert not torch.equal(begin[name], end[name]), name
            twin = name.replace("student.", "teacher.", 1)
            expected = momentum * begin[twin] + (1 - momentum) * end[name]
            torch.testing.assert_close(end[twin], expected, atol=1e-6, rtol=1e-5)
    assert all(value.grad is None for value in state.pair.teacher.parameters())
    assert not state.pair.teacher.training


def test_the_centre_is_used_before_it_is_moved(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    config = make_config()
    card = make_card(config, codes)
    far = replace(new_state(card, config, cpu), center=torch.linspace(-1, 1, 64))
    near = new_state(card, config, cpu)
    assert do(far, codes, card, config, 1) != do(near, codes, card, config, 1)
    torch.testing.assert_close(far.center - near.center, 0.9 * torch.linspace(-1, 1, 64), atol=1e-6, rtol=0)


def test_a_restored_state_goes_on_bit_for_bit(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    config = make_config(drop_path=0.3)
    card = make_card(config, codes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = new_state(card, config, cpu)
        do(state, codes, card, config, 6)
        content = copy.deepcopy(packed(state, cpu))
        other = new_state(card, config, cpu)
        restore(other, content, cpu)
        expected = do(state, codes, card, config, 4)
        torch.set_rng_state(content["random"])
        assert do(other, codes, card, config, 4) == expected
    assert same(snapshot(state), snapshot(other))
    assert other.step == 10


def test_another_networks_state_is_refused(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    config = make_config()
    state = new_state(make_card(config, codes), config, cpu)
    wide, deep = make_config(head_hidden=32), make_config(depth=3)
    with pytest.raises(RuntimeError, match="size mismatch"):
        restore(state, packed(new_state(make_card(wide, codes), wide, cpu), cpu), cpu)
    with pytest.raises(ValueError, match="other names"):
        restore(state, packed(new_state(make_card(deep, codes), deep, cpu), cpu), cpu)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_no_number_changes_nothing(
    where: str, make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    config = make_config(lr_warmup=0.0)
    card = make_card(config, codes)
    state = new_state(card, config, cpu)
    do(state, codes, card, config, 2)
    if where == "loss":
        state.pair.student.head.layers.register_forward_hook(lambda _module, _inputs, output: output * math.nan)
    else:
        state.pair.student.head.layers.register_full_backward_hook(lambda *_: (torch.full((4, 8, 32), math.inf),))
    begin = snapshot(state)
    losses = do(state, codes, card, config, 3)
    assert not state.is_sound
    assert math.isnan(losses[0]) == (where == "loss")
    assert same(begin, snapshot(state))


def test_in_bf16_everything_that_lasts_is_fp32(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    half, full = make_config(precision="bf16"), make_config()
    card = make_card(half, codes)
    state, twin = new_state(card, half, cpu), new_state(card, full, cpu)
    dtypes: set[torch.dtype] = set()
    state.pair.student.backbone.patch_embed.register_forward_hook(
        lambda _module, _inputs, output: dtypes.add(output.dtype)
    )
    batch, samples = torch.from_numpy(codes[:8]), np.arange(8, dtype=np.int64)
    seen = advance(state, batch, samples, card=card, config=half, n_steps=10)
    expected = advance(twin, batch, samples, card=card, config=full, n_steps=10)
    assert dtypes == {torch.bfloat16}
    assert {seen.loss.dtype, seen.teacher.dtype, seen.gradient_norm.dtype} == {torch.float32}
    assert {value.dtype for value in snapshot(state).values()} == {torch.float32}
    assert seen.loss.item() == pytest.approx(expected.loss.item(), rel=0.02)


def test_a_training_without_local_views(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    config = make_config(n_local=0)
    card = make_card(config, codes)
    assert all(math.isfinite(loss) for loss in do(new_state(card, config, cpu), codes, card, config, 2))


class NeverAsked(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own is untyped
    """Fails where something asks for a value, or makes a shape of values: on a GPU the host would wait there."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: Any = None,
    ) -> Any:
        assert func._schema.name not in {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::unique"}
        if func._schema.name.startswith("aten::index"):
            index = args[1] if isinstance(args[1], (list, tuple)) else ()
            assert not any(each is not None and each.dtype == torch.bool for each in index)
        return func(*args, **(kwargs or {}))


def never_asked() -> AbstractContextManager[object]:
    return NeverAsked()  # type: ignore[no-untyped-call]  # torch's own is untyped


@pytest.mark.parametrize("recipe", ["dino", "dino-plus"])
def test_a_step_never_waits_for_the_device(
    recipe: str, make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    config = make_config(recipe=recipe, registers=0, drop_path=0.0)
    card = make_card(config, codes)
    state, twin = new_state(card, config, cpu), new_state(card, config, cpu)
    batch, samples = torch.from_numpy(codes[:8]), np.arange(8, dtype=np.int64)
    has_gap = gaps_of(codes[:8])
    assert has_gap.tolist() == [i == 3 for i in range(8)]  # the sixth window has no upper bands at all
    do(state, codes, card, config, 1)  # the optimiser's first step makes its state
    do(twin, codes, card, config, 1)
    with never_asked():
        seen = advance(state, batch, samples, card=card, config=config, n_steps=10, has_gap=has_gap)
    expected = advance(twin, batch, samples, card=card, config=config, n_steps=10)
    torch.testing.assert_close(seen.loss, expected.loss)
    with pytest.raises(AssertionError), never_asked():
        advance(state, batch, samples, card=card, config=config, n_steps=10)
