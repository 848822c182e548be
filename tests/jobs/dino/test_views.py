from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jobs.common.training.hashed import uniforms
from jobs.dino.config import Config
from jobs.dino.draws import DRAWS, MIX_GROUP
from jobs.dino.views import Views, crop, make_views

MakeConfig = Callable[..., Config]

DEVIATION_DB = 8.0
STILL = {
    "global_time_span": (1.0, 1.0),
    "global_mel_span": (1.0, 1.0),
    "global_size": (32, 64),
    "mix_share": 0.0,
    "gain_db": 0.0,
    "tilt_db": 0.0,
    "mask_share": 0.0,
    "active_share": 0.0,
    "n_local": 0,
}


def windows(n: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(n, 1, 32, 64, generator=torch.Generator().manual_seed(seed))


def numbers(n: int = 8, first: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(first, first + n, dtype=np.int64)


def everything(views: Views) -> list[Tensor]:
    return [views.teacher, *views.student]


def test_shapes_and_numbers(make_config: MakeConfig) -> None:
    views = make_views(windows(), numbers(), DEVIATION_DB, make_config(n_global=3))
    assert [tuple(view.shape) for view in everything(views)] == [(3, 8, 32, 32), (3, 8, 32, 32), (2, 8, 32, 8)]
    for view in everything(views):
        assert view.dtype == torch.float32
        assert view.isfinite().all()
        assert view.abs().max() < 15


def test_a_view_depends_on_seed_sample_and_its_number_alone(make_config: MakeConfig) -> None:
    config = make_config()
    x = windows(16)
    whole = make_views(x, numbers(16), DEVIATION_DB, config)
    again = make_views(x, numbers(16), DEVIATION_DB, config)
    second = make_views(x[8:], numbers(8, first=8), DEVIATION_DB, config)
    other = make_views(x, numbers(16), DEVIATION_DB, make_config(seed=1))
    later = make_views(x, numbers(16, first=16), DEVIATION_DB, config)
    assert MIX_GROUP == 8
    for i, view in enumerate(everything(whole)):
        assert torch.equal(view, everything(again)[i])
        torch.testing.assert_close(view[:, 8:], everything(second)[i])
        assert not torch.allclose(view, everything(other)[i])
        assert not torch.allclose(view, everything(later)[i])


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_draws_are_uniform_and_differ(seed: int, first: int) -> None:
    drawn = uniforms(seed, np.arange(first, first + 50, dtype=np.int64), 4, range(len(DRAWS)))
    assert drawn.shape == (4, 50, len(DRAWS))
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert abs(drawn.mean() - 0.5) < 0.05
    assert abs(drawn.var() - 1 / 12) < 0.02
    assert len(np.unique(drawn)) > 0.99 * drawn.size


def test_draws_of_neighbours_are_not_related() -> None:
    drawn = uniforms(3, np.arange(4000, dtype=np.int64), 3, range(len(DRAWS))).reshape(3, 4000, -1)
    for a, b in [(drawn[:, 1:], drawn[:, :-1]), (drawn[1:], drawn[:-1]), (drawn[..., 1:], drawn[..., :-1])]:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.01


def crop_of(
    x: Tensor, centre: float, duration: float, mel_centre: float, height: float, size: tuple[int, int]
) -> Tensor:
    where = {"centre": centre, "duration": duration, "mel_centre": mel_centre, "height": height}
    return crop(x, size=size, **{key: torch.full((1, len(x)), value) for key, value in where.items()})[0]


def test_a_whole_window_is_rolled_and_never_flipped() -> None:
    x = windows(3)
    for shift in (0, 1, 17, 63):
        found = crop_of(x, 0.5 + shift / 64, 1.0, 0.5, 1.0, (32, 64))
        torch.testing.assert_close(found, x[:, 0].roll(-shift, dims=2), atol=1e-5, rtol=1e-5)


def crop_slowly(window: Tensor, frame: Tensor, mel: Tensor) -> Tensor:
    """Say again, pixel by pixel: linear between neighbours, time wraps, beyond the band is 0."""
    n_mels, n_frames = window.shape
    out = torch.zeros(len(mel), len(frame))
    for i, m in enumerate(mel.tolist()):
        for j, f in enumerate(frame.tolist()):
            for row, row_share in ((int(np.floor(m)), 1 - m % 1), (int(np.floor(m)) + 1, m % 1)):
                for column, share in ((int(np.floor(f)), 1 - f % 1), (int(np.floor(f)) + 1, f % 1)):
                    if 0 <= row < n_mels:
                        out[i, j] += row_share * share * window[row, column % n_frames]
    return out


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.floats(0.1, 1), st.floats(0.4, 0.6), st.floats(0.3, 1.2))
def test_a_crop_equals_a_slow_twin(centre: float, duration: float, mel_centre: float, height: float) -> None:
    x = windows(1)
    frame = (centre + ((torch.arange(8) + 0.5) / 8 - 0.5) * duration) * 64 - 0.5
    mel = (mel_centre + ((torch.arange(6) + 0.5) / 6 - 0.5) * height) * 32 - 0.5
    found = crop_of(x, centre, duration, mel_centre, height, (6, 8))[0]
    torch.testing.assert_close(found, crop_slowly(x[0, 0], frame, mel), atol=2e-4, rtol=0)


def test_a_still_view_is_a_roll_of_the_window(make_config: MakeConfig) -> None:
    x = windows()
    views = make_views(x, numbers(), DEVIATION_DB, make_config(**STILL))
    spectrum = torch.fft.rfft(x[:, 0]).abs()
    for view in views.teacher:
        assert not torch.allclose(view, x[:, 0], atol=0.1)
        smooth = torch.fft.rfft(view).abs()
        torch.testing.assert_close(smooth[..., 0], spectrum[..., 0], atol=1e-3, rtol=1e-3)
        assert (smooth <= spectrum + 1e-3).all()  # a roll by a part of a frame interpolates


def test_gain_adds_decibels(make_config: MakeConfig) -> None:
    plain = make_views(windows(), numbers(), DEVIATION_DB, make_config(**STILL)).teacher
    louder = make_views(windows(), numbers(), DEVIATION_DB, make_config(**{**STILL, "gain_db": 6.0})).teacher
    gain_db = (louder - plain) * DEVIATION_DB
    torch.testing.assert_close(gain_db, gain_db.mean(dim=(2, 3), keepdim=True).expand_as(gain_db), atol=1e-4, rtol=0)
    expected = (2 * uniforms(0, numbers(), 2, range(len(DRAWS)))[..., DRAWS.index("gain")] - 1) * 6.0
    torch.testing.assert_close(gain_db[:, :, 0, 0], torch.from_numpy(expected), atol=1e-4, rtol=0)
    assert gain_db.abs().max() > 3


def test_tilt_is_a_line_over_the_bands(make_config: MakeConfig) -> None:
    plain = make_views(windows(), numbers(), DEVIATION_DB, make_config(**STILL)).teacher
    tilted = make_views(windows(), numbers(), DEVIATION_DB, make_config(**{**STILL, "tilt_db": 3.0})).teacher
    tilt_db = (tilted - plain) * DEVIATION_DB
    assert tilt_db.abs().max() <= 3.0 + 1e-4
    assert tilt_db[:, :, 0].abs().max() > 1.5
    torch.testing.assert_close(tilt_db[:, :, 0], -tilt_db[:, :, -1], atol=1e-4, rtol=0)
    torch.testing.assert_close(
        tilt_db.diff(dim=2), (tilt_db[:, :, -1:] - tilt_db[:, :, :1]).expand(-1, -1, 31, -1) / 31, atol=1e-4, rtol=0
    )


def test_masks_stay_within_their_limits(make_config: MakeConfig) -> None:
    config = make_config(**{**STILL, "mask_share": 0.5, "mask_width": 0.15})
    n_masked = []
    for first in range(0, 160, 8):
        views = make_views(windows() + 10, numbers(first=first), DEVIATION_DB, config)
        lost = views.student[0] == 0
        assert not (views.teacher == 0).any()
        assert torch.equal(views.student[0][~lost], views.teacher[~lost])
        frames, bands = lost.all(dim=2), lost.all(dim=3)
        assert torch.equal(lost, frames[:, :, None] | bands[..., None])
        for which, length in ((frames, 64), (bands, 32)):
            assert which.sum(dim=2).max() <= 0.15 * length
            edges = which.to(torch.int8).diff(dim=2, prepend=torch.zeros(2, 8, 1), append=torch.zeros(2, 8, 1))
            assert (edges == 1).sum(dim=2).max() <= 1
            n_masked.append(which.any(dim=2).float().mean().item())
    assert 0.3 < float(np.mean(n_masked)) < 0.55


def test_the_teacher_sees_masks_only_where_asked(make_config: MakeConfig) -> None:
    shown = {**STILL, "mask_share": 1.0, "mask_teacher": True}
    views = make_views(windows() + 10, numbers(), DEVIATION_DB, make_config(**shown))
    assert (views.teacher == 0).any()
    assert torch.equal(views.teacher, views.student[0])


def test_mixing_adds_powers_at_the_ratio_drawn(make_config: MakeConfig) -> None:
    mixing = {**STILL, "mix_share": 1.0, "mix_snr_db": (10.0, 10.0)}
    plain = make_views(windows(), numbers(), DEVIATION_DB, make_config(**STILL)).teacher
    mixed = make_views(windows(), numbers(), DEVIATION_DB, make_config(**mixing)).teacher
    power, both = (10 ** (view * DEVIATION_DB / 10) for view in (plain, mixed))
    added = (both - power).clamp(min=0)
    ratio_db = 10 * torch.log10(power.mean(dim=(2, 3)) / added.mean(dim=(2, 3)))
    for v in range(2):
        for i in range(8):
            shapes = [added[v, i] / added[v, i].mean() - power[v, j] / power[v, j].mean() for j in range(8)]
            partner = int(torch.stack([shape.abs().mean() for shape in shapes]).argmin())
            assert partner != i
            torch.testing.assert_close(shapes[partner], torch.zeros(32, 64), atol=2e-2, rtol=0)
            quiet = power[v, partner].mean() < 0.1 * power[v, i].mean()
            assert quiet or ratio_db[v, i].item() == pytest.approx(10.0, abs=0.05)


def test_a_quieter_window_is_not_made_louder(make_config: MakeConfig) -> None:
    x = windows(2)
    x[1] -= 5.0
    mixing = {**STILL, "mix_share": 1.0, "mix_snr_db": (3.0, 3.0)}
    plain = make_views(x, numbers(2), DEVIATION_DB, make_config(**STILL)).teacher
    mixed = make_views(x, numbers(2), DEVIATION_DB, make_config(**mixing)).teacher
    powers = 10 ** (plain * DEVIATION_DB / 10)
    expected = 10 * torch.log10(powers[:, 0] + powers[:, 1]) / DEVIATION_DB
    torch.testing.assert_close(mixed[:, 0], expected, atol=1e-4, rtol=1e-4)


def test_a_lone_window_is_mixed_with_itself(make_config: MakeConfig) -> None:
    mixing = {**STILL, "mix_share": 1.0, "mix_snr_db": (0.0, 0.0)}
    plain = make_views(windows(1), numbers(1), DEVIATION_DB, make_config(**STILL)).teacher
    mixed = make_views(windows(1), numbers(1), DEVIATION_DB, make_config(**mixing)).teacher
    difference = torch.full_like(plain, 10 * np.log10(2.0) / DEVIATION_DB)
    torch.testing.assert_close(mixed - plain, difference, atol=1e-4, rtol=0)


def test_views_lie_where_the_window_is_loud(make_config: MakeConfig) -> None:
    x = torch.full((8, 1, 32, 64), -2.0)
    x[..., 20:24] = 3.0
    quiet = {**STILL, "n_local": 6, "local_time_span": (0.125, 0.125), "local_mel_span": (1.0, 1.0)}
    loud = make_config(**{**quiet, "active_share": 1.0})
    anywhere = make_config(**quiet)
    share = [
        (make_views(x, numbers(), DEVIATION_DB, config).student[1].amax(dim=(2, 3)) > 0).float().mean().item()
        for config in (loud, anywhere)
    ]
    assert share[0] > 0.95
    assert share[1] < 0.4


def test_a_silent_window_has_finite_views(make_config: MakeConfig) -> None:
    views = make_views(torch.full((8, 1, 32, 64), -9.0), numbers(), DEVIATION_DB, make_config(mix_share=1.0))
    assert all(view.isfinite().all() for view in everything(views))


def test_large_windows_shrink_by_means_before_they_are_cut(make_config: MakeConfig) -> None:
    noise = torch.randn(8, 1, 256, 512, generator=torch.Generator().manual_seed(1))
    config = make_config(**{**STILL, "global_size": (32, 32)})
    found = make_views(noise, numbers(), DEVIATION_DB, config).teacher
    # Means over 4 x 8 pixels, then linear between two neighbours at most along each axis.
    assert found.std().item() < 1 / 32**0.5 + 0.01
