from typing import Any

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from jobs.spectrograms.config import Config
from jobs.spectrograms.core import window_codes
from jobs.spectrograms.mel import fft_lengths, mel_bank, mel_centres_hz
from lake.constants import QUALITY

RATE = 24_000
CONFIG = Config(window_s=2.0, hop_s=2.0, n_mels=40, n_frames=50, f_max_hz=10_000.0, fft_s=0.04)
N = 2 * RATE
WHOLE = [(0, N)]


def noise(seed: int = 0, n: int = N, n_channels: int = 1) -> NDArray[np.float32]:
    return (0.05 * np.random.default_rng(seed).standard_normal((n_channels, n))).astype(np.float32)


def sine(frequency_hz: float, n: int = N, rate: int = RATE, amplitude: float = 1.0) -> NDArray[np.float32]:
    return (amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(n) / rate)).astype(np.float32)[None]


def twin(signal: NDArray[np.float32], config: Config, rate: int) -> NDArray[np.uint8]:
    """Return the same numbers, slowly, in plain numpy and float64."""
    n_window, n_fft = fft_lengths(config, rate)
    hann = np.hanning(n_window + 1)[:-1]
    padded = np.pad(signal.astype(np.float64), n_window // 2, mode="reflect")
    out = np.empty((config.n_mels, config.n_frames), dtype=np.uint8)
    for frame in range(config.n_frames):
        centre = round((frame + 0.5) * len(signal) / config.n_frames)
        spectrum = np.fft.rfft(padded[centre : centre + n_window] * hann, n_fft)
        power = mel_bank(config, rate).toarray() @ (np.abs(spectrum) ** 2 * 4 / hann.sum() ** 2)
        out[:, frame] = np.clip(np.rint((10 * np.log10(power) + 124.5) / 0.5), 1, 255)
    return out


def test_codes_equal_a_slow_twin() -> None:
    signal = noise() + sine(3000.0, amplitude=0.2)
    codes, facts = window_codes(signal, WHOLE, RATE, CONFIG)
    expected = twin(signal[0], CONFIG, RATE)
    difference = np.abs(codes.astype(int) - expected)
    assert difference.max() <= 1, "one step where rounding is a close call"
    assert (difference > 0).mean() < 1e-3
    assert facts.quality == 0


def test_a_full_scale_sine_reads_0_dbfs_in_its_band() -> None:
    band = 20
    frequency = mel_centres_hz(CONFIG)[band]
    codes, facts = window_codes(sine(frequency), WHOLE, RATE, CONFIG)
    assert set(codes[band, 2:-2].tolist()) == {249}, "code 249 is 0 dBFS"
    assert facts.level_db == pytest.approx(0.0, abs=0.01)
    assert facts.peak_db == pytest.approx(0.0, abs=0.01)
    half, facts = window_codes(sine(frequency, amplitude=0.5), WHOLE, RATE, CONFIG)
    assert set(half[band, 2:-2].tolist()) == {237}, "half the amplitude is -6.02 dB"
    assert facts.level_db == pytest.approx(-6.02, abs=0.01)


def test_the_ridge_of_a_chirp_follows_its_formula() -> None:
    t = np.arange(N) / RATE
    low, rate_hz_s = 1000.0, 3500.0
    chirp = (0.5 * np.sin(2 * np.pi * (low * t + rate_hz_s * t**2 / 2))).astype(np.float32)[None]
    codes, _ = window_codes(chirp, WHOLE, RATE, CONFIG)
    frames_s = (np.arange(CONFIG.n_frames) + 0.5) * CONFIG.window_s / CONFIG.n_frames
    bands = np.abs(mel_centres_hz(CONFIG)[:, None] - (low + rate_hz_s * frames_s)).argmin(axis=0)
    inner = slice(2, -2)
    assert np.abs(codes.argmax(axis=0)[inner] - bands[inner]).max() <= 1


def test_white_noise_reads_as_its_density_says() -> None:
    """White noise of variance s^2 has the power 2 s^2 * 1.5 / n_window in a bin, times the band's weights."""
    signal = noise(n=N)
    codes, _ = window_codes(signal, WHOLE, RATE, CONFIG)
    n_window, _ = fft_lengths(CONFIG, RATE)
    expected = 10 * np.log10(mel_bank(CONFIG, RATE).sum(axis=1).A1 * 4 * 0.05**2 * 1.5 / n_window)
    measured = 10 * np.log10((10 ** ((codes[5:] * 0.5 - 124.5) / 10)).mean(axis=1))
    assert np.abs(measured - expected[5:]).max() < 1.5
    assert abs((measured - expected[5:]).mean()) < 0.25


@pytest.mark.parametrize("runs", [[(0, 30_000)], [(9_000, N)], [(0, 12_000), (20_000, N)]])
def test_frames_that_were_not_recorded_are_missing_and_the_others_know_nothing_of_them(runs: list[Any]) -> None:
    signal = noise()
    other = signal.copy()
    recorded = np.zeros(N, dtype=bool)
    for first, last in runs:
        recorded[first:last] = True
    other[:, ~recorded] = 1.0
    codes, _ = window_codes(signal, runs, RATE, CONFIG)
    centres = np.rint((np.arange(CONFIG.n_frames) + 0.5) * N / CONFIG.n_frames).astype(int)
    assert np.array_equal((codes > 0).all(axis=0), recorded[centres])
    assert np.array_equal((codes > 0).any(axis=0), recorded[centres])
    assert np.array_equal(codes, window_codes(other, runs, RATE, CONFIG)[0])


def test_bands_above_the_nyquist_frequency_are_missing_not_low() -> None:
    codes, _ = window_codes(noise(n=2 * 8000), [(0, 2 * 8000)], 8000, CONFIG)
    present = np.asarray(codes.all(axis=1))
    assert present[:20].all()
    assert not codes[mel_centres_hz(CONFIG) > 4000].any()
    assert np.array_equal(present, codes.any(axis=1))


@pytest.mark.parametrize("rate", [16_000, 32_000, 44_100])
def test_resampling_keeps_levels_and_the_sources_own_limit(rate: int) -> None:
    config = CONFIG.model_copy(update={"sample_rate_hz": RATE})
    frequency = mel_centres_hz(CONFIG)[20]
    codes, _ = window_codes(sine(frequency, n=2 * rate, rate=rate), [(0, 2 * rate)], rate, config)
    assert set(codes[20, 2:-2].tolist()) == {249}
    low, _ = window_codes(noise(n=2 * 8000), [(0, 2 * 8000)], 8000, config)
    assert not low[mel_centres_hz(CONFIG) > 4000].any()
    assert low[:20].all()


@pytest.mark.parametrize("rate", [16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_resampling_agrees_with_soxr(rate: int) -> None:
    config = CONFIG.model_copy(update={"sample_rate_hz": RATE})
    signal = noise(n=2 * rate)
    codes, _ = window_codes(signal, [(0, 2 * rate)], rate, config)
    other = soxr.resample(signal[0], rate, RATE, quality="VHQ")[None]
    expected, _ = window_codes(other, [(0, other.shape[1])], RATE, CONFIG)
    passed = mel_centres_hz(CONFIG) < 0.9 * min(rate, RATE) / 2
    difference = np.abs(codes[passed, 2:-2].astype(int) - expected[passed, 2:-2])
    assert difference.max() <= 1, "half a decibel, where rounding is a close call"
    assert (difference > 0).mean() < 0.05


def test_channels_are_mixed_or_chosen() -> None:
    both = np.concatenate([sine(3000.0, amplitude=0.4), noise()])
    mixed, _ = window_codes(both, WHOLE, RATE, CONFIG)
    assert np.array_equal(mixed, window_codes(both.mean(axis=0, keepdims=True), WHOLE, RATE, CONFIG)[0])
    second, _ = window_codes(both, WHOLE, RATE, CONFIG.model_copy(update={"channel": 1}))
    assert np.array_equal(second, window_codes(both[1:], WHOLE, RATE, CONFIG)[0])


def quality_of(signal: NDArray[np.float32]) -> set[str]:
    _, facts = window_codes(signal, WHOLE, RATE, CONFIG)
    return {name for name, bit in QUALITY.items() if facts.quality & bit}


def test_what_is_unusual_is_flagged_and_still_data() -> None:
    assert quality_of(noise()) == set()
    assert quality_of(np.zeros((1, N), dtype=np.float32)) == {"silent"}
    assert quality_of(np.full((1, N), 0.25, dtype=np.float32)) == {"constant"}
    assert quality_of(np.clip(40 * noise(), -1, 1)) == {"clipped"}
    assert quality_of(np.concatenate([noise(), 0.001 * noise(1)])) == {"channels_differ"}
    assert quality_of(np.concatenate([noise(), noise(1)])) == set()
    broken = noise()
    broken[0, 5] = np.nan
    assert quality_of(broken) == {"not_a_number"}
    codes, facts = window_codes(np.zeros((1, N), dtype=np.float32), WHOLE, RATE, CONFIG)
    assert (codes == 1).all()
    assert facts.level_db is None
    assert facts.peak_db is None
