"""The loops over samples and bins, compiled: what array expressions would take several passes for."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.common.compiled import compiled
from lake.names import CODE_OFFSET_DB, CODE_STEP_DB

Float32Array = NDArray[np.float32]

FRAMES_AT_ONCE = 64
"""Frames that go through the filter bank side by side: enough that the loops over them outweigh what starts each."""
_FRAMES_ABREAST = 32
_BANDS_AT_ONCE = 64
_TINY = np.float32(1e-30)
_STEPS_PER_LN = np.float32(10 / np.log(10) / CODE_STEP_DB)
_STEPS_PER_OCTAVE = np.float32(10 * np.log10(2) / CODE_STEP_DB)
_OFFSET_STEPS = np.float32(-CODE_OFFSET_DB / CODE_STEP_DB + 0.5)  # half a step: truncation then rounds
_SQRT_HALF_BITS = np.int32(np.float32(np.sqrt(0.5)).view(np.int32))
_MANTISSA_BITS = np.int32(23)
_LOG = tuple(
    np.float32(c)
    for c in (
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )
)  # fmt: skip
"""ln(1 + t) = t - t²/2 + t³ P(t) for 1 + t in sqrt(1/2) to sqrt(2), to 1e-7 (Cephes `logf`, Moshier 1989)."""


class Bank(NamedTuple):
    """A filter bank by rows: band m weighs the bins from ``first_bins[m]`` on with ``weights[ends[m]:ends[m + 1]]``.

    Attributes
    ----------
    first_bins, ends, weights
        uint64, int32 and float32, shapes (n_bands,), (n_bands + 1,), (n_weights,).
    """

    first_bins: NDArray[np.uint64]
    ends: NDArray[np.int32]
    weights: Float32Array


class Scratch(NamedTuple):
    """Memory to work in, used again and again: new memory costs as much as the work itself.

    Attributes
    ----------
    power, levels
        Of all bins and of some bands, shapes (n_bins, FRAMES_AT_ONCE) and (some, FRAMES_AT_ONCE).
    """

    power: Float32Array
    levels: Float32Array


def scratch_for(bank: Bank) -> Scratch:
    """Return memory for :func:`band_codes` with a bank."""
    last_bins = bank.first_bins.astype(np.int64) + np.diff(bank.ends)
    return Scratch(
        np.empty((int(last_bins.max(initial=0)), FRAMES_AT_ONCE), dtype=np.float32),
        np.empty((_BANDS_AT_ONCE, FRAMES_AT_ONCE), dtype=np.float32),
    )


class Measures(NamedTuple):
    """What one pass over samples finds.

    Attributes
    ----------
    energy
        Sum of squares.
    lowest, highest
        Extreme samples.
    longest_at_full_scale
        Most samples in a row at or beyond the clipping level.
    n_not_finite
        Samples that are NaN or infinite; with any, the others are without meaning.
    """

    energy: float
    lowest: float
    highest: float
    longest_at_full_scale: int
    n_not_finite: int


@compiled
def cut_frames(samples: Float32Array, starts: NDArray[np.uint64], taper: Float32Array, out: Float32Array) -> None:
    """Cut tapered frames.

    Parameters
    ----------
    samples
        Shape (n_samples,).
    starts
        First sample of every frame, shape (n_frames,).
    taper
        Window function, shape (n_window,).
    out
        Shape (n_frames or more, n_window or more); beyond the frames it stays as it is.
    """
    for frame in range(starts.shape[0]):
        start = starts[frame]
        row = out[frame]
        for i in range(taper.shape[0]):
            row[i] = samples[start + np.uint64(i)] * taper[i]


@compiled
def _power(spectrum: Float32Array, power: Float32Array) -> None:
    """Square the spectra, shape (n_frames, 2 n_bins), and lay them on their side, shape (n_bins, n_frames)."""
    for first in range(0, spectrum.shape[0], _FRAMES_ABREAST):
        for k in range(power.shape[0]):
            for f in range(first, first + _FRAMES_ABREAST):
                real, imaginary = spectrum[f, 2 * k], spectrum[f, 2 * k + 1]
                power[k, f] = real * real + imaginary * imaginary


@compiled
def _bands(power: Float32Array, bank: Bank, first: int, scale: np.float32, out: Float32Array) -> None:
    """Weigh rows of power, shape (n_bins, n_frames), into the power of bands from one on, shape (some, n_frames)."""
    for j in range(out.shape[0]):
        row, band = out[j], first + j
        for f in range(row.shape[0]):
            row[f] = 0
        begin = bank.ends[band]
        for i in range(begin, bank.ends[band + 1]):
            weight = bank.weights[i] * scale
            of_bin = power[bank.first_bins[band] + np.uint64(i - begin)]
            for f in range(row.shape[0]):
                row[f] += weight * of_bin[f]


@compiled
def _codes(power: Float32Array, out: NDArray[np.uint8]) -> tuple[int, int]:
    """Turn power, shape (some, n_frames or more), into codes, shape (some, n_frames); count those that were clamped.

    Every integer is cast: numba would compute with 64 bits, in vectors half as wide.
    """
    n_low = n_high = np.int32(0)
    for j in range(out.shape[0]):
        row, of_band = power[j], out[j]
        for i in range(out.shape[1]):
            x = np.float32(max(row[i], _TINY))
            bits = np.float32(x).view(np.int32)
            octave = np.int32(np.int32(bits - _SQRT_HALF_BITS) >> _MANTISSA_BITS)
            t = np.int32(bits - np.int32(octave << _MANTISSA_BITS)).view(np.float32) - np.float32(1)
            poly = _LOG[0] * t + _LOG[1]
            poly = poly * t + _LOG[2]
            poly = poly * t + _LOG[3]
            poly = poly * t + _LOG[4]
            poly = poly * t + _LOG[5]
            poly = poly * t + _LOG[6]
            poly = poly * t + _LOG[7]
            poly = poly * t + _LOG[8]
            ln = t + t * t * (poly * t - np.float32(0.5))
            step = np.int32(_STEPS_PER_LN * ln + (_STEPS_PER_OCTAVE * np.float32(octave) + _OFFSET_STEPS))
            n_low = np.int32(n_low + np.int32(step < 1))
            n_high = np.int32(n_high + np.int32(step > 255))
            of_band[i] = np.uint8(min(max(step, np.int32(1)), np.int32(255)))
    return int(n_low), int(n_high)


@compiled
def band_codes(
    spectrum: Float32Array, bank: Bank, scale: np.float32, scratch: Scratch, codes: NDArray[np.uint8]
) -> tuple[int, int]:
    """Turn spectra into level codes: power, filter bank, logarithm and rounding while they are in the cache.

    Parameters
    ----------
    spectrum
        Real and imaginary parts side by side, shape (FRAMES_AT_ONCE, 2 n_bins).
    bank
        The filter bank.
    scale
        Factor of the power.
    scratch
        Of this bank.
    codes
        uint8, shape (n_bands, n_frames) with at most FRAMES_AT_ONCE frames, the first ones of the spectrum;
        receives ``round((10 log10(power) - CODE_OFFSET_DB) / CODE_STEP_DB)`` in 1 to 255.

    Returns
    -------
    n_low, n_high
        How many levels were below or above the range and were clamped.

    Raises
    ------
    ValueError
        If there are more or fewer spectra.
    """
    if spectrum.shape[0] != FRAMES_AT_ONCE or codes.shape[1] > FRAMES_AT_ONCE:
        raise ValueError("spectra go through the filter bank FRAMES_AT_ONCE at a time")
    n_low = n_high = 0
    _power(spectrum, scratch.power)
    for first in range(0, codes.shape[0], _BANDS_AT_ONCE):
        some = codes[first : first + _BANDS_AT_ONCE]
        levels = scratch.levels[: some.shape[0]]
        _bands(scratch.power, bank, first, scale, levels)
        low, high = _codes(levels, some)
        n_low += low
        n_high += high
    return n_low, n_high


@compiled
def _measure(samples: Float32Array, clip_level: np.float32) -> tuple[float, np.float32, np.float32, int, int]:
    energy = 0.0
    lowest = highest = samples[0]
    run = longest = n_not_finite = 0
    for x in samples:
        energy += np.float64(x) * np.float64(x)
        lowest = min(lowest, x)
        highest = max(highest, x)
        n_not_finite += not np.isfinite(x)
        run = run + 1 if abs(x) >= clip_level else 0
        longest = max(longest, run)
    return energy, lowest, highest, longest, n_not_finite


def measure(samples: Float32Array, clip_level: float) -> Measures:
    """Return what one pass over samples, shape (n_samples,) with at least one, finds."""
    energy, lowest, highest, longest, n_not_finite = _measure(samples, np.float32(clip_level))
    return Measures(float(energy), float(lowest), float(highest), int(longest), int(n_not_finite))
