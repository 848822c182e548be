"""Batches mixed from stretches of windows all over a store, in an order that the seed alone decides."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice, pairwise

import numpy as np
from dask.base import compute
from dask.delayed import delayed

from jobs.cluster.core import Schedule, Vectors

Read = Callable[[int], Vectors]


def batches(
    read: Read, sizes: Sequence[int], plan: Schedule, *, buffer_windows: int, seed: int, threads: int = 1
) -> Iterator[Vectors]:
    """Yield the batches of a fit.

    Parameters
    ----------
    read
        Returns the vectors of a stretch, shape (sizes[i], n_features); called from several threads.
    sizes
        Windows in each stretch.
    plan
        How many batches of which size.
    buffer_windows
        Stretches are read in a random order, a new one each epoch. So many of them that they hold at
        least this number of windows (the last pool of an epoch may hold fewer) are shuffled together,
        with what the last pool left over, and cut into batches.
    seed
        Of all orders.
    threads
        Dask threads that read the next pool while this one is used; 1 reads when needed. They change no batch.

    Yields
    ------
    NDArray
        Shape (plan.batch_size, n_features).
    """
    pooled = _read_ahead(read, pools(sizes, buffer_windows, seed), threads)
    return islice(_cut(pooled, plan.batch_size, seed), plan.n_batches)


def pools(sizes: Sequence[int], buffer_windows: int, seed: int) -> Iterator[list[int]]:
    """Yield lists of stretches, without an end; each epoch has every stretch once."""
    for epoch in count():
        order = np.random.default_rng([seed, 2, epoch]).permutation(len(sizes))
        filled = np.cumsum(np.asarray(sizes)[order])
        last = 0
        while last < len(order):
            begun = int(filled[last - 1]) if last else 0
            first, last = last, min(len(order), int(np.searchsorted(filled, begun + buffer_windows)) + 1)
            yield order[first:last].tolist()


def _cut(pooled: Iterator[list[Vectors]], batch_size: int, seed: int) -> Iterator[Vectors]:
    left: list[Vectors] = []
    for i, pool in enumerate(pooled):
        rows = np.concatenate([*left, *pool])
        order = np.random.default_rng([seed, 3, i]).permutation(len(rows))
        n_full = len(rows) // batch_size
        for first, last in pairwise(range(0, (n_full + 1) * batch_size, batch_size)):
            yield rows[order[first:last]]
        left = [rows[order[n_full * batch_size :]]]


def _read_ahead(read: Read, wanted: Iterator[list[int]], threads: int) -> Iterator[list[Vectors]]:
    """Yield the stretches of each pool; with several threads the next pool is read meanwhile."""
    if threads <= 1:
        yield from ([read(i) for i in pool] for pool in wanted)
        return
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(_read_pool, read, next(wanted), threads)
        while True:
            pool = coming.result()
            coming = ahead.submit(_read_pool, read, next(wanted), threads)
            yield pool


def _read_pool(read: Read, pool: list[int], threads: int) -> list[Vectors]:
    tasks = [delayed(read)(i) for i in pool]
    # Dask's own annotations stop short of this function.
    return list(compute(*tasks, scheduler="threads", num_workers=threads))  # type: ignore[no-untyped-call]
