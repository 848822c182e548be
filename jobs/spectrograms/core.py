"""Turn one window of samples into level codes: arrays in, arrays out."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torchaudio.functional
from numpy.typing import NDArray

from jobs.common.audio.probe import MAX_PEAK, one_channel, without_impossible
from jobs.spectrograms.config import Config
from jobs.spectrograms.fourier import plan_transform
from jobs.spectrograms.kernels import SPECTRA_AT_ONCE, Tools, bank_of, frame_codes, scratch_for
from jobs.spectrograms.measure import Measures, measure
from jobs.spectrograms.mel import fft_lengths, mel_bank, n_usable_bands
from lake.constants import CLIP_RUN, QUALITY

Run = tuple[int, int]
"""A span of samples, first and one past the last."""
CLIP_LEVEL = 0.999
CHANNELS_DIFFER_DB = 20.0


@dataclass(frozen=True)
class Facts:
    """Facts about one window's samples.

    Attributes
    ----------
    quality
        Bits of ``lake.constants.QUALITY``.
    level_db
        Mean level, ``10 log10(2 mean(x^2))``: a full-scale sine reads 0. ``None`` for silence.
    peak_db
        ``20 log10(max |x|)``; ``None`` for silence.
    n_low, n_high
        Levels that were clamped at the ends of the code's range.
    """

    quality: int
    level_db: float | None
    peak_db: float | None
    n_low: int
    n_high: int


def window_codes(
    samples: NDArray[np.float32], runs: Sequence[Run], sample_rate_hz: int, config: Config, *, is_float: bool = False
) -> tuple[NDArray[np.uint8], Facts]:
    """Return the level codes of one window.

    Parameters
    ----------
    samples
        The window at its recording's rate, shape (n_channels, n_samples); full scale is 1.
    runs
        Spans of samples that were recorded, in order and disjoint. What lies outside is ignored.
    sample_rate_hz
        The recording's rate.
    config
        The job's configuration.
    is_float
        Whether the samples are stored as floating-point numbers: those are clipped where they stay at one extreme
        value, not where they exceed full scale.

    Returns
    -------
    codes
        uint8, shape (n_mels, n_frames), lowest band first. 0 where a frame's centre was not recorded, and
        in bands that reach above the recording's Nyquist frequency.
    facts
        Quality, levels, counts.
    """
    found = _measured(samples, runs, is_float=is_float)
    broken = any(one.n_not_finite or max(-one.lowest, one.highest) > MAX_PEAK for one in found)
    clean = without_impossible(samples) if broken else samples
    if broken:
        found = _measured(clean, runs, is_float=is_float)
    signal = np.ascontiguousarray(one_channel(clean, config.channel), dtype=np.float32)
    rate = config.sample_rate_hz or sample_rate_hz
    n_samples = signal.shape[0] if rate == sample_rate_hz else round(config.window_s * rate)
    codes = np.zeros((config.n_mels, config.n_frames), dtype=np.uint8)
    n_bands = n_usable_bands(config, sample_rate_hz)
    centres = np.rint((np.arange(config.n_frames) + 0.5) * n_samples / config.n_frames).astype(np.int64)
    n_low = n_high = 0
    for first, last in runs:
        part = signal[first:last]
        if rate != sample_rate_hz:
            part, first = _resampled(part, first, sample_rate_hz, rate)  # noqa: PLW2901 (now in samples of the new rate)
        begin, end = np.searchsorted(centres, (first, first + len(part)))
        if begin == end or len(part) < 2:
            continue
        low, high = _transform(part, centres[begin:end] - first, rate, config, codes[:n_bands, begin:end])
        n_low, n_high = n_low + low, n_high + high
    of_signal = found[0] if len(found) == 1 else _measured(signal[None], runs, is_float=is_float)[0]
    quality = _quality(of_signal, found) | (QUALITY["not_a_number"] if broken else 0)
    power = of_signal.energy / sum(last - first for first, last in runs)
    peak = max(-of_signal.lowest, of_signal.highest)
    level_db = round(10 * np.log10(2 * power), 3) if power > 0 else None
    peak_db = round(20 * np.log10(peak), 3) if peak > 0 else None
    return codes, Facts(quality, level_db, peak_db, n_low, n_high)


def _transform(
    part: NDArray[np.float32], centres: NDArray[np.int64], rate: int, config: Config, codes: NDArray[np.uint8]
) -> tuple[int, int]:
    """Fill the codes, shape (n_bands, n_frames), of frames around centres; edges are reflected.

    Returns how many levels were below and above the range.
    """
    tools = _tools(config, rate, len(codes), threading.get_ident())
    starts = centres - len(tools.taper) // 2
    n_low, n_high = frame_codes(part, starts, tools, codes)
    return n_low, n_high


@lru_cache(maxsize=16)
def _tools(config: Config, rate: int, n_bands: int, thread: int) -> Tools:  # noqa: ARG001 (no two threads share memory)
    n_window, n_fft = fft_lengths(config, rate)
    taper = torch.hann_window(n_window, periodic=True)
    bank = bank_of(mel_bank(config, rate)[:n_bands], 4 / float(taper.sum()) ** 2)
    return Tools(taper.numpy(), bank, scratch_for(bank), plan_transform(SPECTRA_AT_ONCE, n_fft))


def _resampled(part: NDArray[np.float32], first: int, rate: int, new_rate: int) -> tuple[NDArray[np.float32], int]:
    """Resample a run from its own samples alone, its edges reflected; return it and its new position."""
    pad = min(len(part) - 1, rate // 100)
    pad -= pad % (rate // np.gcd(rate, new_rate)) if pad > rate // np.gcd(rate, new_rate) else pad
    padded = torch.from_numpy(np.pad(part, pad, mode="reflect") if pad else part)
    out = torchaudio.functional.resample(padded, rate, new_rate, lowpass_filter_width=64, rolloff=0.9476)
    start, count = round(pad * new_rate / rate), round(len(part) * new_rate / rate)
    return out[start : start + count].numpy(), round(first * new_rate / rate)


def _measured(channels: NDArray[np.float32], runs: Sequence[Run], *, is_float: bool) -> list[Measures]:
    """Measure the recorded samples of every channel, shape (n_channels, n_samples)."""
    return [
        _joined([measure(channel[first:last], CLIP_LEVEL, at_extremes=is_float) for first, last in runs])
        for channel in channels
    ]


def _joined(parts: Sequence[Measures]) -> Measures:
    return Measures(
        energy=sum(part.energy for part in parts),
        lowest=min(part.lowest for part in parts),
        highest=max(part.highest for part in parts),
        longest_at_full_scale=max(part.longest_at_full_scale for part in parts),
        n_not_finite=sum(part.n_not_finite for part in parts),
    )


def _quality(signal: Measures, channels: Sequence[Measures]) -> int:
    """Return the bits of ``lake.constants.QUALITY`` that the channels, and what became of them, call for."""
    quality = 0
    if signal.lowest == signal.highest == 0:
        quality |= QUALITY["silent"]
    elif signal.lowest == signal.highest:
        quality |= QUALITY["constant"]
    if any(channel.longest_at_full_scale >= CLIP_RUN for channel in channels):
        quality |= QUALITY["clipped"]
    energies = [channel.energy for channel in channels]
    if max(energies) > 0 and min(energies) < max(energies) * 10 ** (-CHANNELS_DIFFER_DB / 10):
        quality |= QUALITY["channels_differ"]
    return quality
