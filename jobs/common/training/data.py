"""Windows in the training's order."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.common.training.reading import Read
from jobs.common.training.settings import Settings
from lake.digest import sha256
from lake.errors import InputError
from lake.threads import in_threads

READ_BLOCK: Final = 256
"""Windows read at once where the order does not matter."""


@dataclass(frozen=True)
class Places:
    """Recorder and time of each window; arrays of shape (n_windows,).

    Attributes
    ----------
    recorders
        Names.
    recorder
        Number of each window's recorder.
    recording, hour
        Number of its recording, and its hour of the day in UTC.
    shard
        Number of the file that it lies in.
    """

    recorders: tuple[str, ...]
    recorder: NDArray[np.int32]
    recording: NDArray[np.int64]
    hour: NDArray[np.int64]
    shard: NDArray[np.int64]

    def names(self, windows: NDArray[np.int64]) -> list[str]:
        """Return the names of windows' recorders."""
        return [self.recorders[i] for i in self.recorder[windows].tolist()]


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
    places
        Where they come from, if that is known.
    """

    n_windows: int
    n_mels: int
    n_frames: int
    read: Read
    digest: str
    places: Places | None = None

    @property
    def n_bytes(self) -> int:
        """Size of all codes."""
        return self.n_windows * self.n_mels * self.n_frames


@dataclass(frozen=True)
class Batch:
    """Some consecutive samples of the training.

    Attributes
    ----------
    samples, windows
        Their numbers, counted from 0 over all passes, and which window each is, shape (B,).
    codes
        uint8, shape (B, n_mels, n_frames).
    """

    samples: NDArray[np.int64]
    windows: NDArray[np.int64]
    codes: NDArray[np.uint8]


def from_array(codes: NDArray[np.uint8]) -> Source:
    """Return the source of windows in memory, shape (n_windows, n_mels, n_frames)."""
    digest = sha256(np.ascontiguousarray(codes).data)
    n_windows, n_mels, n_frames = codes.shape
    return Source(n_windows, n_mels, n_frames, read=lambda windows: codes[windows], digest=digest)


def held(source: Source) -> Source:
    """Read all windows of a source into memory, as codes."""
    codes = np.empty((source.n_windows, source.n_mels, source.n_frames), dtype=np.uint8)
    for first in range(0, source.n_windows, READ_BLOCK):
        rows = np.arange(first, min(first + READ_BLOCK, source.n_windows))
        codes[rows] = source.read(rows)
    return replace(source, read=lambda windows: codes[windows])


def ordering(source: Source, config: Settings) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """Return the function from numbers of samples, shape (n,), to the windows that they are.

    Parameters
    ----------
    source, config
        Number of windows and their files; seed and ``shuffle_shards``. Sample s belongs to pass
        ``s // n_windows``; each pass is a permutation of all windows, drawn from seed and pass alone, so
        that every place in the order can be asked for directly.
    """

    @lru_cache(maxsize=2)
    def order(number: int) -> NDArray[np.int64]:
        random = np.random.default_rng([config.seed, number])
        if not config.shuffle_shards or source.places is None:
            return random.permutation(source.n_windows)
        return by_shards(random, source.places.shard, config.shuffle_shards)

    def windows_of(samples: NDArray[np.int64]) -> NDArray[np.int64]:
        passes, places = np.divmod(samples, source.n_windows)
        windows = np.empty_like(samples)
        for number in np.unique(passes):
            rows = passes == number
            windows[rows] = order(int(number))[places[rows]]
        return windows

    return windows_of


def by_shards(random: np.random.Generator, shard: NDArray[np.int64], n_together: int) -> NDArray[np.int64]:
    """Return a permutation of windows in which neighbours lie in few files.

    Parameters
    ----------
    random
        What draws.
    shard
        Number of the file of each window, shape (n_windows,).
    n_together
        Files, drawn at random, whose windows are shuffled together.
    """
    _, file_of = np.unique(shard, return_inverse=True)
    n_files = int(file_of.max(initial=-1)) + 1
    turn = random.permutation(n_files) // n_together
    return np.lexsort((random.random(len(shard)), turn[file_of]))


def require_windows(source: Source, config: Settings) -> None:
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


def require_shares(config: Settings, n_ranks: int, n_micro: int = 1) -> None:
    """Refuse processes, and parts of their shares, that cannot share a batch evenly.

    Raises
    ------
    InputError
        If a batch is no multiple of them.
    """
    if config.batch_size % (n_ranks * n_micro):
        parts = f" and the {n_micro} parts of each one's share" if n_micro > 1 else ""
        raise InputError(
            f"batch_size: expected a multiple of the {n_ranks} processes{parts}, found {config.batch_size}."
        )


def batches(
    source: Source,
    config: Settings,
    steps: range,
    *,
    rank: int = 0,
    n_ranks: int = 1,
    ahead: int = 2,
) -> Generator[Batch]:
    """Read the batches of some steps, in order, while the caller trains.

    Parameters
    ----------
    source, config
        The windows; batch size, at most their number (:func:`require_windows`), and seed.
    steps
        Consecutive numbers of steps; step i holds the samples from ``i * batch_size`` on.
    rank, n_ranks
        This process's place, and the number of processes that share every batch evenly (:func:`require_shares`).
    ahead
        Batches that a thread holds ready.
    """
    share = config.batch_size // n_ranks
    windows_of = ordering(source, config)

    def place(step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        samples = np.arange(share, dtype=np.int64) + step * config.batch_size + rank * share
        return samples, windows_of(samples)

    wanted = (place(step)[1] for step in steps)
    stream = in_threads(source.read, wanted, 1, ahead=ahead)
    with closing(stream):
        for step, codes in zip(steps, stream, strict=True):
            yield Batch(*place(step), codes)
