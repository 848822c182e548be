"""The loops over samples and bins, compiled: what array expressions would take several passes for."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from jobs.common.compiled import compiled
from jobs.spectrograms.fourier import FAILED, Transform
from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB

Float32Array = NDArray[np.float32]

FRAMES_AT_ONCE = 64
"""Frames that go through the filter bank side by side: enough that the loops over them outweigh what starts each."""
SPECTRA_AT_ONCE = 16
"""Frames that are transformed at a time: a line of each stays in the nearest cache until it was read to its end."""
_BANDS_AT_ONCE = 64
_WEIGHTS_AT_ONCE = 4
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
        int64, int64 and float32, shapes (n_bands,), (n_bands + 1,), (n_weights,). Every band has a multiple of
        four weights, the last ones 0.
    """

    first_bins: NDArray[np.int64]
    ends: NDArray[np.int64]
    weights: Float32Array


def bank_of(matrix: csr_matrix, scale: float) -> Bank:
    """Return the bank of a matrix times a factor.

    Parameters
    ----------
    matrix
        Shape (n_bands, n_bins); every row has weights, without a gap between them.
    scale
        The factor.
    """
    begins, counts = matrix.indptr[:-1].astype(np.int64), np.diff(matrix.indptr).astype(np.int64)
    padded = -(-counts // _WEIGHTS_AT_ONCE) * _WEIGHTS_AT_ONCE
    ends = np.concatenate([[0], np.cumsum(padded)])
    weights = np.zeros(ends[-1], dtype=np.float32)
    weights[np.repeat(ends[:-1] - begins, counts) + np.arange(counts.sum())] = matrix.data * np.float32(scale)
    return Bank(matrix.indices[begins].astype(np.int64), ends, weights)


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
    """Return memory for :func:`band_codes` with a bank; where no bin is, but a weight of 0, it stays 0."""
    n_bins = int((bank.first_bins + np.diff(bank.ends)).max(initial=0))
    return Scratch(
        np.zeros((n_bins, FRAMES_AT_ONCE), dtype=np.float32),
        np.empty((_BANDS_AT_ONCE, FRAMES_AT_ONCE), dtype=np.float32),
    )


class Tools(NamedTuple):
    """Tables and reused memory for turning frames into codes; they belong to one thread.

    Attributes
    ----------
    taper
        Window function, shape (n_window,); the transform's frames may be longer, and stay 0 there.
    bank
        The filter bank.
    scratch
        Of this bank.
    transform
        Of SPECTRA_AT_ONCE frames.
    """

    taper: Float32Array
    bank: Bank
    scratch: Scratch
    transform: Transform


@compiled
def cut_frames(samples: Float32Array, starts: NDArray[np.int64], taper: Float32Array, out: Float32Array) -> None:
    """Cut tapered frames; beyond its ends a signal goes on as its mirror image, the end itself not repeated.

    Parameters
    ----------
    samples
        Shape (n_samples,), with at least two.
    starts
        First sample of every frame, shape (n_frames,); may lie before the first sample.
    taper
        Window function, shape (n_window,).
    out
        Shape (n_frames or more, n_window or more); beyond the frames it stays as it is.
    """
    n_samples, n_window = samples.shape[0], taper.shape[0]
    period = 2 * (n_samples - 1)
    for frame in range(starts.shape[0]):
        start = starts[frame]
        row = out[frame]
        if start >= 0 and start + n_window <= n_samples:
            part = samples[start : start + n_window]
            for i in range(n_window):
                row[i] = part[i] * taper[i]
        else:
            for i in range(n_window):
                place = (start + i) % period
                row[i] = samples[min(place, period - place)] * taper[i]


@compiled
def take_power(spectra: NDArray[np.complex64], power: Float32Array) -> None:
    """Write the power of spectra transposed: one row for each bin.

    Parameters
    ----------
    spectra
        Shape (SPECTRA_AT_ONCE, n_bins); a spectrum's bins follow each other.
    power
        Shape (n_rows, SPECTRA_AT_ONCE), a row's values following each other; receives the power of each bin, as far
        as its rows go.
    """
    for k in range(min(power.shape[0], spectra.shape[1])):
        row = power[k]
        for f in range(SPECTRA_AT_ONCE):
            x = spectra[f, k]
            row[f] = x.real * x.real + x.imag * x.imag


@compiled
def _bands(
    power: Float32Array, first_bins: NDArray[np.int64], ends: NDArray[np.int64], weights: Float32Array,
    out: Float32Array,
) -> None:  # fmt: skip
    """Weigh rows of power, shape (n_bins, FRAMES_AT_ONCE), into bands, shape (some, FRAMES_AT_ONCE), four at a time."""
    n, flat = FRAMES_AT_ONCE, power.reshape(-1)
    for band in range(out.shape[0]):
        row, i, place = out[band], ends[band], first_bins[band] * n
        a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        bins = flat[place : place + _WEIGHTS_AT_ONCE * n]
        for f in range(n):
            row[f] = d * bins[3 * n + f] + (c * bins[2 * n + f] + (b * bins[n + f] + a * bins[f]))
        for i in range(ends[band] + _WEIGHTS_AT_ONCE, ends[band + 1], _WEIGHTS_AT_ONCE):
            place += _WEIGHTS_AT_ONCE * n
            a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
            bins = flat[place : place + _WEIGHTS_AT_ONCE * n]
            for f in range(n):
                row[f] = d * bins[3 * n + f] + (c * bins[2 * n + f] + (b * bins[n + f] + (a * bins[f] + row[f])))


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
def band_codes(bank: Bank, scratch: Scratch, codes: NDArray[np.uint8]) -> tuple[int, int]:
    """Turn power into level codes: filter bank, logarithm and rounding while it is in the cache.

    Parameters
    ----------
    bank
        The filter bank.
    scratch
        Of this bank, with the power of some frames: see :func:`take_power`.
    codes
        uint8, shape (n_bands, n_frames) with at most FRAMES_AT_ONCE frames, the first ones of the scratch memory;
        receives ``round((10 log10(power) - CODE_OFFSET_DB) / CODE_STEP_DB)`` in 1 to 255.

    Returns
    -------
    n_low, n_high
        How many levels were below or above the range and were clamped.

    Raises
    ------
    ValueError
        If there are more frames.
    """
    if codes.shape[1] > FRAMES_AT_ONCE:
        raise ValueError("more frames than go through the filter bank together")
    n_low = n_high = 0
    for first in range(0, codes.shape[0], _BANDS_AT_ONCE):
        some = codes[first : first + _BANDS_AT_ONCE]
        levels = scratch.levels[: some.shape[0]]
        _bands(scratch.power, bank.first_bins[first:], bank.ends[first:], bank.weights, levels)
        low, high = _codes(levels, some)
        n_low += low
        n_high += high
    return n_low, n_high


@compiled
def frame_codes(
    samples: Float32Array, starts: NDArray[np.int64], tools: Tools, codes: NDArray[np.uint8]
) -> tuple[int, int]:
    """Turn the frames of a signal into level codes, some at a time from the first step to the last.

    Parameters
    ----------
    samples, starts
        The signal and its frames: see :func:`cut_frames`.
    tools
        What it takes.
    codes
        uint8, shape (n_bands, n_frames): see :func:`band_codes`.

    Returns
    -------
    n_low, n_high
        How many levels were below or above the range and were clamped.

    Raises
    ------
    RuntimeError
        If the transform fails.
    """
    n_low = n_high = 0
    taper, bank, scratch, transform = tools
    place, place_of_spectra = transform.frames.ctypes.data, transform.spectra.ctypes.data
    for begin in range(0, len(starts), FRAMES_AT_ONCE):
        some = starts[begin : begin + FRAMES_AT_ONCE]
        for first in range(0, len(some), SPECTRA_AT_ONCE):
            cut_frames(samples, some[first : first + SPECTRA_AT_ONCE], taper, transform.frames)
            if transform.forward(transform.number, place, place_of_spectra) != 0:
                raise RuntimeError(FAILED)
            take_power(transform.spectra, scratch.power[:, first : first + SPECTRA_AT_ONCE])
        low, high = band_codes(bank, scratch, codes[:, begin : begin + FRAMES_AT_ONCE])
        n_low += low
        n_high += high
    return n_low, n_high
