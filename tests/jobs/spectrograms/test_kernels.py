import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from jobs.spectrograms.kernels import (
    FRAMES_AT_ONCE,
    SPECTRA_AT_ONCE,
    band_codes,
    bank_of,
    cut_frames,
    scratch_for,
    take_power,
)
from jobs.spectrograms.measure import measure

Float32Array = NDArray[np.float32]
Complex64Array = NDArray[np.complex64]


def each_bin(n_bins: int) -> csr_matrix:
    """Return the matrix of a bank whose bands are the bins."""
    return csr_matrix(np.eye(n_bins, dtype=np.float32))


def codes_of(spectrum: Complex64Array, matrix: csr_matrix, scale: float) -> tuple[NDArray[np.uint8], int, int]:
    """Codes of any number of spectra, shape (n_frames, n_bins), and how many levels were clamped below and above."""
    bank = bank_of(matrix, scale)
    scratch, parts, n_low, n_high = scratch_for(bank), [], 0, 0
    for begin in range(0, len(spectrum), FRAMES_AT_ONCE):
        some = spectrum[begin : begin + FRAMES_AT_ONCE]
        for first in range(0, len(some), SPECTRA_AT_ONCE):
            whole = np.full((SPECTRA_AT_ONCE, spectrum.shape[1]), 1e9, dtype=np.complex64)  # beyond: above the range
            whole[: len(some) - first] = some[first : first + SPECTRA_AT_ONCE]
            take_power(whole, scratch.power[:, first : first + SPECTRA_AT_ONCE])
        parts.append(np.empty((matrix.shape[0], len(some)), dtype=np.uint8))
        low, high = band_codes(bank, scratch, parts[-1])
        n_low, n_high = n_low + low, n_high + high
    return np.concatenate(parts, axis=1), n_low, n_high


def codes_of_power(power: Float32Array) -> tuple[NDArray[np.uint8], int, int]:
    """Codes of power values, each as one frame of one bin."""
    codes, n_low, n_high = codes_of(np.sqrt(power).astype(np.complex64)[:, None], each_bin(1), 1)
    return codes[0], n_low, n_high


def test_levels_become_codes_in_steps_of_half_a_decibel_and_are_clamped() -> None:
    levels_db = np.array([-124.0, -123.8, -123.74, -60.0, 0.0, 2.9, 3.0, 3.3, -124.3, -200.0])
    codes, n_low, n_high = codes_of_power((10 ** (levels_db / 10)).astype(np.float32))
    assert codes.tolist() == [1, 1, 2, 129, 249, 255, 255, 255, 1, 1]
    assert (n_low, n_high) == (2, 1)
    silent, n_low, _ = codes_of_power(np.zeros(3, dtype=np.float32))
    assert silent.tolist() == [1, 1, 1], "silence is a level, not a gap"
    assert n_low == 3


def test_every_power_gets_the_code_of_its_logarithm() -> None:
    """All of the range, and both sides of every octave: the polynomial is as good as numpy's logarithm."""
    octaves = np.float32(2.0) ** np.arange(-41, 2, dtype=np.float32)
    edges = np.concatenate([np.nextafter(octaves, np.float32(0)), octaves, octaves * np.float32(np.sqrt(2))])
    power = np.concatenate([np.geomspace(4e-13, 1.99, 200_000), edges]).astype(np.float32)
    codes, _, _ = codes_of_power(power)
    seen = np.square(np.sqrt(power)).astype(np.float64)
    exact = (10 * np.log10(seen) + 124.5) / 0.5
    assert np.abs(codes - np.clip(exact, 1, 255)).max() < 0.5 + 1e-4


