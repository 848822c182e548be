"""Batches mixed from stretches of windows all over a store, in an order that the seed alone decides."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count, islice, pairwise, repeat

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.kmeans import Schedule
from lake.scaling import Vectors
from lake.threads import in_threads

ReadPool = Callable[[list[int]], list[Vectors]]


def _no_vectors() -> Vectors:
    return np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True)
class Position:
    """Position in the batches: the number of the next pool, and the vectors that earlier pools left over."""

    pool: int = 0
    left: Vectors = field(default_factory=_no_vectors)


@dataclass(frozen=True)
class Batch:
    """The vectors of a batch, shape (batch_size, n_features); after the last one of a pool, where batches go on."""

    vectors: Vectors
    then: Position | None = None


def batches(
    read_pool: ReadPool, sizes: Sequence[int], plan: Schedule, *, buffer_windows: int, seed: int, threads: int = 1
) -> Iterator[Vectors]:
    """Yield the vectors of the batches of a fit; see :func:`batches_from`.

    Yields
    ------
    NDArray
        Shape (plan.batch_size, n_features).
    """
    stream = batches_from(
        Position(), read_pool, sizes, plan.batch_size, buffer_windows=buffer_windows, seed=seed, threads=threads
    )
    with closing(stream):
        for batch in islice(stream, plan.n_batches):
            yield batch.vectors


def batches_from(
    begin: Position, read_pool: ReadPool, sizes: Sequence[int], batch_size: int, *, buffer_windows: int, seed: int,
    threads: int = 1,
) -> Generator[Batch]:  # fmt: skip
    """Yield batches, without an end.

    Parameters
    ----------
    begin
        Where to go on.
    read_pool
        Returns the vectors of some stretches, each of shape (sizes[i], n_features).
    sizes
        Windows in each stretch.
    batch_size
        Windows of a batch.
    buffer_windows
        Stretches are read in a random order, a new one each epoch. So many of them that they hold at
        least this number of windows (the last pool of an epoch may hold fewer) are shuffled together,
        with what the last pool left over, and cut into batches.
    seed
        Of all orders.
    threads
        With more than one, a thread gets the next pool while this one is used, and another cuts the next batch.
    """
    wanted = islice(pools(sizes, buffer_windows, seed), begin.pool, None)
    pooled = in_threads(read_pool, wanted, 1, ahead=1) if threads > 1 else map(read_pool, wanted)
    cut = _cut(pooled, begin, batch_size, seed)
    try:
        yield from cut if threads <= 1 else in_threads(next, repeat(cut), 1, ahead=1)
    finally:
        cut.close()
        if isinstance(pooled, Generator):
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


def _cut(pooled: Iterator[list[Vectors]], begin: Position, batch_size: int, seed: int) -> Generator[Batch]:
    left = begin.left
    for i, pool in enumerate(pooled, begin.pool):
        parts = [left, *pool] if len(left) else pool
        begins = np.cumsum([0, *(len(part) for part in parts)])
        order = np.random.default_rng([seed, 3, i]).permutation(begins[-1])
        n_full = len(order) // batch_size
        left = _taken(parts, begins, order[n_full * batch_size :])
        for number, (first, last) in enumerate(pairwise(range(0, (n_full + 1) * batch_size, batch_size)), 1):
            then = Position(i + 1, left) if number == n_full else None
            yield Batch(_taken(parts, begins, order[first:last]), then)


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
