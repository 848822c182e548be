"""One window of samples to level codes: arrays in, arrays out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torchaudio.functional
from numpy.typing import NDArray

from jobs.spectrograms.config import Config
from jobs.spectrograms.mel import fft_lengths, level_codes, mel_bank, n_bands_below_nyquist
from lake.names import QUALITY

Run = tuple[int, int]
"""A span of samples, first and one past the last."""
CLIP_LEVEL = 0.999
CLIP_RUN = 3
CHANNELS_DIFFER_DB = 20.0


@dataclass(frozen=True)
class Facts:
    """What one window's samples say about themselves.

    Attributes
    ----------
    quality
        Bits of ``lake.names.QUALITY``.
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
    samples: NDArray[np.float32], runs: Sequence[Run], sample_rate_hz: int, config: Config
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

    Returns
    -------
    codes
        uint8, shape (n_mels, n_frames), lowest band first. 0 where a frame's centre was not recorded, and
        in bands that reach above the recording's Nyquist frequency.
    facts
        Quality, levels, counts.
    """
    clean = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    signal = np.ascontiguousarray(_one_channel(clean, config.channel), dtype=np.float32)
    rate = config.sample_rate_hz or sample_rate_hz
    n_samples = signal.shape[0] if rate == sample_rate_hz else round(config.window_s * rate)
    codes = np.zeros((config.n_mels, config.n_frames), dtype=np.uint8)
    n_bands = min(n_bands_below_nyquist(config, sample_rate_hz), n_bands_below_nyquist(config, rate))
    centres = np.rint((np.arange(config.n_frames) + 0.5) * n_samples / config.n_frames).astype(np.int64)
    n_low = n_high = 0
    for first, last in runs:
        part = signal[first:last]
        if rate != sample_rate_hz:
            part, first = _resampled(part, first, sample_rate_hz, rate)  # noqa: PLW2901 (now in samples of the new rate)
        frames = np.flatnonzero((centres >= first) & (centres < first + len(part)))
        if len(frames) == 0 or len(part) < 2:
            continue
        power = _band_power(part, centres[frames] - first, rate, config)[:n_bands]
        codes[:n_bands, frames], low, high = level_codes(power)
        n_low, n_high = n_low + low, n_high + high
    return codes, _facts(samples, clean, signal, runs, (n_low, n_high))


def _band_power(
    part: NDArray[np.float32], centres: NDArray[np.int64], rate: int, config: Config
) -> NDArray[np.float32]:
    """Return the power of each band around each centre, shape (n_mels, n_frames); edges are reflected."""
    n_window, n_fft = fft_lengths(config, rate)
    window = torch.hann_window(n_window, periodic=True)
    padded = np.pad(part, n_window // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_window)[centres]
    spectrum = torch.fft.rfft(torch.from_numpy(frames) * window, n=n_fft)
    power = torch.view_as_real(spectrum).square().sum(dim=-1) * float(4 / window.sum() ** 2)
    return np.asarray(mel_bank(config, rate) @ np.ascontiguousarray(power.numpy().T), dtype=np.float32)


def _resampled(part: NDArray[np.float32], first: int, rate: int, new_rate: int) -> tuple[NDArray[np.float32], int]:
    """Resample a run from its own samples alone, its edges reflected; return it and its new position."""
    pad = min(len(part) - 1, rate // 100)
    pad -= pad % (rate // np.gcd(rate, new_rate)) if pad > rate // np.gcd(rate, new_rate) else pad
    padded = torch.from_numpy(np.pad(part, pad, mode="reflect") if pad else part)
    out = torchaudio.functional.resample(padded, rate, new_rate, lowpass_filter_width=64, rolloff=0.9476)
    start, count = round(pad * new_rate / rate), round(len(part) * new_rate / rate)
    return out[start : start + count].numpy(), round(first * new_rate / rate)


def _one_channel(samples: NDArray[np.float32], channel: str | int) -> NDArray[np.float32]:
    if isinstance(channel, int):
        return np.asarray(samples[channel])
    return np.asarray(samples[0] if len(samples) == 1 else samples.mean(axis=0, dtype=np.float32))


def _facts(
    samples: NDArray[np.float32],
    clean: NDArray[np.float32],
    signal: NDArray[np.float32],
    runs: Sequence[Run],
    clamped: tuple[int, int],
) -> Facts:
    recorded = np.concatenate([signal[first:last] for first, last in runs])
    channels = np.concatenate([clean[:, first:last] for first, last in runs], axis=1)
    quality = 0
    power = float(np.mean(np.square(recorded, dtype=np.float64)))
    peak = float(np.max(np.abs(recorded)))
    if peak == 0:
        quality |= QUALITY["silent"]
    elif np.ptp(recorded) == 0:
        quality |= QUALITY["constant"]
    if any(_is_clipped(channel) for channel in channels):
        quality |= QUALITY["clipped"]
    if _channels_differ(channels):
        quality |= QUALITY["channels_differ"]
    if not np.isfinite(samples).all():
        quality |= QUALITY["not_a_number"]
    level_db = round(10 * np.log10(2 * power), 3) if power > 0 else None
    peak_db = round(20 * np.log10(peak), 3) if peak > 0 else None
    return Facts(quality, level_db, peak_db, *clamped)


def _is_clipped(channel: NDArray[np.float32]) -> bool:
    """Tell whether several samples in a row stand at full scale."""
    at_full = np.abs(channel) >= CLIP_LEVEL
    if not at_full.any():
        return False
    return bool(np.convolve(at_full, np.ones(CLIP_RUN), mode="valid").max(initial=0) >= CLIP_RUN)


def _channels_differ(channels: NDArray[np.float32]) -> bool:
    """Tell whether one channel is silent or much quieter than the loudest."""
    if len(channels) < 2:
        return False
    power = np.mean(np.square(channels, dtype=np.float64), axis=1)
    return bool(power.max() > 0 and power.min() < power.max() * 10 ** (-CHANNELS_DIFFER_DB / 10))
