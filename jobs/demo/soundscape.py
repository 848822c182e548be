"""Model the way from a call to a recording: noise, weather, distance, reverberation, the recorder, the mix.

Levels are dBFS as everywhere here: 10·log10 of power over the power of a full-scale sine (0.5). Densities of
noise are in dBFS per hertz. Real recordings guided the numbers: quiet woodland reads −78 dBFS/Hz at 100 Hz, falls to
−90 at 1 kHz and to the recorder's own noise, near −102, above 6 kHz; a distant chorus or distant insects add a
hump of 5 to 10 dB; wind adds 30 dB below 300 Hz.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from jobs.demo.calls import Samples

SINE_POWER = 0.5
N_TAPS = 2048
TAIL_S = 0.45
"""Length of a reverberation that is rendered, seconds."""

Points = tuple[tuple[float, float], ...]
"""A curve over frequency: (Hz, dB) points, straight lines between them on a logarithmic frequency axis."""

QUIET_WOOD: Points = (
    (30.0, -74.0),
    (100.0, -78.0),
    (300.0, -84.0),
    (1000.0, -90.0),
    (3000.0, -95.0),
    (12000.0, -103.0),
)
RAIN: Points = ((40.0, -16.0), (300.0, -9.0), (1500.0, 0.0), (4000.0, 1.0), (8000.0, -4.0), (12000.0, -9.0))
WIND: Points = ((20.0, 4.0), (60.0, 6.0), (200.0, -2.0), (600.0, -16.0), (2000.0, -32.0), (12000.0, -56.0))
HUMS: dict[str, Points] = {
    "night": ((3000.0, 0.0), (4200.0, 7.0), (4900.0, 7.0), (6200.0, 1.0), (7400.0, 3.0), (9500.0, 0.0)),
    "dawn": ((1200.0, 0.0), (2400.0, 7.0), (4500.0, 5.0), (7500.0, 0.0)),
    "day": ((40.0, 7.0), (300.0, 6.0), (900.0, 2.0), (2000.0, 0.0)),
    "dusk": ((1500.0, 0.0), (2600.0, 3.0), (4500.0, 4.0), (7000.0, 0.0)),
}
"""Levels that each part of the day adds to `QUIET_WOOD`, dB: far insects, far birds, far traffic."""


@dataclass(frozen=True)
class Response:
    """The effect of a recorder at a site on sound.

    Attributes
    ----------
    sample_rate_hz
        Samples per second.
    gain_db
        Gain relative to the study's nominal recorder.
    tilt_db
        Slope of the microphone's response, dB per octave around 2 kHz.
    noise_db
        Density of the recorder's own noise, dBFS/Hz.
    decay_s
        Reverberation time of the site (60 dB), seconds.
    seed
        Identifies the site's reflections.
    """

    sample_rate_hz: int
    gain_db: float
    tilt_db: float
    noise_db: float
    decay_s: float
    seed: int


@dataclass(frozen=True)
class Distance:
    """The distance of a singer: loss over all frequencies, more loss of highs, more reverberation.

    Attributes
    ----------
    loss_db
        Loss at all frequencies.
    high_loss_db
        Further loss at 8 kHz; in proportion to frequency elsewhere.
    wet_db
        Power of the reflections over that of the direct sound, dB.
    """

    loss_db: float
    high_loss_db: float
    wet_db: float


DISTANCES = (Distance(0.0, 0.0, -14.0), Distance(6.0, 1.5, -8.0), Distance(12.0, 3.5, -3.0), Distance(17.0, 5.0, 0.0))


def level_db(samples: Samples) -> float:
    """Return the level of samples of any shape in dBFS (10·log10 of their mean square over 0.5), never −inf."""
    return float(10.0 * np.log10(max(float(np.mean(samples * samples)), 1e-15) / SINE_POWER))


def amplitude(gain_db: float | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the factor on samples that a gain in dB is."""
    factor: npt.NDArray[np.float64] = np.power(10.0, np.asarray(gain_db, dtype=np.float64) / 20.0)
    return factor


