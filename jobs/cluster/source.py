"""The windows that are clustered, read stretch by stretch; what fits is kept."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import zarr

from jobs.cluster.core import Scale, Vectors, scaled
from jobs.cluster.stretches import Stretch, read_stretch, stretches
from lake.grid import Grid
from lake.read import grid_of, open_array, open_embeddings, usable_windows

KEPT_BYTES = 360_000_000
"""Vectors that are kept in memory once they are read; more are read again in every epoch."""
AHEAD_PER_THREAD = 2

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Source:
    """The windows that are clustered.

    Attributes
    ----------
    url, recorders, grid, n_features
        The embedding store.
    parts
        All usable windows, in stretches.
    array
        Their vectors.
    n_kept
        How many stretches, the first ones, are kept.
    kept
        Those that were read, by number.
    """

    url: str
    recorders: tuple[str, ...]
    grid: Grid
    n_features: int
    parts: list[Stretch]
    array: zarr.Array[Any]
    n_kept: int
    kept: dict[int, Vectors] = field(default_factory=dict)

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return sum(len(part.cells) for part in self.parts)


def open_source(url: str, *, partial: bool) -> Source:
    """Open an embedding store for clustering."""
    with open_embeddings(url) as dataset:
        grid = grid_of(dataset)
        windows = usable_windows(dataset, partial=partial, status="embedding_status")
        recorders, n_features = tuple(dataset["recorder"].to_numpy().tolist()), dataset.sizes["feature"]
    array = open_array(url, "embedding")
    parts = stretches(windows, cells_per_day=grid.cells_per_day, cells_per_chunk=array.chunks[1])
    filled = np.cumsum([len(part.cells) * n_features * 4 for part in parts])
    return Source(url, recorders, grid, n_features, parts, array, int(np.searchsorted(filled, KEPT_BYTES, "right")))


def read_raw(source: Source, i: int) -> Vectors:
    """Return the vectors of a stretch as they are stored, shape (n_windows, n_features), and keep them if they fit."""
    vectors = read_stretch(source.array, source.parts[i])
    if i < source.n_kept:
        source.kept[i] = vectors
    return vectors


def scale_kept(source: Source, scale: Scale) -> Callable[[int], Vectors]:
    """Scale what is kept, and return the function that reads a stretch scaled."""
    for i, vectors in source.kept.items():
        source.kept[i] = scaled(vectors, scale, in_place=True)

    def read(i: int) -> Vectors:
        found = source.kept.get(i)
        return scaled(read_stretch(source.array, source.parts[i]), scale, in_place=True) if found is None else found

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
