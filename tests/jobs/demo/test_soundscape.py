"""Noise of a given density, weather, distance, recorder, mix: each against its closed form."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from jobs.demo.calls import Samples
from jobs.demo.soundscape import (
    HUMS,
    N_TAPS,
    QUIET_WOOD,
    TAIL_S,
    Distance,
    Response,
    amplitude,
    background,
    curve_db,
    heard,
    level_db,
    microphone_db,
    quantise,
    rain,
    shaped_noise,
    slow_gain,
    tap_frequencies_hz,
    to_channels,
    wind,
)

Weather = Callable[[np.random.Generator, int, Response, float], Samples]

RATE = 24_000
FLAT = Response(RATE, 0.0, 0.0, -100.0, 0.4, 7)
NEAR = Distance(0.0, 0.0, -300.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sine(frequency_hz: float, seconds: float = 1.0) -> Samples:
    samples: Samples = np.sin(2.0 * np.pi * frequency_hz * np.arange(round(seconds * RATE)) / RATE)
    return samples


def band_level_db(samples: Samples, low_hz: float, high_hz: float) -> float:
    power = 2.0 * np.abs(np.fft.rfft(samples)) ** 2 / len(samples) ** 2
    frequency_hz = np.arange(len(power)) * RATE / len(samples)
    return float(10.0 * np.log10(power[(frequency_hz >= low_hz) & (frequency_hz < high_hz)].sum() / 0.5))


def test_a_full_scale_sine_is_0_dbfs() -> None:
    assert level_db(sine(1000.0)) == pytest.approx(0.0, abs=1e-9)
    assert level_db(np.zeros(10)) < -140.0


@pytest.mark.parametrize("density_db", [-100.0, -80.0])
def test_flat_noise_has_the_power_of_its_density(density_db: float) -> None:
    samples = shaped_noise(rng(), 20 * RATE, RATE, np.full(N_TAPS // 2 + 1, density_db))
    assert len(samples) == 20 * RATE
    assert level_db(samples) == pytest.approx(density_db + 10.0 * np.log10(RATE / 2.0), abs=0.05)


def test_shaped_noise_follows_its_curve() -> None:
    at_hz = tap_frequencies_hz(RATE)
    samples = shaped_noise(rng(1), 30 * RATE, RATE, curve_db(((500.0, -70.0), (4000.0, -100.0)), at_hz))
    for low_hz, high_hz, density_db in ((100.0, 400.0, -70.0), (1389.0, 1439.0, -85.0), (5000.0, 11_000.0, -100.0)):
        expected = density_db + 10.0 * np.log10(high_hz - low_hz)
        assert band_level_db(samples, low_hz, high_hz) == pytest.approx(expected, abs=0.4)


@pytest.mark.parametrize("n_samples", [1, 7 * N_TAPS, 7 * N_TAPS + 1, 40_000])
def test_shaped_noise_is_one_convolution_of_one_white_noise(n_samples: int) -> None:
    density_db = curve_db(QUIET_WOOD, tap_frequencies_hz(RATE))
    n_white = -(-n_samples // (7 * N_TAPS)) * 7 * N_TAPS + N_TAPS
    white = rng(3).standard_normal(n_white)
    taps = np.roll(scipy.fft.irfft(np.sqrt(RATE / 4.0) * 10.0 ** (density_db / 20.0), N_TAPS), N_TAPS // 2)
    taps *= scipy.signal.get_window("hann", N_TAPS)
    slow = np.convolve(white, taps)[N_TAPS : N_TAPS + n_samples]
    np.testing.assert_allclose(shaped_noise(rng(3), n_samples, RATE, density_db), slow, atol=1e-12)


@given(st.integers(1, 500), st.integers(1, 60))
def test_a_slow_gain_is_linear_between_its_knots(n_samples: int, n_knot: int) -> None:
    gain = slow_gain(rng(n_samples), n_samples, n_knot, 3.0)
    knots = 10.0 ** (3.0 * rng(n_samples).standard_normal(n_samples // n_knot + 2) / 20.0)
    slow = np.interp(np.arange(n_samples) / n_knot, np.arange(len(knots)), knots)
    assert gain.shape == (n_samples,)
    np.testing.assert_allclose(gain, slow, rtol=1e-12)


@pytest.mark.parametrize("part", HUMS)
def test_background_is_the_wood_as_heard_and_the_recorders_own_noise(part: str) -> None:
    response = replace(FLAT, gain_db=3.0, tilt_db=-1.0, noise_db=-96.0)
    samples = background(rng(2), 60 * RATE, response, part, 2.0)
    for low_hz, high_hz in ((150.0, 250.0), (2000.0, 2200.0), (4400.0, 4700.0), (9000.0, 10_000.0)):
        at_hz = np.linspace(low_hz, high_hz, 50)
        wood_db = 2.0 + curve_db(QUIET_WOOD, at_hz) + curve_db(HUMS[part], at_hz) + 3.0 - np.log2(at_hz / 2000.0)
        expected = 10.0 ** (wood_db / 10.0) + 10.0**-9.6
        expected_db = 10.0 * np.log10(expected.mean() * (high_hz - low_hz))
        assert band_level_db(samples, low_hz, high_hz) == pytest.approx(expected_db, abs=0.7)


def test_a_near_call_keeps_its_shape_and_takes_level_and_gain() -> None:
    dry = rng(4).standard_normal(RATE)
    out = heard(dry, replace(FLAT, gain_db=-5.0), NEAR, -30.0)
    assert len(out) == len(dry) + round(TAIL_S * RATE)
    np.testing.assert_allclose(out[: len(dry)], dry * 10.0 ** ((-35.0 - level_db(dry)) / 20.0), atol=1e-9)
    np.testing.assert_allclose(out[len(dry) :], 0.0, atol=1e-9)


def test_distance_takes_highs_more_than_lows_and_the_tilt_counts_octaves_from_2_khz() -> None:
    far = Distance(10.0, 4.0, -300.0)
    for frequency_hz in (1000.0, 8000.0):
        out = heard(sine(frequency_hz), FLAT, far, -20.0)[:RATE]
        assert level_db(out[2000:-2000]) == pytest.approx(-30.0 - 4.0 * frequency_hz / 8000.0, abs=0.05)
    tilted = heard(sine(8000.0), replace(FLAT, tilt_db=1.5), NEAR, -20.0)[:RATE]
    assert level_db(tilted[2000:-2000]) == pytest.approx(-17.0, abs=0.05)
    assert microphone_db(replace(FLAT, tilt_db=2.0), np.array([0.0, 60.0]))[0] == pytest.approx(2.0 * np.log2(0.03))


@pytest.mark.parametrize("wet_db", [-12.0, 0.0])
def test_reverberation_adds_its_power_and_decays(wet_db: float) -> None:
    response = replace(FLAT, decay_s=0.4)
    click = np.zeros(RATE // 10)
    click[0] = 1.0
    out = heard(click, response, Distance(0.0, 0.0, wet_db), 0.0)
    direct, tail = out[0] ** 2, out[1:] ** 2
    assert 10.0 * np.log10(tail.sum() / direct) == pytest.approx(wet_db, abs=0.1)
    early, late = (tail[round(s * RATE) : round((s + 0.05) * RATE)].sum() for s in (0.05, 0.15))
    assert 10.0 * np.log10(early / late) == pytest.approx(60.0 * 0.1 / 0.4, abs=2.0)


def test_the_same_site_reflects_alike_and_another_does_not() -> None:
    dry, distance = sine(3000.0, 0.2), Distance(0.0, 0.0, 0.0)
    one = heard(dry, FLAT, distance, -20.0)
    np.testing.assert_array_equal(one, heard(dry, FLAT, distance, -20.0))
    assert not np.allclose(one, heard(dry, replace(FLAT, seed=8), distance, -20.0), atol=1e-4)


@pytest.mark.parametrize("gain_db", [-4.0, 3.0])
def test_weather_comes_at_about_its_level_with_its_colour(gain_db: float) -> None:
    response = replace(FLAT, gain_db=gain_db)
    gusts = wind(rng(5), 40 * RATE, response, -30.0)
    assert level_db(gusts) == pytest.approx(-30.0 + gain_db, abs=3.0)
    assert band_level_db(gusts, 20.0, 300.0) > band_level_db(gusts, 1000.0, 11_000.0) + 20.0
    drops = rain(rng(5), 40 * RATE, response, -40.0)
    assert level_db(drops) == pytest.approx(-40.0 + gain_db, abs=3.0)
    assert band_level_db(drops, 1000.0, 8000.0) > level_db(drops) - 3.0
    peaks = np.abs(drops).reshape(-1, RATE).max(axis=1) / np.sqrt(np.mean(drops * drops))
    assert (peaks > 4.5).mean() > 0.8


@pytest.mark.parametrize("kind", [rain, wind])
@pytest.mark.parametrize("n_samples", [1, 599, 601, 24_001])
def test_weather_of_any_length(kind: Weather, n_samples: int) -> None:
    samples = kind(rng(6), n_samples, FLAT, -40.0)
    assert samples.shape == (n_samples,)
    assert np.isfinite(samples).all()


def test_two_channels_differ_by_the_pan_and_one_is_left_alone() -> None:
    mono = sine(500.0)
    np.testing.assert_array_equal(to_channels(mono, 1, 2.0), mono[None])
    left, right = to_channels(mono, 2, 2.0)
    assert level_db(left) - level_db(right) == pytest.approx(2.0)
    np.testing.assert_allclose(np.sqrt(left * right) ** 2, mono * mono, atol=1e-12)


def test_quantising_rounds_to_the_nearest_and_clips() -> None:
    samples = rng(7).uniform(-1.2, 1.2, (500, 2))
    codes = quantise(samples)
    assert codes.dtype == np.int16
    inside = np.abs(samples) < 0.999
    assert np.abs(codes[inside] / 32768.0 - samples[inside]).max() <= 0.5 / 32768.0 + 1e-12
    assert codes[samples > 1.0].min() == 32767
    assert codes[samples < -1.0].max() == -32768


def test_amplitude_and_curve() -> None:
    np.testing.assert_allclose(amplitude(np.array([0.0, 20.0, -6.0206])), [1.0, 10.0, 0.5], rtol=1e-5)
    points = ((100.0, 0.0), (1000.0, 10.0))
    np.testing.assert_allclose(
        curve_db(points, np.array([0.0, 100.0, np.sqrt(1e5), 1000.0, 9000.0])), [0.0, 0.0, 5.0, 10.0, 10.0]
    )
