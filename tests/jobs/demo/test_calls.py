"""The call types: their bands, their patterns in time, and that a stream decides everything."""

import numpy as np
import pytest
from scipy.signal import stft

from jobs.demo.calls import CALL_TYPES, TYPICAL, CallType, Samples, Voice, _gate, _tone, draw_voice

RATES_HZ = (24_000, 32_000)
VOICES = (TYPICAL, Voice(1.09, 1.15, 1.25), Voice(0.91, 0.85, 0.75))


def sing(label: str, seed: int = 0, rate: int = 24_000, voice: Voice = TYPICAL) -> Samples:
    return CALL_TYPES[label].make(np.random.default_rng(seed), rate, voice)


def power_spectrum(samples: Samples) -> Samples:
    spectrum: Samples = np.abs(np.fft.rfft(samples)) ** 2
    return spectrum


def ridge_hz(samples: Samples, rate: int, frame_s: float = 0.02) -> Samples:
    """Return the loudest frequency of each sounding frame, NaN in pauses."""
    n = round(frame_s * rate)
    frequency_hz, _, spectra = stft(samples, rate, nperseg=n, noverlap=n * 3 // 4, nfft=4096)
    power = np.abs(spectra) ** 2
    ridge: Samples = frequency_hz[power.argmax(axis=0)]
    return np.where(power.max(axis=0) > 0.1 * power.max(), ridge, np.nan)


def notes_per_s(samples: Samples, rate: int, low: float, high: float) -> float:
    """Return the strongest rate of the envelope between two rates."""
    envelope = np.convolve(samples * samples, np.ones(rate // 200) / (rate // 200), mode="same")
    power = np.abs(np.fft.rfft(envelope - envelope.mean(), 8 * len(envelope)))
    at = np.arange(len(power)) * rate / (8 * len(envelope))
    inside = (at >= low) & (at <= high)
    return float(at[inside][power[inside].argmax()])


@pytest.mark.parametrize("kind", CALL_TYPES.values(), ids=CALL_TYPES)
@pytest.mark.parametrize("rate", RATES_HZ)
def test_a_call_is_a_function_of_its_stream_and_stays_in_its_band(kind: CallType, rate: int) -> None:
    for seed, voice in enumerate(VOICES):
        samples = sing(kind.label, seed, rate, voice)
        again = sing(kind.label, seed, rate, voice)
        assert samples.dtype == np.float64
        assert samples.ndim == 1
        np.testing.assert_array_equal(samples, again)
        assert np.isfinite(samples).all()
        assert 0.5 < len(samples) / rate < 30.0
        power = power_spectrum(samples)
        frequency_hz = np.arange(len(power)) * rate / len(samples)
        inside = (frequency_hz >= kind.low_hz) & (frequency_hz <= kind.high_hz)
        assert power[inside].sum() > 0.97 * power.sum()


@pytest.mark.parametrize("label", CALL_TYPES)
def test_another_stream_sings_another_song(label: str) -> None:
    one, other = sing(label, 0), sing(label, 1)
    assert len(one) != len(other) or not np.array_equal(one, other)


@pytest.mark.parametrize("label", CALL_TYPES)
def test_the_sample_rate_does_not_change_the_song(label: str) -> None:
    low, high = (len(sing(label, 3, rate)) / rate for rate in RATES_HZ)
    assert low == pytest.approx(high, abs=0.002)


@pytest.mark.parametrize(("label", "sign"), [("up_sweep", 1.0), ("down_sweep", -1.0)])
@pytest.mark.parametrize("seed", range(4))
def test_sweeps_rise_or_fall(label: str, sign: float, seed: int) -> None:
    slopes = np.diff(ridge_hz(sing(label, seed), 24_000))
    slopes = slopes[np.isfinite(slopes) & (np.abs(slopes) < 300.0)]
    assert np.median(slopes) * sign > 10.0
    assert (slopes * sign > 0.0).mean() > 0.9


@pytest.mark.parametrize(("label", "slowest", "fastest"), [("fast_trill", 15.5, 17.5), ("slow_trill", 5.4, 6.6)])
@pytest.mark.parametrize("tempo", [0.85, 1.0, 1.15])
def test_trills_keep_their_tempo(label: str, slowest: float, fastest: float, tempo: float) -> None:
    found = notes_per_s(sing(label, 2, voice=Voice(tempo=tempo)), 24_000, 3.0, 25.0)
    assert slowest * tempo - 0.3 < found < fastest * tempo + 0.3


def test_a_whistle_is_held_and_a_warble_wavers_in_the_same_band() -> None:
    held = np.abs(np.diff(ridge_hz(sing("whistle"), 24_000)))
    wavering = np.abs(np.diff(ridge_hz(sing("warble"), 24_000)))
    assert np.nanmedian(held) < 10.0
    assert np.nanmedian(wavering) > 30.0
    means = [np.nanmean(ridge_hz(sing(label, 5), 24_000)) for label in ("whistle", "warble")]
    assert means[0] == pytest.approx(means[1], rel=0.15)


@pytest.mark.parametrize(("one", "other"), [("up_sweep", "down_sweep"), ("fast_trill", "slow_trill")])
def test_pairs_share_their_spectrum(one: str, other: str) -> None:
    spectra = []
    for label in (one, other):
        power = np.zeros(60)
        for seed in range(12):
            samples = sing(label, seed)
            edges = np.linspace(0, len(samples) // 2 + 1, 61).astype(int)
            power += np.add.reduceat(power_spectrum(samples), edges[:-1]) / power_spectrum(samples).sum()
        spectra.append(power / np.linalg.norm(power))
    assert float(spectra[0] @ spectra[1]) > 0.85


def test_a_voice_moves_the_pitch() -> None:
    low, high = (np.nanmean(ridge_hz(sing("warble", 1, voice=Voice(pitch=p)), 24_000)) for p in (0.95, 1.05))
    assert high / low == pytest.approx(1.05 / 0.95, rel=0.01)


def test_voices_stay_within_their_spread() -> None:
    rng = np.random.default_rng(0)
    voices = [draw_voice(rng) for _ in range(500)]
    for name, spread in (("pitch", 0.09), ("tempo", 0.15), ("length", 0.25)):
        values = np.array([getattr(voice, name) for voice in voices])
        assert np.abs(values - 1.0).max() <= spread
        assert values.std() == pytest.approx(spread / np.sqrt(3.0), rel=0.1)


def test_a_tone_of_constant_frequency_is_a_sine_and_its_overtones_stop_below_nyquist() -> None:
    rate, n = 24_000, 2400
    phase = 2.0 * np.pi * 1000.0 / rate * np.arange(1, n + 1)
    np.testing.assert_allclose(_tone(np.full(n, 1000.0), rate), np.sin(phase), atol=1e-9)
    both = _tone(np.full(n, 1000.0), rate, (0.5,))
    np.testing.assert_allclose(both, np.sin(phase) + 0.5 * np.sin(2.0 * phase), atol=1e-9)
    high = np.full(n, 5500.0)
    np.testing.assert_array_equal(_tone(high, rate, (0.5,)), _tone(high, rate))


def test_a_gate_opens_and_shuts_alike() -> None:
    gate = _gate(1000, 100)
    np.testing.assert_allclose(gate, gate[::-1], atol=1e-12)
    assert gate[0] < 1e-4
    assert (gate[100:900] == 1.0).all()
    assert gate[49] < 0.5 < gate[50]