def curve_db(points: Points, frequency_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a curve at given frequencies, dB; constant outside its outer points."""
    at_hz, values_db = np.array(points).T
    curve: npt.NDArray[np.float64] = np.interp(np.log(np.maximum(frequency_hz, 1.0)), np.log(at_hz), values_db)
    return curve


def microphone_db(response: Response, frequency_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return gain plus tilt of a recorder at given frequencies, dB; the tilt stops below 60 Hz."""
    octaves = np.log2(np.maximum(frequency_hz, 60.0) / 2000.0)
    total: npt.NDArray[np.float64] = response.gain_db + response.tilt_db * octaves
    return total


def shaped_noise(
    rng: np.random.Generator, n_samples: int, sample_rate_hz: int, density_db: npt.NDArray[np.float64]
) -> Samples:
    """Return Gaussian noise of a given density.

    Parameters
    ----------
    rng
        Random stream.
    n_samples
        Length of the result.
    sample_rate_hz
        Samples per second.
    density_db
        dBFS/Hz at the frequencies ``rfftfreq(N_TAPS, 1 / sample_rate_hz)``, shape (N_TAPS // 2 + 1,).

    Returns
    -------
    Samples
        Shape (n_samples,). White noise of unit variance has a one-sided density of 2 / rate, so the filter's
        squared gain is 0.5 · 10^(density/10) · rate / 2.
    """
    gain = np.sqrt(SINE_POWER * sample_rate_hz / 2.0) * amplitude(density_db)
    taps = np.roll(scipy.fft.irfft(gain, N_TAPS), N_TAPS // 2)
    taps *= 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_TAPS) / N_TAPS)
    n_block = 8 * N_TAPS
    n_step = n_block - N_TAPS
    n_blocks = -(-n_samples // n_step)
    white = rng.standard_normal(n_blocks * n_step + N_TAPS)
    # Overlap-save: each block brings the N_TAPS samples before its own.
    blocks = np.lib.stride_tricks.sliding_window_view(white, n_block)[::n_step]
    spectrum = scipy.fft.rfft(taps, n_block)
    filtered = scipy.fft.irfft(scipy.fft.rfft(blocks, axis=1) * spectrum, n_block, axis=1)
    samples: Samples = filtered[:, N_TAPS:].reshape(-1)[:n_samples]
    return samples


def tap_frequencies_hz(sample_rate_hz: int) -> npt.NDArray[np.float64]:
    """Return the frequencies at which `shaped_noise` takes its densities."""
    return np.arange(N_TAPS // 2 + 1, dtype=np.float64) * (sample_rate_hz / N_TAPS)


def slow_gain(rng: np.random.Generator, n_samples: int, n_knot: int, spread_db: float) -> Samples:
    """Return a gain that wanders: Gaussian in dB at knots `n_knot` samples apart, linear between them."""
    knots = amplitude(spread_db * rng.standard_normal(n_samples // n_knot + 2))
    ramp = np.arange(n_knot) / n_knot
    lines = knots[:-1, None] + np.diff(knots)[:, None] * ramp
    gain: Samples = lines.reshape(-1)[:n_samples]
    return gain


def background(rng: np.random.Generator, n_samples: int, response: Response, part: str, ambient_db: float) -> Samples:
    """Return the noise of one channel: the wood at that part of the day as heard, and the recorder's own.

    `part` is a key of `HUMS`; `ambient_db` is how much louder than `QUIET_WOOD` it is.
    """
    rate = response.sample_rate_hz
    frequency_hz = tap_frequencies_hz(rate)
    wood_db = ambient_db + curve_db(QUIET_WOOD, frequency_hz) + curve_db(HUMS[part], frequency_hz)
    heard_db = wood_db + microphone_db(response, frequency_hz)
    density_db = 10.0 * np.log10(np.power(10.0, heard_db / 10.0) + np.power(10.0, response.noise_db / 10.0))
    samples = shaped_noise(rng, n_samples, rate, density_db)
    samples *= slow_gain(rng, n_samples, 2 * rate, 1.0)
    return samples


def wind(rng: np.random.Generator, n_samples: int, response: Response, source_db: float) -> Samples:
    """Return wind: low rumble in gusts of some seconds, at a mean level of about `source_db` plus gain."""
    rate = response.sample_rate_hz
    frequency_hz = tap_frequencies_hz(rate)
    density_db = source_db - 27.0 + curve_db(WIND, frequency_hz) + microphone_db(response, frequency_hz)
    samples = shaped_noise(rng, n_samples, rate, density_db)
    samples *= slow_gain(rng, n_samples, 2 * rate, 3.5)
    samples *= slow_gain(rng, n_samples, rate // 3, 1.5)
    return samples


def rain(rng: np.random.Generator, n_samples: int, response: Response, source_db: float) -> Samples:
    """Return rain: broad noise that swells and ebbs, and drops that hit the case ten times a second."""
    rate = response.sample_rate_hz
    frequency_hz = tap_frequencies_hz(rate)
    density_db = source_db - 39.0 + curve_db(RAIN, frequency_hz) + microphone_db(response, frequency_hz)
    samples = shaped_noise(rng, n_samples, rate, density_db) * slow_gain(rng, n_samples, 3 * rate, 1.5)
    n_drop = rate // 40
    time_s = np.arange(n_drop) / rate
    tones_hz = 350.0 + 1800.0 * rng.random(24) ** 2
    drops = np.sin(2.0 * np.pi * tones_hz[:, None] * time_s) * np.exp(-time_s * 250.0)
    for _ in range(round(10.0 * n_samples / rate)):
        start = int(rng.integers(max(n_samples - n_drop, 1)))
        which, strength = int(rng.integers(24)), float(rng.random())
        drop = drops[which, : n_samples - start]
        samples[start : start + n_drop] += amplitude(source_db + response.gain_db + 12.0 * strength) * drop
    return samples


WEATHER = {"rain": rain, "wind": wind}


@lru_cache(maxsize=64)
def transfer(response: Response, distance: Distance, n_fft: int) -> npt.NDArray[np.complex128]:
    """Return the spectrum that takes a dry call to what the recorder hears of it.

    Shape (n_fft // 2 + 1,). The direct sound keeps its time (zero phase); the reflections are Gaussian noise that
    decays by 60 dB in `decay_s`, begins 8 ms later and has `wet_db` of the direct sound's power.
    """
    rate = response.sample_rate_hz
    n_tail = round(TAIL_S * rate)
    tail = np.random.Generator(np.random.PCG64(response.seed)).standard_normal(n_tail)
    tail *= np.power(10.0, -3.0 * np.arange(n_tail) / (rate * response.decay_s))
    tail[: round(0.008 * rate)] = 0.0
    tail *= amplitude(distance.wet_db) / np.sqrt(np.sum(tail * tail))
    tail[0] = 1.0
    frequency_hz = np.arange(n_fft // 2 + 1, dtype=np.float64) * (rate / n_fft)
    loss_db = distance.loss_db + distance.high_loss_db * np.minimum(frequency_hz, 12000.0) / 8000.0
    spectrum: npt.NDArray[np.complex128] = scipy.fft.rfft(tail, n_fft)
    spectrum *= amplitude(microphone_db(response, frequency_hz) - loss_db)
    return spectrum


def heard(dry: Samples, response: Response, distance: Distance, source_db: float) -> Samples:
    """Return a call as the recorder hears it, shape (len(dry) + tail,).

    `dry` is first brought to `source_db` (its mean level over its whole length), then filtered by `transfer`.
    """
    n_out = len(dry) + round(TAIL_S * response.sample_rate_hz)
    n_fft = 1 << (n_out - 1).bit_length()
    if 3 * n_fft // 4 >= n_out:
        n_fft = 3 * n_fft // 4
    wanted = amplitude(source_db - level_db(dry))
    spectrum = scipy.fft.rfft(dry * wanted, n_fft) * transfer(response, distance, n_fft)
    samples: Samples = scipy.fft.irfft(spectrum, n_fft)[:n_out]
    return samples


def to_channels(mono: Samples, n_channels: int, pan_db: float) -> Samples:
    """Return a sound on every channel, shape (n_channels, n): one, or two whose levels differ by `pan_db`."""
    if n_channels == 1:
        return mono[None, :]
    channels: Samples = amplitude(np.array([[0.5 * pan_db], [-0.5 * pan_db]])) * mono
    return channels


def quantise(samples: Samples) -> npt.NDArray[np.int16]:
    """Return 16-bit samples of the same shape; what exceeds full scale is clipped, as a converter does."""
    scaled = np.rint(samples * 32768.0)
    return np.clip(scaled, -32768.0, 32767.0, out=scaled).astype(np.int16)
