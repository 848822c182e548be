import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jobs.common.network.card import ModelCard
from jobs.common.network.inputs import prepare, resize
from jobs.dino import kernels
from jobs.dino.config import Config
from jobs.dino.quick import views_of
from jobs.dino.views import Views, make_views

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]
Codes = NDArray[np.uint8]


def noise(n: int, shape: tuple[int, int] = (128, 160)) -> Codes:
    """Return windows that are shrunk for views of (32, 32), one in three with gaps."""
    codes = np.random.default_rng(5).integers(1, 256, (n, *shape), dtype=np.uint8)
    codes[::3, :, 100:] = 0
    codes[1::6, 90:] = 0
    return codes


def everything(views: Views) -> list[torch.Tensor]:
    return [views.teacher, *views.student]


def test_powers_and_logarithms_are_right_to_the_last_digits() -> None:
    x = np.linspace(-125.5, 125.5, 20_001).astype(np.float32)
    found = np.array([kernels.exp2(value) for value in x])
    np.testing.assert_allclose(found, np.exp2(x.astype(np.float64)), rtol=2e-7)
    assert kernels.exp2(np.float32(-1000.0)) == 2.0**-126
    assert kernels.exp2(np.float32(1000.0)) == 2.0**126
    back = np.array([kernels.log2(value) for value in found])
    np.testing.assert_allclose(back, np.log2(found.astype(np.float64)), rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("size", [(64, 80), (32, 80), (128, 160), (16, 10), (4, 5), (1, 1)])
def test_shrunk_windows_are_means_of_blocks(size: tuple[int, int]) -> None:
    codes = noise(6)
    rows, columns = 128 // size[0], 160 // size[1]
    offset = np.linspace(-3, 3, size[0]).astype(np.float32)
    for window in codes:
        out = np.empty(size, dtype=np.float32)
        assert kernels.shrink(window, np.float32(0.5 / rows / columns), offset, out) == bool((window == 0).any())
        expected = window.reshape(size[0], rows, size[1], columns).mean(axis=(1, 3)) * 0.5 + offset[:, None]
        np.testing.assert_allclose(out, expected, atol=1e-4)


def test_as_many_rows_as_fit_into_16_bits_are_summed() -> None:
    codes = np.full((kernels.MOST_ROWS, 2), 255, dtype=np.uint8)
    out = np.empty((1, 1), dtype=np.float32)
    kernels.shrink(codes, np.float32(1 / codes.size), np.zeros(1, dtype=np.float32), out)
    assert out[0, 0] == pytest.approx(255)


def test_loudness_is_the_running_sum_above_the_lowest_level() -> None:
    x = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    level = x.mean(axis=0)
    np.testing.assert_allclose(kernels.loudness(x), np.cumsum(level - level.min() + 1e-3), atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"active_share": 1.0, "mix_share": 1.0},
        {"active_share": 0.0, "mix_share": 0.0, "mask_share": 0.0},
        {"mask_teacher": True, "mask_share": 1.0},
        {"global_time_span": (1.0, 1.0), "global_mel_span": (1.0, 1.0), "mel_shift": 0.2, "n_local": 0},
        {"local_mel_span": (0.2, 1.4), "mel_shift": 0.5, "n_local": 7, "local_time_span": (0.01, 0.02)},
    ],
)
@pytest.mark.parametrize("n", [1, 19])
def test_views_of_large_windows_are_those_of_the_slow_twin(
    n: int, changes: dict[str, Any], make_config: MakeConfig, make_card: MakeCard
) -> None:
    codes, samples = noise(n), np.arange(100, 100 + n, dtype=np.int64)
    config = make_config(**changes)
    card = make_card(config, codes)
    found = everything(views_of(torch.from_numpy(codes), samples, card, config))
    expected = everything(make_views(prepare(torch.from_numpy(codes), card), samples, card.deviation_db, config))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=3e-4, rtol=0)
        assert torch.equal(one == 0, other == 0)


def test_recorders_backgrounds_are_taken_off(make_config: MakeConfig, make_card: MakeCard) -> None:
    codes, samples, config = noise(9), np.arange(9, dtype=np.int64), make_config()
    backgrounds = {name: tuple(np.linspace(low, -40.0, 128).tolist()) for name, low in (("a", -90.0), ("b", -60.0))}
    card = make_card(config, codes).model_copy(update={"background_db": backgrounds})
    recorder = ["a", "b", "a"] * 3
    found = everything(views_of(torch.from_numpy(codes), samples, card, config, recorder=recorder))
    x = prepare(torch.from_numpy(codes), card, recorder)
    for one, other in zip(found, everything(make_views(x, samples, card.deviation_db, config)), strict=True):
        torch.testing.assert_close(one, other, atol=3e-4, rtol=0)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_views_have_the_same_bits_whatever_the_threads_and_the_share(
    n_threads: int, make_config: MakeConfig, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, samples, config = noise(24), np.arange(24, dtype=np.int64), make_config()
    card = make_card(config, codes)
    whole = everything(views_of(torch.from_numpy(codes), samples, card, config))
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    part = everything(views_of(torch.from_numpy(codes[8:]), samples[8:], card, config))
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one[:, 8:], other)


def test_windows_that_do_not_shrink_evenly_are_left_to_tensors(
    make_config: MakeConfig, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, config = noise(2, (130, 131)), make_config()
    card = make_card(config, codes)
    monkeypatch.delattr(kernels, "crop")
    views = views_of(torch.from_numpy(codes), np.arange(2), card, config)
    assert all(math.isfinite(view.abs().max().item()) for view in everything(views))
    small = resize(prepare(torch.from_numpy(codes), card), (65, 65))
    expected = make_views(small, np.arange(2), card.deviation_db, config)
    for one, other in zip(everything(views), everything(expected), strict=True):
        torch.testing.assert_close(one, other)
