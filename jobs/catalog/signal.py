"""Faults of the samples of a recording: zeros, one value, near silence, full scale, no numbers, holes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.common.audio.probe import MAX_PEAK, AudioInfo, open_audio
from lake.constants import CLIP_RUN

BLOCK_SAMPLES = 4096
N_BLOCKS = 32
"""So many blocks, evenly spread, are looked at; of recordings that are no longer than they are, all of it."""
FULL_SCALE_16_BIT = 32_767 / 32_768
"""Largest sample of 16 bits. The cube's bit ``clipped`` takes 0.999 for full scale."""
SILENT_PEAK = 1e-4
"""No sample above this (-80 dBFS) is no microphone: the quietest recorders' own noise is louder."""


CLICK_RATIO = 100.0
"""A click bends the waveform so many times as much as the sound around it does."""
CLICK_SAMPLES = 32
"""No click lasts longer."""
CLICK_SHARE = 0.25
"""Share of the blocks that must hold one: a click now and then is a drop of rain, or a beak on the housing."""


def look(path: str, audio: AudioInfo) -> list[NDArray[np.float32]]:
    """Read blocks that are spread evenly over a recording, its first and last samples among them.

    Returns
    -------
    list of ndarray of float32, shape (n_channels, n)

    Raises
    ------
    AudioError
        If a block does not decode.
    """
    starts = spread(audio.n_samples)
    with open_audio(path, audio.reading) as reader:
        return [reader.read(start, min(BLOCK_SAMPLES, audio.n_samples - start)) for start in starts]


def spread(n_samples: int) -> list[int]:
    """Return where the blocks that are looked at start."""
    if n_samples <= N_BLOCKS * BLOCK_SAMPLES:
        return list(range(0, n_samples, BLOCK_SAMPLES))
    return [int(start) for start in np.linspace(0, n_samples - BLOCK_SAMPLES, N_BLOCKS)]


def judge(blocks: Sequence[NDArray[np.float32]], *, is_float: bool = False) -> tuple[str, ...]:
    """Name what is wrong with blocks of samples.

    Parameters
    ----------
    blocks
        Each of shape (n_channels, n); 1.0 is full scale.
    is_float
        Whether samples are stored as floating-point numbers: they are clipped where they stay at one extreme value,
        not where they exceed full scale.

    Returns
    -------
    tuple of str
        ``all_zero``; else ``constant`` (each channel has one value); else ``near_silent`` (no sample above
        :data:`SILENT_PEAK`); else ``zero_blocks`` (a whole block of :data:`BLOCK_SAMPLES` is zero, others are not).
        Also ``full_scale`` (:data:`~lake.constants.CLIP_RUN` samples in a row there), ``not_a_number`` (some are no
        numbers, or beyond :data:`jobs.common.audio.probe.MAX_PEAK`) and ``beyond_scale`` (most are beyond it).
    """
    if not blocks:
        return ()
    found = []
    samples = np.concatenate(blocks, axis=1)
    is_number = np.isfinite(samples) & (np.abs(samples) <= MAX_PEAK)
    peak = float(np.max(np.abs(samples), where=is_number, initial=0.0))
    if not is_number.all():
        found.append("not_a_number")
    if 2 * np.count_nonzero(np.isfinite(samples) & ~is_number) > samples.size:
        return (*found, "beyond_scale")
    if peak == 0:
        found.append("all_zero")
    elif (samples == samples[:, :1]).all():
        found.append("constant")
    elif peak <= SILENT_PEAK:
        found.append("near_silent")
    elif any(block.shape[1] == BLOCK_SAMPLES and not block.any() for block in blocks):
        found.append("zero_blocks")
    if peak >= FULL_SCALE_16_BIT and any(_is_clipped(block, is_float=is_float) for block in blocks):
        found.append("full_scale")
    return tuple(found)


def _is_clipped(block: NDArray[np.float32], *, is_float: bool) -> bool:
    """Return whether samples in a row are at full scale; of floating-point ones, at a channel's extreme value."""
    is_full = np.abs(block) >= FULL_SCALE_16_BIT
    if is_float:
        block = np.where(np.abs(block) <= MAX_PEAK, block, 0)
        highest, lowest = block.max(axis=1, keepdims=True), block.min(axis=1, keepdims=True)
        return any(_longest_run(is_full & (block == edge)) >= CLIP_RUN for edge in (highest, lowest))
    return _longest_run(is_full) >= CLIP_RUN


def has_clicks(blocks: Sequence[NDArray[np.float32]]) -> bool:
    """Return whether clicks go through a recording, as a memory card's current makes them.

    Parameters
    ----------
    blocks
        Each of shape (n_channels, n).

    Notes
    -----
    A click is a place where the second difference is more than :data:`CLICK_RATIO` times its own median over the block,
    shorter than :data:`CLICK_SAMPLES`. Calls last longer, and rain comes in some blocks only.
    """
    return len(blocks) > 0 and sum(map(_has_click, blocks)) >= max(CLICK_SHARE * len(blocks), 2)


def _has_click(block: NDArray[np.float32]) -> bool:
    bend = np.abs(np.diff(np.nan_to_num(block), n=2, axis=1)).max(axis=0, initial=0)
    if bend.size == 0:
        return False
    usual = max(float(np.median(bend)), 1 / 32_768)
    at = np.flatnonzero(bend > CLICK_RATIO * usual)
    groups = np.split(at, np.flatnonzero(np.diff(at) > CLICK_SAMPLES) + 1)
    return at.size > 0 and all(int(group[-1] - group[0]) < CLICK_SAMPLES for group in groups)


def _longest_run(is_there: NDArray[np.bool_]) -> int:
    """Return the longest run of true values along the last axis, up to :data:`~lake.constants.CLIP_RUN`."""
    run = is_there
    for n in range(1, CLIP_RUN + 1):
        if not run.any():
            return n - 1
        run = run[..., :-1] & is_there[..., n:]
    return CLIP_RUN
