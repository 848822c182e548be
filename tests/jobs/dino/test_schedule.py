import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.common.training.schedule import cosine, ramp
from jobs.dino.config import Config
from jobs.dino.schedule import pace


def cosine_scheduler(
    base: float, final: float, n_iters: int, warmup_iters: int, start_warmup: float = 0.0
) -> NDArray[np.float64]:
    """Say utils.cosine_scheduler of facebookresearch/dino again."""
    warmup = np.linspace(start_warmup, base, warmup_iters) if warmup_iters > 0 else np.array([])
    iters = np.arange(n_iters - warmup_iters)
    schedule = final + 0.5 * (base - final) * (1 + np.cos(np.pi * iters / len(iters)))
    return np.concatenate((warmup, schedule))


@pytest.mark.parametrize(("total", "n_warmup"), [(20, 0), (20, 1), (20, 5), (20, 19), (1, 0), (500, 40)])
def test_every_value_equals_the_references(total: int, n_warmup: int) -> None:
    expected = cosine_scheduler(0.7, 0.01, total, n_warmup)
    found = [cosine(step, total, start=0.7, end=0.01, n_warmup=n_warmup) for step in range(total)]
    assert len(expected) == total
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_values_of_a_training() -> None:
    config = Config(batch_size=512, teacher_temperature=0.07, freeze_last_layer=0.1)
    paces = [pace(step, 100, config) for step in range(100)]
    np.testing.assert_allclose([p.lr for p in paces], cosine_scheduler(5e-4 * 2, 1e-6, 100, 10), atol=1e-12)
    np.testing.assert_allclose([p.weight_decay for p in paces], cosine_scheduler(0.04, 0.4, 100, 0), atol=1e-12)
    np.testing.assert_allclose([p.teacher_momentum for p in paces], cosine_scheduler(0.996, 1.0, 100, 0), atol=1e-12)
    temperatures = np.concatenate([np.linspace(0.04, 0.07, 30), np.full(70, 0.07)])
    np.testing.assert_allclose([p.teacher_temperature for p in paces], temperatures, atol=1e-12)
    assert [p.is_frozen for p in paces] == [True] * 10 + [False] * 90


def test_the_rise_ends_where_the_fall_begins() -> None:
    values = [cosine(step, 50, start=2.0, end=0.5, n_warmup=11) for step in range(51)]
    assert values[0] == 0.0
    assert values[10] == values[11] == 2.0
    assert values[50] == 0.5
    assert all(a >= b for a, b in itertools.pairwise(values[11:]))


@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_any_warm_up_fits_any_length(total: int, lr: float, temperature: float, freeze: float) -> None:
    config = Config(lr_warmup=lr, teacher_temperature_warmup=temperature, freeze_last_layer=freeze)
    for step in range(total):
        now = pace(step, total, config)
        assert 0 <= now.lr <= 5e-4 * 2 + 1e-12
        assert 0.04 - 1e-12 <= now.weight_decay <= 0.4 + 1e-12
        assert 0.996 - 1e-12 <= now.teacher_momentum <= 1.0 + 1e-12


def test_the_learning_rate_is_for_256_windows() -> None:
    def highest(batch_size: int) -> float:
        return max(pace(step, 10, Config(batch_size=batch_size)).lr for step in range(10))

    assert highest(256) == pytest.approx(5e-4)
    assert highest(32) == pytest.approx(5e-4 / 8)
    assert highest(1024) == pytest.approx(2e-3)


def test_a_ramp() -> None:
    assert [ramp(step, 3, start=1.0, end=2.0) for step in range(5)] == [1.0, 1.5, 2.0, 2.0, 2.0]


def test_the_length_of_a_training() -> None:
    assert Config(epochs=3, batch_size=100).steps_of(1000) == 30
    assert Config(epochs=1, batch_size=100).steps_of(1050) == 10
    assert Config(epochs=0.001, batch_size=100).steps_of(100) == 1
    assert Config(epochs=3, steps=7).steps_of(1000) == 7
