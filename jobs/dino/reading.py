"""Batches of windows read ahead: by a thread, or by worker processes that open the store themselves."""

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from lake.errors import TryAgainError
from lake.shards import Read

Numbers = NDArray[np.int64]
Codes = NDArray[np.uint8]


def read_by_thread(read: Read, wanted: Iterator[Numbers], ahead: int) -> Generator[Codes]:
    """Yield the codes of groups of windows in their order, up to ``ahead`` of them held ready."""
    waiting: deque[Future[Codes]] = deque()
    with ThreadPoolExecutor(max_workers=1) as reader:
        for windows in wanted:
            waiting.append(reader.submit(read, windows))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read_by_workers(
    opener: Callable[[], Read], wanted: Iterator[Numbers], n_workers: int, ahead: int
) -> Generator[Codes]:
    """Yield the codes of groups of windows in their order, read by processes.

    Parameters
    ----------
    opener
        Makes the function that reads; called once in each process. The processes are spawned, not forked:
        nothing that was opened here is in them.
    wanted
        Numbers of the windows of each group.
    n_workers, ahead
        Processes, and groups that each of them holds ready, in shared memory.

    Raises
    ------
    TryAgainError
        If a process died.
    """
    loader = DataLoader(
        _Groups(opener), sampler=wanted, batch_size=None, num_workers=n_workers, prefetch_factor=ahead,
        multiprocessing_context="spawn", worker_init_fn=_leave_signals,
    )  # fmt: skip
    stream = iter(loader)
    while True:
        try:
            codes = next(stream)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TryAgainError(
                f"a process that read windows died ({str(error).splitlines()[0]}), perhaps for want of memory, or of"
                " shared memory (/dev/shm). Type the same command again, with fewer --workers."
            ) from error
        yield codes.numpy()


def _leave_signals(_number: int) -> None:
    """Leave signals to the training, which needs its readers until it has written a checkpoint."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


class _Groups(Dataset[torch.Tensor]):
    """What torch's loader asks for windows, in each process a copy of its own."""

    def __init__(self, opener: Callable[[], Read]) -> None:
        self._opener = opener
        self._read: Read | None = None

    def __getitem__(self, windows: Numbers) -> torch.Tensor:
        self._read = self._read or self._opener()
        return torch.from_numpy(self._read(windows))
