"""Batches mixed from stretches of windows all over a store, in an order that the seed alone decides."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice, pairwise

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.kmeans import Schedule
from lake.scaling import Vectors

ReadPool = Callable[[list[int]], list[Vectors]]


@dataclass(frozen=True)
class Place:
    """Where the stream of batches stands between two pools.

    Attributes
    ----------
    n_pools, n_batches
        Pools and batches before it.
    left
        Vectors that the pools before left over, shape (n_left, n_features).
    """

    n_pools: int
    n_batches: int
    left: Vectors


BEGIN = Place(0, 0, np.empty((0, 0), dtype=np.float32))


@dataclass(frozen=True)
class Batch:
    """The vectors of a batch, shape (plan.batch_size, n_features); and, if it ends a pool, where the stream stands."""

    vectors: Vectors
    after: Place | None


def batches(
    read_pool: ReadPool,
    sizes: Sequence[int],
    plan: Schedule,
    *,
    buffer_windows: int,
    seed: int,
    threads: int = 1,
    place: Place = BEGIN,
) -> Iterator[Batch]:
    """Yield the batches of a fit.

    Parameters
    ----------
    read_pool
        Returns the vectors of some stretches, each of shape (sizes[i], n_features).
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
        With more than one, a thread gets the next pool while this one is used, and another cuts the next batch.
    place
        Where to go on; batches are the same from there on.
    """
    wanted = islice(pools(sizes, buffer_windows, seed), place.n_pools, None)
    pooled = _read_ahead(read_pool, wanted, threads)
    cut = islice(_cut(pooled, plan.batch_size, seed, place), plan.n_batches - place.n_batches)
    try:
        yield from cut if threads <= 1 else _cut_ahead(cut)
    finally:
        pooled.close()


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


def _cut(pooled: Iterator[list[Vectors]], batch_size: int, seed: int, place: Place) -> Iterator[Batch]:
    left, done = place.left, place.n_batches
    for i, pool in enumerate(pooled, place.n_pools):
        parts = [left, *pool] if len(left) else pool
        begins = np.cumsum([0, *(len(part) for part in parts)])
        order = np.random.default_rng([seed, 3, i]).permutation(begins[-1])
        n_full = len(order) // batch_size
        left = _taken(parts, begins, order[n_full * batch_size :])
        for first, last in pairwise(range(0, (n_full + 1) * batch_size, batch_size)):
            done += 1
            after = Place(i + 1, done, left) if last == n_full * batch_size else None
            yield Batch(_taken(parts, begins, order[first:last]), after)


def _taken(parts: list[Vectors], begins: NDArray[np.int64], rows: NDArray[np.int64]) -> Vectors:
    """Return some rows of a pool by number, ascending, each copied once from where it was read."""
    rows = np.sort(rows)
    out = np.empty((len(rows), parts[0].shape[1]), dtype=np.float32)
    edges = np.searchsorted(rows, begins)
    for part, begin, (first, last) in zip(parts, begins, pairwise(edges), strict=False):
        if first < last:
            # With "clip" numpy writes into `out` itself; with "raise" into a copy first.
            np.take(part, rows[first:last] - begin, axis=0, out=out[first:last], mode="clip")
    return out


def _cut_ahead(cut: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches that a thread cuts while the one before is used."""
    with ThreadPoolExecutor(1) as cutter:
        coming = cutter.submit(next, cut, None)
        while (batch := coming.result()) is not None:
            coming = cutter.submit(next, cut, None)
            yield batch


def _read_ahead(read_pool: ReadPool, wanted: Iterator[list[int]], threads: int) -> Generator[list[Vectors], None, None]:
    """Yield the stretches of each pool; with several threads the next pool is read meanwhile."""
    if threads <= 1:
        yield from map(read_pool, wanted)
        return
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read_pool, next(wanted))
        while True:
            ready = coming.result()
            coming = reader.submit(read_pool, next(wanted))
            yield ready
