"""The mel filter bank."""

from functools import lru_cache

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from jobs.spectrograms.config import Config

Float64Array = NDArray[np.float64]


def mel_edges_hz(config: Config) -> Float64Array:
    """Return the edges of the bands in Hz, shape (n_mels + 2,); band m spans edges m to m + 2.

    Source: the mel scale ``2595 log10(1 + f / 700)`` (O'Shaughnessy 1987), as HTK and torchaudio use it.
    """
    low, high = (2595 * np.log10(1 + f / 700) for f in (config.f_min_hz, config.f_max_hz))
    mels = np.linspace(low, high, config.n_mels + 2)
    return np.asarray(700 * (10 ** (mels / 2595) - 1))


def mel_centres_hz(config: Config) -> Float64Array:
    """Return the centre frequency of each band in Hz, shape (n_mels,)."""
    return mel_edges_hz(config)[1:-1]


def fft_lengths(config: Config, sample_rate_hz: int) -> tuple[int, int]:
    """Return the Hann window's length and the transform's, in samples, at a sample rate.

    The window's length is even; the transform's is the next one that is fast, filled with zeros.
    """
    n_window = 2 * max(round(config.fft_s * sample_rate_hz / 2), 1)
    return n_window, int(scipy.fft.next_fast_len(n_window, real=True))


@lru_cache(maxsize=16)
def mel_bank(config: Config, sample_rate_hz: int) -> scipy.sparse.csr_matrix:
    """Return the filter bank as a sparse matrix, float32, shape (n_mels, n_fft // 2 + 1).

    Multiplied with power normalised so that a full-scale sine on a bin reads 1, it gives the power of
    each band relative to a full-scale sine at the band's centre: that is what the gain of each band is
    set by. Rows of bands that reach above the Nyquist frequency are empty.

    Notes
    -----
    A band is a triangle over frequency. The power spectrum is known at the transform's bins and taken
    as linear between them, so bin k's weight is the integral of the triangle times the hat function
    of that bin. So a band narrower than a bin interpolates, and none is empty. The integral is the
    second difference of the triangle's second antiderivative, which is exact.
    """
    n_window, n_fft = fft_lengths(config, sample_rate_hz)
    edges = mel_edges_hz(config)
    bin_hz = sample_rate_hz / n_fft
    rows, columns, weights = [], [], []
    for band in range(n_bands_below_nyquist(config, sample_rate_hz)):
        low, centre, high = edges[band : band + 3]
        first = max(int(np.floor(low / bin_hz)), 0)
        last = min(int(np.ceil(high / bin_hz)), n_fft // 2)
        bins = np.arange(first, last + 1)
        weight = _triangle_times_hat(bins.astype(np.float64) * bin_hz, bin_hz, low, centre, high)
        gain = float(weight @ _sine_power(centre / bin_hz, bins, n_window, n_fft))
        keep = weight > 0
        rows.append(np.full(keep.sum(), band))
        columns.append(bins[keep])
        weights.append(weight[keep] / gain)
    shape = (config.n_mels, n_fft // 2 + 1)
    if not rows:
        return scipy.sparse.csr_matrix(shape, dtype=np.float32)
    entries = (np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
    return scipy.sparse.csr_matrix(entries, shape=shape)


@lru_cache(maxsize=16)
def n_bands_below_nyquist(config: Config, sample_rate_hz: int) -> int:
    """Return how many bands, from the lowest, end at or below the Nyquist frequency."""
    rounding = 1 + 1e-9  # of an edge that was computed from a mel and back
    return int(np.count_nonzero(mel_edges_hz(config)[2:] <= sample_rate_hz / 2 * rounding))


def n_usable_bands(config: Config, sample_rate_hz: int) -> int:
    """Return how many bands, from the lowest, a recording of a rate has, after resampling if that is asked for."""
    rate = config.sample_rate_hz or sample_rate_hz
    return min(n_bands_below_nyquist(config, sample_rate_hz), n_bands_below_nyquist(config, rate))


def _triangle_times_hat(centres: Float64Array, width: float, low: float, mid: float, high: float) -> Float64Array:
    """Integrate a triangle times hat functions of a given half-width, by centre; unit: Hz."""

    def antiderivative(x: Float64Array) -> Float64Array:
        """Second antiderivative of the triangle (zero left of it)."""

        def ramp(y: Float64Array) -> Float64Array:
            return np.maximum(y, 0.0) ** 3 / 6

        return (
            ramp(x - low) / (mid - low)
            - ramp(x - mid) * (1 / (mid - low) + 1 / (high - mid))
            + ramp(x - high) / (high - mid)
        )

    difference = antiderivative(centres - width) - 2 * antiderivative(centres) + antiderivative(centres + width)
    scale = (high - low) ** 2
    return np.where(difference > 1e-9 * scale, difference, 0.0) / width


def _sine_power(at: float, bins: NDArray[np.int64], n_window: int, n_fft: int) -> Float64Array:
    """Power that a full-scale sine at the (fractional) bin ``at`` leaves in bins, its phase averaged.

    The Hann window's transform in closed form; the sine's image at negative frequency adds its power,
    which matters only in the lowest bins.
    """

    def hann(offset: Float64Array) -> Float64Array:
        """Return the amplitude of the periodic Hann window's transform, 1 at offset 0 (in bins of n_window)."""

        def dirichlet(x: Float64Array) -> Float64Array:
            angle = np.pi * x
            small = np.abs(np.sin(angle / n_window)) < 1e-12
            safe = np.where(small, 1.0, n_window * np.sin(angle / n_window))
            return np.where(small, 1.0, np.sin(angle) / safe)

        return np.asarray(dirichlet(offset) + 0.5 * (dirichlet(offset - 1) + dirichlet(offset + 1)))

    scale = n_window / n_fft
    offsets = bins.astype(np.float64)
    return np.asarray(hann((offsets - at) * scale) ** 2 + hann((offsets + at) * scale) ** 2)
