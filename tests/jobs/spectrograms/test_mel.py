import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.spectrograms.config import Config
from jobs.spectrograms.mel import fft_lengths, mel_bank, mel_centres_hz, mel_edges_hz, n_bands_below_nyquist

FULL = Config()
RATES = [16_000, 22_050, 32_000, 44_100, 48_000, 96_000]


def sine_levels_db(frequency_hz: float, rate: int, config: Config, phase: float = 1.0) -> NDArray[np.float64]:
    """Level of each band for a full-scale sine, from numpy's own transform."""
    n_window, n_fft = fft_lengths(config, rate)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_window) / n_window)
    sine = np.sin(2 * np.pi * frequency_hz * np.arange(n_window) / rate + phase)
    power = np.abs(np.fft.rfft(sine * hann, n_fft)) ** 2 * 4 / hann.sum() ** 2
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(mel_bank(config, rate) @ power))


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_a_full_scale_sine_at_a_bands_centre_reads_0_dbfs(rate: int) -> None:
    centres = mel_centres_hz(FULL)[: n_bands_below_nyquist(FULL, rate)]
    resolution_hz = rate / fft_lengths(FULL, rate)[0]
    for band in np.flatnonzero(centres > 2 * resolution_hz)[::29]:
        assert abs(sine_levels_db(centres[band], rate, FULL)[band]) < 0.1, f"band {band} at {centres[band]:.1f} Hz"


def test_anywhere_in_range_the_largest_band_is_within_3_db() -> None:
    centres = mel_centres_hz(FULL)
    random = np.random.default_rng(0)
    for frequency in random.uniform(centres[12], centres[-1], 150):
        assert -3.1 < sine_levels_db(frequency, 48_000, FULL).max() < 0.1


@pytest.mark.parametrize("rate", RATES)
def test_no_band_below_the_nyquist_frequency_is_empty_and_none_above_is_there(rate: int) -> None:
    filled = np.diff(mel_bank(FULL, rate).indptr) > 0
    n_below = np.count_nonzero(mel_edges_hz(FULL)[2:] <= rate / 2 + 1e-6)
    assert filled[:n_below].all()
    assert not filled[n_below:].any()
    assert n_bands_below_nyquist(FULL, rate) == n_below


def test_the_bank_is_the_integral_of_triangles_over_a_spectrum_that_is_linear_between_bins() -> None:
    config = Config(n_mels=24, f_max_hz=8000.0, fft_s=0.016)
    bank = mel_bank(config, 16_000).toarray()
    n_fft = fft_lengths(config, 16_000)[1]
    fine = np.linspace(0, 8000, 800_001)
    edges = mel_edges_hz(config)
    power = np.random.default_rng(0).uniform(size=n_fft // 2 + 1)
    spectrum = np.interp(fine, np.arange(n_fft // 2 + 1) * 16_000 / n_fft, power)
    for band in range(24):
        triangle = np.interp(fine, edges[band : band + 3], [0, 1, 0])
        integral = np.trapezoid(triangle * spectrum, fine)
        flat = np.trapezoid(triangle, fine)
        assert bank[band] @ power / bank[band].sum() == pytest.approx(integral / flat, rel=1e-4)
