"""Views against a slow twin, one window and one number at a time."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jobs.common.frames.inputs import own_medians, standardised
from jobs.common.training.hashed import uniforms
from jobs.contrast.views import (
    DRAWS,
    MIX_GROUP,
    N_KNOTS,
    ViewSettings,
    cropped,
    draws_of,
    equaliser,
    make_views,
    masked,
    partners,
    with_others,
)

DEVIATION_DB = 9.0
HOW = ViewSettings(n_frames=24)
OFF = ViewSettings(
    n_frames=24, loud_share=0.0, mel_span=(1.0, 1.0), mel_shift=0.0, mix_share=0.0, floor_share=0.0, gain_db=0.0,
    eq_db=0.0, mask_share=0.0, own_median=0.0,
)  # fmt: skip


def windows(n: int = 8, n_mels: int = 16, n_frames: int = 40) -> NDArray[np.float32]:
    """Return windows with loud and quiet places."""
    return np.random.default_rng(3).normal(size=(n, 1, n_mels, n_frames)).astype(np.float32)


def drawn(samples: NDArray[np.int64] | None = None, seed: int = 5) -> dict[str, torch.Tensor]:
    return draws_of(seed, np.arange(8, dtype=np.int64) if samples is None else samples)


def slow_crop(x: NDArray[np.float32], draw: dict[str, float], how: ViewSettings) -> NDArray[np.float64]:
    """Return the crop of one window, shape (M, W)."""
    n_mels, n_frames = x.shape
    level = x.mean(axis=0, dtype=np.float64)
    loudness = np.cumsum(level - level.min() + 1e-3)
    centre = int(draw["centre"] * n_frames)
    if draw["is_loud"] < how.loud_share:
        centre = int(np.sum(loudness < draw["centre"] * loudness[-1]))
    height = how.mel_span[0] + (how.mel_span[1] - how.mel_span[0]) * draw["height"]
    shift = (2 * draw["shift"] - 1) * how.mel_shift
    out = np.zeros((n_mels, how.n_frames))
    for i in range(n_mels):
        place = (0.5 + shift + ((i + 0.5) / n_mels - 0.5) * height) * n_mels - 0.5
        for j in range(how.n_frames):
            column = (centre - how.n_frames // 2 + j) % n_frames
            for row in (math.floor(place), math.floor(place) + 1):
                if 0 <= row < n_mels:
                    out[i, j] += x[row, column] * (1 - abs(place - row))
    return out


def test_crops_are_those_of_a_slow_twin() -> None:
    x = windows()
    draws = drawn()
    found = cropped(torch.from_numpy(x), draws, HOW)
    assert found.shape == (2, 8, 16, 24)
    for v in range(2):
        for b in range(8):
            own = {name: float(draws[name][v, b]) for name in DRAWS}
            np.testing.assert_allclose(found[v, b].numpy(), slow_crop(x[b, 0], own, HOW), atol=2e-4)


@pytest.mark.parametrize("n_frames", [24, 40, 41, 100])
def test_an_unchanged_crop_is_the_window_with_time_wrapped(n_frames: int) -> None:
    x = windows()
    draws = drawn()
    found = make_views(torch.from_numpy(x), draws, DEVIATION_DB, replace(OFF, n_frames=n_frames))
    for v in range(2):
        for b in range(8):
            first = (int(draws["centre"][v, b] * 40) - n_frames // 2) % 40
            columns = (first + np.arange(n_frames)) % 40
            np.testing.assert_array_equal(found[v, b, 0].numpy(), x[b, 0][:, columns])


def test_loud_crops_lie_where_the_window_is_loud() -> None:
    x = np.full((8, 1, 16, 400), -2.0, dtype=np.float32)
    x[..., 300:320] = 4.0
    how = replace(OFF, loud_share=1.0)
    draws = draws_of(0, np.arange(8, dtype=np.int64), n_views=20)
    views = cropped(torch.from_numpy(x), draws, how)
    assert (views.amax(dim=(2, 3)) == 4).float().mean() > 0.95
    nowhere = cropped(torch.from_numpy(x), draws, OFF)
    assert (nowhere.amax(dim=(2, 3)) == 4).float().mean() < 0.3


def test_what_is_added_is_power_at_the_drawn_ratio() -> None:
    x = cropped(torch.from_numpy(windows()), drawn(), HOW)
    draws = drawn()
    found = with_others(x, draws, DEVIATION_DB, HOW).numpy()
    power = 10 ** (x.numpy().astype(np.float64) * DEVIATION_DB / 10)
    partner = partners(draws["partner"]).numpy()
    for v in range(2):
        for b in range(8):
            total = power[v, b].copy()
            if draws["is_mixed"][v, b] < HOW.mix_share:
                other = power[v, partner[v, b]]
                snr_db = 3 + 22 * float(draws["mix_snr"][v, b])
                total += other * min(1.0, 10 ** (-snr_db / 10) * power[v, b].mean() / other.mean())
            if draws["has_floor"][v, b] < HOW.floor_share:
                snr_db = 5 + 20 * float(draws["floor_snr"][v, b])
                total += 10 ** (-snr_db / 10) * power[v, b].mean()
            np.testing.assert_allclose(found[v, b], 10 * np.log10(total) / DEVIATION_DB, atol=1e-4)


def test_silent_windows_stay_finite() -> None:
    views = make_views(torch.zeros(8, 1, 16, 40), drawn(), DEVIATION_DB, HOW)
    assert bool(torch.isfinite(views).all())


def test_an_equaliser_is_linear_between_its_knots() -> None:
    draws = draws_of(1, np.arange(4000, dtype=np.int64), n_views=1)
    found = equaliser(draws, DEVIATION_DB, HOW, 51)[0].numpy() * DEVIATION_DB
    gain = (2 * draws["gain"][0].numpy() - 1) * 6
    knots = found[:, ::10] - gain[:, None]
    assert np.abs(knots.mean(axis=0)).max() < 0.2
    np.testing.assert_allclose(knots.std(axis=0), 3.0, atol=0.15)
    np.testing.assert_allclose(np.diff(found, n=2)[:, np.arange(49) % 10 != 9], 0, atol=1e-4)
    assert knots.shape[1] == N_KNOTS


def test_masks_are_one_stretch_of_frames_and_one_of_bands() -> None:
    draws = draws_of(2, np.arange(400, dtype=np.int64))
    found = masked(torch.ones(2, 400, 40, 60), draws, HOW).numpy()
    for axis, length, part in ((3, 40, "bands"), (2, 60, "frames")):
        lost = (found == 0).all(axis=axis)
        n_lost = lost.sum(axis=2)
        assert n_lost.max() == int(0.15 * length)
        assert 0.4 < (draws[f"loses_{part}"].numpy() < 0.5).mean() < 0.6
        edges = np.abs(np.diff(np.pad(lost, ((0, 0), (0, 0), (1, 1))).astype(int), axis=2)).sum(axis=2)
        assert set(np.unique(edges)) <= {0, 2}


def test_views_do_not_depend_on_the_split_of_a_batch() -> None:
    x = torch.from_numpy(windows(4 * MIX_GROUP))
    samples = np.arange(4 * MIX_GROUP, dtype=np.int64) + 1000
    whole = make_views(x, draws_of(5, samples), DEVIATION_DB, HOW)
    half = 2 * MIX_GROUP
    parts = [
        make_views(x[part], draws_of(5, samples[part]), DEVIATION_DB, HOW) for part in (slice(half), slice(half, None))
    ]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-5)


def test_draws_depend_on_seed_sample_and_view() -> None:
    samples = np.arange(500, dtype=np.int64)
    found = uniforms(7, samples, 2, range(len(DRAWS)))
    assert found.shape == (2, 500, len(DRAWS))
    assert (found >= 0).all()
    assert (found < 1).all()
    assert len(np.unique(found)) > 0.99 * found.size
    np.testing.assert_array_equal(uniforms(7, samples[17:18], 2, range(len(DRAWS)))[:, 0], found[:, 17])
    assert not np.array_equal(uniforms(8, samples, 2, range(len(DRAWS))), found)


def test_partners_are_others_of_the_group() -> None:
    found = partners(torch.rand(2, 20)).numpy()
    place = np.arange(20)
    assert (found // MIX_GROUP == place // MIX_GROUP).all()
    assert (found != place).all()
    assert partners(torch.rand(2, 1)).tolist() == [[0], [0]]


def test_standardised_levels_are_those_of_a_slow_twin() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(1, 256, size=(5, 6, 21), dtype=np.uint8)
    codes[0, :, 15:] = 0
    codes[1, 2] = 0
    codes[2, :, :20] = 0
    codes[3] = 0
    mean_db = random.normal(-70, 5, size=6).astype(np.float32)
    found = standardised(torch.from_numpy(codes), torch.from_numpy(mean_db), DEVIATION_DB, 0.5).numpy()
    assert found.shape == (5, 1, 6, 21)
    for i in range(5):
        for band in range(6):
            there = codes[i, band] > 0
            level = codes[i, band][there] * 0.5 - 124.5 - mean_db[band]
            expected = np.zeros(21)
            if there.any():
                expected[there] = (level - 0.5 * np.median(level)) / DEVIATION_DB
            np.testing.assert_allclose(found[i, 0, band], expected, atol=1e-5)


def test_medians_are_those_of_numpy() -> None:
    codes = np.random.default_rng(1).integers(1, 256, size=(3, 4, 10), dtype=np.uint8)
    expected = np.median(codes * 0.5 - 124.5, axis=2)
    np.testing.assert_allclose(own_medians(torch.from_numpy(codes)).numpy(), expected)
