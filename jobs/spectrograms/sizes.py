"""Disk, files and memory that a run takes at most."""

import math
from collections.abc import Sequence

from jobs.common.memory import Memory
from jobs.common.space import Space
from jobs.spectrograms.config import Config
from jobs.spectrograms.mel import n_usable_bands
from jobs.spectrograms.plan import NO_BAND, NO_CHANNEL, Day, Placed, Plan

STORED_SHARE = 0.6
"""Stored bytes per byte of codes, on the safe side."""
LEDGER_BYTES = 130
"""Of ledger and index variables for one window, on the safe side."""
N_TABLE_FILES = 40
"""Coordinates, tables and metadata of a store."""
WORKER_BYTES = 1_100_000_000
"""Of a worker before it begins: Python, torch, kernels being compiled; and of the child that decodes for it."""
SHARDS_HELD = 3
"""A shard being put together; one that stood before, as it was stored and as codes."""
_MOST_NAMES = 5
WINDOW_COPIES = 20
"""Of a window's samples in 64 bits: as decoded, by channel, resampled, padded, and four more windows read ahead."""


def stored_bytes(n_windows: int, config: Config) -> int:
    """Return the most that windows will take on disk, with what is written about them."""
    return int(n_windows * (config.n_mels * config.n_frames * STORED_SHARE + LEDGER_BYTES))


def n_files(days: Sequence[Day]) -> int:
    """Return the files that will be written: shards, a ledger file and nine index variables a day, and tables."""
    return sum(len(day.blocks) for day in days) + 10 * len(days) + N_TABLE_FILES


def task_bytes(days: Sequence[Day], config: Config) -> int:
    """Return the most memory that a worker needs for any of the days, in bytes.

    It follows from the size of a shard and of a window, whatever a day or the study holds.
    """
    shard = config.cells_per_shard * config.n_mels * config.n_frames
    return WORKER_BYTES + SHARDS_HELD * shard + max((window_bytes(r, config) for r in read_in(days)), default=0)


def window_bytes(recording: Placed, config: Config) -> int:
    """Return the most memory that a window of a recording needs, in bytes."""
    rate = max(recording.sample_rate_hz, config.sample_rate_hz or 0)
    window = math.ceil(config.window_s * rate) * recording.n_channels * 8
    n_fft = 1 << math.ceil(math.log2(max(config.fft_s * rate, 2)))
    transform = config.n_frames * n_fft * 4 * 3  # frames, and their complex spectrum
    return WINDOW_COPIES * window + transform


def read_in(days: Sequence[Day]) -> list[Placed]:
    """Return the recordings that windows of days are made of, one of each rate and number of channels."""
    found: dict[tuple[int, int], Placed] = {}
    for day in days:
        for block in day.blocks:
            for segment in block.segments:
                found.setdefault((segment.recording.sample_rate_hz, segment.recording.n_channels), segment.recording)
    return list(found.values())


def memory_for(days: Sequence[Day], config: Config, allowed_bytes: int | None) -> Memory:
    """Return what days need, and may take, with the recording that needs the most."""
    hungry = max(read_in(days), key=lambda recording: window_bytes(recording, config), default=None)
    why = f"{hungry.path}, {hungry.n_channels} channels of {hungry.sample_rate_hz:,} Hz" if hungry else ""
    return Memory(task_bytes(days, config), allowed_bytes, why)


def missing_sound(plan: Plan, config: Config) -> list[str]:
    """Return which recorders have no sound in a part of the band, a line for each rate, and what is set aside.

    Bands above a recording's Nyquist frequency hold no levels; a recording without any other band is set aside, and so
    is one without the channel of the settings.
    """
    lowest: dict[str, int] = {}
    for recording in plan.recordings:
        rate = min(recording.sample_rate_hz, config.sample_rate_hz or recording.sample_rate_hz)
        lowest[recording.recorder] = min(rate, lowest.get(recording.recorder, rate))
    short = {name: rate for name, rate in lowest.items() if n_usable_bands(config, rate) < config.n_mels}
    by_rate: dict[int, list[str]] = {}
    for name, rate in short.items():
        by_rate.setdefault(rate, []).append(name)
    lines = []
    for rate, names in sorted(by_rate.items()):
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        lines.append(
            f"{', '.join(names[:_MOST_NAMES])}{more}: {rate:,} samples a second, so bands above {rate / 2:,.0f} Hz are "
            f"empty (f_max_hz = {config.f_max_hz:,.0f})"
        )
    bare = sorted(path for path, reason in plan.quarantined.items() if reason == NO_BAND)
    if bare:
        lines.append(
            f"{len(bare)} recordings are set aside (no_band): half of their sample rate is below the lowest band, from "
            f"f_min_hz = {config.f_min_hz:,.0f} on; the first is {bare[0]}"
        )
    narrow = sorted(path for path, reason in plan.quarantined.items() if reason == NO_CHANNEL)
    if narrow:
        lines.append(
            f"{len(narrow)} recordings are set aside (no_channel): they have no channel {config.channel}, counted from "
            f"0; the first is {narrow[0]}"
        )
    return lines


def space_for(days: Sequence[Day], config: Config) -> Space:
    """Return the most that days take on disk."""
    wanted = stored_bytes(sum(day.n_windows for day in days), config)
    return Space(wanted, n_files(days), "raise shard_windows under a new name")