@given(st.integers(1, 3 * FRAMES_AT_ONCE), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_bands_equal_a_slow_twin_for_any_number_of_frames(n_frames: int, n_bins: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    spectrum = (random.standard_normal((n_frames, n_bins)) + 1j * random.standard_normal((n_frames, n_bins))).astype(
        np.complex64
    )
    matrix = np.zeros((7, n_bins), dtype=np.float32)
    for row in matrix:
        width = random.integers(1, n_bins + 1)
        first = random.integers(0, n_bins - width + 1)
        row[first : first + width] = random.uniform(0.1, 1, size=width)
    codes, _, _ = codes_of(spectrum, csr_matrix(matrix), 0.01)
    levels = matrix.astype(np.float64) @ np.square(np.abs(spectrum.astype(np.complex128))).T * 0.01
    exact = np.clip((10 * np.log10(levels) + 124.5) / 0.5, 1, 255)
    assert np.abs(codes - exact).max() < 0.5 + 1e-3


def test_more_frames_than_go_together_are_refused() -> None:
    bank = bank_of(each_bin(1), 1)
    with pytest.raises(ValueError, match="more frames than"):
        band_codes(bank, scratch_for(bank), np.zeros((1, FRAMES_AT_ONCE + 1), dtype=np.uint8))


def test_parseval_holds_for_frames_transform_and_power() -> None:
    """The power of all bins, counted twice but for the first and the last, is the energy of the tapered samples."""
    n = 512
    samples = np.random.default_rng(0).standard_normal(4 * n).astype(np.float32)
    taper = torch.hann_window(n).numpy()
    frames = np.zeros((3, n), dtype=np.float32)
    starts = np.array([0, 700, 1536])
    cut_frames(samples, starts, taper, frames)
    spectrum = torch.fft.rfft(torch.from_numpy(frames)).numpy()
    scale = 1 / 4096
    codes, *clamped = codes_of(spectrum, each_bin(n // 2 + 1), scale)
    assert clamped == [0, 0]
    power = 10 ** ((codes * 0.5 - 124.5) / 10) / scale
    twice = np.full(n // 2 + 1, 2.0)
    twice[[0, -1]] = 1
    for frame, start in enumerate(starts):
        energy = ((samples[start : start + n] * taper).astype(np.float64) ** 2).sum()
        assert twice @ power[:, frame] / n == pytest.approx(energy, rel=0.01), "codes round by up to 6 %, up and down"


def test_frames_are_cut_where_they_start_and_what_lies_beyond_the_taper_stays() -> None:
    samples = np.arange(20, dtype=np.float32)
    out = np.full((3, 6), -1, dtype=np.float32)
    cut_frames(samples, np.array([0, 15]), np.array([1, 2, 3], dtype=np.float32), out)
    assert out.tolist() == [[0, 2, 6, -1, -1, -1], [15, 32, 51, -1, -1, -1], [-1] * 6]


@given(st.integers(2, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_beyond_its_ends_a_signal_is_mirrored(n_samples: int, n_window: int, seed: int) -> None:
    samples = np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)
    starts, taper = np.arange(-n_window, n_samples + 1), np.ones(n_window, dtype=np.float32)
    out = np.empty((len(starts), n_window), dtype=np.float32)
    cut_frames(samples, starts, taper, out)
    mirrored = np.pad(samples, n_window + n_samples, mode="reflect")
    for row, start in zip(out, starts, strict=True):
        first = start + n_window + n_samples
        assert np.array_equal(row, mirrored[first : first + n_window])


LOUDNESS = [0.0, 0.5, -0.5, 0.999, -1.0, 1.0]


@given(st.lists(st.sampled_from(LOUDNESS), min_size=1, max_size=50), st.sampled_from([0, 1, 511, 512, 3000]))
def test_measures_equal_a_slow_twin(values: list[float], n_before: int) -> None:
    samples = np.array([0.25] * n_before + values, dtype=np.float32)
    found = measure(samples, 0.999)
    assert found.energy == pytest.approx(float((samples.astype(np.float64) ** 2).sum()))
    assert (found.lowest, found.highest, found.n_not_finite) == (samples.min(), samples.max(), 0)
    text = "".join("x" if abs(value) >= np.float32(0.999) else " " for value in samples)
    assert found.longest_at_full_scale == max(map(len, text.split(" ")))


@pytest.mark.parametrize("n_before", [0, 5000])
def test_measures_count_what_is_no_number(n_before: int) -> None:
    samples = np.array([0.0] * n_before + [0, np.nan, np.inf, -np.inf, 1] + [0.0] * n_before, dtype=np.float32)
    assert measure(samples, 0.999).n_not_finite == 3


def test_samples_of_any_finite_size_are_numbers() -> None:
    largest = np.full(600, np.finfo(np.float32).max)
    assert measure(largest, 0.999).n_not_finite == 0
