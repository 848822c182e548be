from collections.abc import Callable
from itertools import islice
from threading import Lock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.cluster.batches import batches, pools
from jobs.cluster.kmeans import Schedule


def pool_of(read: Callable[[int], NDArray[np.float32]]) -> Callable[[list[int]], list[NDArray[np.float32]]]:
    """Return the function that reads a pool, a stretch after the other."""
    return lambda pool: [read(i) for i in pool]


def numbered(sizes: list[int]) -> list[NDArray[np.float32]]:
    """Return stretches whose windows carry their own number."""
    return np.split(np.arange(sum(sizes), dtype=np.float32)[:, None], np.cumsum(sizes)[:-1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 80), st.integers(0, 99))
def test_an_epoch_has_every_stretch_once_in_pools_of_the_right_size(sizes: list[int], buffer: int, seed: int) -> None:
    stream, epoch = pools(sizes, buffer, seed), list[int]()
    while len(epoch) < len(sizes):
        pool = next(stream)
        epoch += pool
        n_windows = sum(sizes[i] for i in pool)
        assert n_windows >= buffer or len(epoch) == len(sizes)
        assert n_windows - sizes[pool[-1]] < buffer
    assert sorted(epoch) == list(range(len(sizes)))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 40), st.integers(1, 80), st.integers(0, 99)
)
def test_no_window_twice_before_all_were_seen(sizes: list[int], batch_size: int, buffer: int, seed: int) -> None:
    n_windows, parts = sum(sizes), numbered(sizes)
    batch_size = min(batch_size, n_windows)
    plan = Schedule(batch_size, 3 * n_windows // batch_size, 1)
    found = list(batches(pool_of(parts.__getitem__), sizes, plan, buffer_windows=buffer, seed=seed))
    assert [len(batch) for batch in found] == [batch_size] * plan.n_batches
    seen = np.bincount(np.concatenate(found)[:, 0].astype(int), minlength=n_windows)
    assert 3 * n_windows - seen.sum() < batch_size
    # Epochs follow each other with less than a batch left over, so counts differ by one, or two at a join.
    assert seen.max() <= 4
    assert (seen >= 2).sum() >= n_windows - batch_size


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("buffer", [1, 50, 10_000])
def test_threads_change_no_batch(threads: int, buffer: int) -> None:
    sizes = [7, 1, 30, 12, 9, 25, 4]
    parts, plan = numbered(sizes), Schedule(16, 20, 1)
    alone, together = (
        list(batches(pool_of(parts.__getitem__), sizes, plan, buffer_windows=buffer, seed=4, threads=n))
        for n in (1, threads)
    )
    np.testing.assert_array_equal(np.array(alone), np.array(together))


def test_epochs_and_seeds_differ() -> None:
    sizes = [10] * 20
    first, second = islice(pools(sizes, 200, 0), 2)
    assert first != second
    assert sorted(first) == sorted(second)
    assert next(pools(sizes, 200, 0)) != next(pools(sizes, 200, 1))


def test_a_batch_mixes_windows_from_all_over() -> None:
    sizes = [50] * 40
    parts = numbered(sizes)
    batch = next(batches(pool_of(parts.__getitem__), sizes, Schedule(100, 5, 1), buffer_windows=500, seed=0))
    assert len(np.unique(batch // 50)) >= 8


@pytest.mark.parametrize("threads", [1, 2])
def test_reading_is_never_more_than_a_pool_ahead(threads: int) -> None:
    sizes, buffer = [10] * 60, 50
    parts, lock, n_read, n_used = numbered(sizes), Lock(), 0, 0

    def read(i: int) -> NDArray[np.float32]:
        nonlocal n_read
        with lock:
            n_read += len(parts[i])
        return parts[i]

    for batch in batches(pool_of(read), sizes, Schedule(8, 60, 1), buffer_windows=buffer, seed=0, threads=threads):
        n_used += len(batch)
        assert n_read - n_used <= (2 if threads > 1 else 1) * buffer + 8


def test_an_error_while_reading_ahead_is_seen() -> None:
    def read(_: int) -> NDArray[np.float32]:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        next(batches(pool_of(read), [5, 5], Schedule(2, 2, 1), buffer_windows=5, seed=0, threads=2))
