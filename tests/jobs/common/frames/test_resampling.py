"""Windows at other bands and frames: means, gaps, and what is refused."""

import numpy as np
import pytest

from jobs.common.frames.resampling import Shape, own_input, resampler
from lake.errors import InputError

HZ = np.linspace(100.0, 3200.0, 32)


def codes(n_bands: int, n_frames: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(1, 256, (3, n_bands, n_frames), dtype=np.uint8)


def test_windows_that_fit_stay_the_same_array() -> None:
    resample, n_frames = resampler(Shape(HZ, 64, 6.0), HZ, 6.0 / 64)
    given = codes(32, 64)
    assert resample(given) is given
    assert n_frames == 64


def test_whole_factors_are_means_without_what_is_missing() -> None:
    cube = Shape(HZ, 64, 6.0)
    mel_hz, seconds = own_input(cube, 16, 6.0 / 16)
    given = codes(32, 64)
    given[1, 4:6] = 0
    given[2, :, 3] = 0
    resample, n_frames = resampler(cube, mel_hz, seconds)
    found = resample(given)
    assert (found.shape, n_frames) == ((3, 16, 16), 16)
    known = np.where(given == 0, np.nan, given.astype(float)).reshape(3, 16, 2, 16, 4)
    with np.errstate(invalid="ignore"):
        sums, n = np.nansum(known, axis=(2, 4)), np.isfinite(known).sum(axis=(2, 4))
    expected = np.divide(sums, n, out=np.zeros_like(sums), where=n > 0)
    assert np.abs(found - expected).max() <= 0.5 + 1e-3
    assert (found[1, 2] == 0).all()


def test_in_between_is_on_the_line() -> None:
    ramp = np.broadcast_to(np.arange(10, 42, dtype=np.uint8)[None, :, None] * 2, (1, 32, 8))
    resample, _ = resampler(Shape(HZ, 8, 1.0), np.linspace(100.0, 3200.0, 48), 1.0 / 8)
    expected = 20 + 2 * np.linspace(0, 31, 48)
    assert np.abs(resample(np.ascontiguousarray(ramp))[0, :, 0] - expected).max() <= 0.51


@pytest.mark.parametrize(
    ("cube", "message"),
    [
        (Shape(HZ, 10, 6.0), "frames last 600 ms, those of the network 93.8 ms"),
        (Shape(HZ / 2, 64, 6.0), "bands reach from 50 to 1600 Hz, those of the network from 100 to 3200 Hz"),
        (Shape(np.linspace(100.0, 3200.0, 12), 64, 6.0), "it has 12 mel bands .* the network 32 .*n_mels = 32"),
        (Shape(HZ[:1], 64, 6.0), "it has 1 mel band"),
    ],
)
def test_what_is_much_coarser_or_narrower_is_refused_with_the_settings(cube: Shape, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resampler(cube, HZ, 6.0 / 64)
