"""Windows in the training's order, read ahead in a thread of their own."""

import hashlib
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.dino.config import Config
from lake.errors import InputError
from lake.names import CODE_OFFSET_DB, CODE_STEP_DB

READ_BLOCK: Final = 256
"""Windows read at once where the order does not matter."""

STATISTICS_STREAM: Final = 2**63
"""Stands in the place of a pass's number where the windows of the statistics are drawn."""


@dataclass(frozen=True)
class Source:
    """The windows that are trained on.

    Attributes
    ----------
    n_windows, n_mels, n_frames
        Their number and shape.
    read
        Returns the codes of windows by their numbers: uint8, shape (n, n_mels, n_frames).
    digest
        Of which windows they are; a training is continued on the same ones only.
    """

    n_windows: int
    n_mels: int
    n_frames: int
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    digest: str

    @property
    def n_bytes(self) -> int:
        """Size of all codes."""
        return self.n_windows * self.n_mels * self.n_frames


@dataclass(frozen=True)
class Batch:
    """Some consecutive samples of the training.

    Attributes
    ----------
    samples
        Their numbers, counted from 0 over all passes, shape (B,).
    codes
        uint8, shape (B, n_mels, n_frames).
    """

    samples: NDArray[np.int64]
    codes: NDArray[np.uint8]


def from_array(codes: NDArray[np.uint8]) -> Source:
    """Return the source of windows in memory, shape (n_windows, n_mels, n_frames)."""
    digest = hashlib.sha256(np.ascontiguousarray(codes).data).hexdigest()
    n_windows, n_mels, n_frames = codes.shape
    return Source(n_windows, n_mels, n_frames, read=lambda windows: codes[windows], digest=digest)


def held(source: Source) -> Source:
    """Read all windows of a source into memory, as codes."""
    codes = np.empty((source.n_windows, source.n_mels, source.n_frames), dtype=np.uint8)
    for first in range(0, source.n_windows, READ_BLOCK):
        rows = np.arange(first, min(first + READ_BLOCK, source.n_windows))
        codes[rows] = source.read(rows)
    return replace(source, read=lambda windows: codes[windows])


def windows_of(samples: NDArray[np.int64], n_windows: int, seed: int) -> NDArray[np.int64]:
    """Return which window each sample is.

    Parameters
    ----------
    samples
        Numbers of samples, shape (n,). Sample s belongs to pass ``s // n_windows``; each pass is a
        permutation of all windows, drawn from seed and pass alone.
    n_windows, seed
        Number of windows, and the run's seed.
    """
    passes, places = np.divmod(samples, n_windows)
    windows = np.empty_like(samples)
    for number in np.unique(passes):
        rows = passes == number
        windows[rows] = _permutation(seed, int(number), n_windows)[places[rows]]
    return windows


def require_windows(source: Source, config: Config) -> None:
    """Refuse to train on fewer windows than a batch takes.

    Raises
    ------
    InputError
        If there are too few.
    """
    if source.n_windows < config.batch_size:
        raise InputError(
            f"batch_size: expected at most the number of windows, found {config.batch_size} for"
            f" {source.n_windows} usable windows. Set a smaller batch_size, or add recordings."
        )


@lru_cache(maxsize=2)
def _permutation(seed: int, number: int, n_windows: int) -> NDArray[np.int64]:
    order = np.random.default_rng([seed, number]).permutation(n_windows)
    order.flags.writeable = False
    return order


def batches(
    source: Source, config: Config, steps: range, *, rank: int = 0, n_ranks: int = 1, ahead: int = 2
) -> Generator[Batch]:
    """Read the batches of some steps, in order, while the caller trains.

    Parameters
    ----------
    source, config
        The windows; batch size and seed.
    steps
        Consecutive numbers of steps; step i holds the samples from ``i * batch_size`` on.
    rank, n_ranks
        This process's place, and the number of processes that share every batch.
    ahead
        Batches held ready.

    Raises
    ------
    InputError
        If there are fewer windows than a batch takes, or processes do not share it evenly.
    """
    require_windows(source, config)
    if config.batch_size % n_ranks:
        raise InputError(f"batch_size: expected a multiple of the {n_ranks} processes, found {config.batch_size}.")
    share = config.batch_size // n_ranks

    def read(step: int) -> Batch:
        samples = np.arange(share, dtype=np.int64) + step * config.batch_size + rank * share
        return Batch(samples, source.read(windows_of(samples, source.n_windows, config.seed)))

    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(max_workers=1) as reader:
        for step in steps:
            waiting.append(reader.submit(read, step))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def level_counts(source: Source, config: Config) -> NDArray[np.int64]:
    """Count the codes of each mel band in a seeded sample of windows.

    Returns
    -------
    NDArray
        Shape (n_mels, 256).
    """
    chosen = np.arange(source.n_windows)
    if source.n_windows > config.n_statistics:
        random = np.random.default_rng([config.seed, STATISTICS_STREAM])
        chosen = np.sort(random.choice(source.n_windows, config.n_statistics, replace=False))
    counts = np.zeros(source.n_mels * 256, dtype=np.int64)
    first_bin = np.arange(source.n_mels)[None, :, None] * 256
    for first in range(0, len(chosen), 32):
        codes = source.read(chosen[first : first + 32])
        counts += np.bincount((codes + first_bin).ravel(), minlength=len(counts))
    return counts.reshape(source.n_mels, 256)


def level_statistics(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """Return the mean level per mel band and one deviation about those means.

    Parameters
    ----------
    counts
        Number of pixels by code, shape (n_mels, 256); code 0 is missing and does not count.

    Returns
    -------
    mean_db, deviation_db
        dBFS, shape (n_mels,), and dB. A band that no window has takes the mean of the others; the
        deviation is at least one step of the codes, so that silence has one.

    Raises
    ------
    InputError
        If there is no level at all.
    """
    counts = counts.astype(np.float64)
    counts[:, 0] = 0.0
    n = counts.sum(axis=1)
    if not n.any():
        raise InputError("expected levels in the windows, found none: every code is missing. Look at the cube.")
    levels = np.arange(256) * CODE_STEP_DB + CODE_OFFSET_DB
    has_levels = n > 0
    mean = np.full(len(counts), np.nan)
    mean[has_levels] = (counts @ levels)[has_levels] / n[has_levels]
    mean[~has_levels] = mean[has_levels].mean()
    variance = (counts * (levels - mean[:, None]) ** 2).sum() / n.sum()
    return mean, max(float(np.sqrt(variance)), CODE_STEP_DB)
