"""Vectors of the windows that are clustered, scaled; what fits into memory is kept."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

from lake.scaling import Scaling, Vectors, scaled
from lake.vectors import VectorSets, read_span

KEPT_BYTES = 480_000_000
"""Scaled vectors that are kept in memory once they are read; more are read again in every epoch."""
AHEAD_PER_THREAD = 2

Task = TypeVar("Task")
Result = TypeVar("Result")


class Kept:
    """Vectors that were read once.

    Parameters
    ----------
    sets
        The vector sets.
    n_scaled
        Numbers of a scaled vector at most. Vectors that scaling makes shorter are kept scaled alone.
    """

    def __init__(self, sets: VectorSets, n_scaled: int) -> None:
        filled = np.cumsum([len(span.cells) * n_scaled * 4 for span in sets.spans])
        self.sets = sets
        self.n = int(np.searchsorted(filled, KEPT_BYTES, "right"))
        self.is_raw_kept = sum(sets.n_features) <= n_scaled
        self.raw: dict[int, Vectors] = {}

    def read_raw(self, i: int) -> Vectors:
        """Return the vectors of a span as they are stored, and keep them if they fit."""
        vectors = read_span(self.sets, self.sets.spans[i])
        if i < self.n and self.is_raw_kept:
            self.raw[i] = vectors
        return vectors

    def scaled_by(self, scaling: Scaling) -> Callable[[int], Vectors]:
        """Return the function that reads a span scaled; what was read before is scaled in its place."""
        kept: dict[int, Vectors] = {}

        def read(i: int) -> Vectors:
            if (found := kept.get(i)) is not None:
                return found
            raw = self.raw.pop(i, None)
            vectors = read_span(self.sets, self.sets.spans[i]) if raw is None else raw
            vectors = scaled(vectors, scaling, in_place=True)
            if i < self.n:
                kept[i] = vectors
            return vectors

        return read


def in_threads(function: Callable[[Task], Result], tasks: Iterable[Task], threads: int) -> Iterator[Result]:
    """Yield the results in the tasks' order; only a few tasks are ahead of what was taken.

    Parameters
    ----------
    function
        Must spend its time outside of Python, as decompression and matrix products do.
    threads
        One works here, without a thread.
    """
    if threads <= 1:
        yield from map(function, tasks)
        return
    waiting = iter(tasks)
    workers = ThreadPoolExecutor(threads)
    try:
        running: list[Future[Result]] = [
            workers.submit(function, task) for task in islice(waiting, threads * AHEAD_PER_THREAD)
        ]
        while running:
            result = running.pop(0).result()
            running += [workers.submit(function, task) for task in islice(waiting, 1)]
            yield result
    finally:
        workers.shutdown(cancel_futures=True)
