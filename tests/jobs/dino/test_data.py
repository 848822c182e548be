import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.common.network.levels import level_statistics
from jobs.common.training.data import (
    batches,
    from_array,
    held,
    ordering,
    require_shares,
    require_windows,
)
from jobs.common.training.statistics import level_counts
from jobs.dino.config import Config
from lake.errors import InputError

MakeConfig = Callable[..., Config]
Codes = NDArray[np.uint8]


def windows_of(samples: NDArray[np.int64], n_windows: int, seed: int) -> NDArray[np.int64]:
    nothing = from_array(np.zeros((n_windows, 1, 1), dtype=np.uint8))
    return ordering(nothing, Config(seed=seed))(samples)


@given(st.integers(1, 300), st.integers(0, 2**40), st.integers(0, 5))
def test_each_pass_is_a_permutation_of_its_own(n_windows: int, seed: int, first_pass: int) -> None:
    samples = np.arange(first_pass * n_windows, (first_pass + 2) * n_windows)
    windows = windows_of(samples, n_windows, seed)
    first, second = windows[:n_windows], windows[n_windows:]
    assert sorted(first) == sorted(second) == list(range(n_windows))
    if n_windows > 20:
        assert (first != second).any()
        assert (windows_of(samples, n_windows, seed + 1) != windows).any()


@given(st.integers(1, 300), st.integers(0, 100), st.lists(st.integers(0, 3000), min_size=1))
def test_the_place_in_the_order_can_be_asked_for_directly(n_windows: int, seed: int, samples: list[int]) -> None:
    whole = windows_of(np.arange(3001), n_windows, seed)
    np.testing.assert_array_equal(windows_of(np.array(samples), n_windows, seed), whole[samples])


@given(st.integers(16, 60), st.integers(1, 4), st.integers(0, 10), st.integers(1, 6))
def test_ranks_share_each_batch(n_windows: int, n_ranks: int, first: int, n_more: int) -> None:
    codes = np.arange(n_windows, dtype=np.uint8)[:, None, None]
    config = Config(batch_size=12)
    steps = range(first, first + n_more)
    whole = list(batches(from_array(codes), config, steps))
    ranks = [list(batches(from_array(codes), config, steps, rank=i, n_ranks=n_ranks)) for i in range(n_ranks)]
    assert [len(each) for each in ranks] == [n_more] * n_ranks
    for i, batch in enumerate(whole):
        np.testing.assert_array_equal(batch.samples, np.arange(12) + (first + i) * 12)
        np.testing.assert_array_equal(batch.codes[:, 0, 0], windows_of(batch.samples, n_windows, 0))
        np.testing.assert_array_equal(np.concatenate([each[i].samples for each in ranks]), batch.samples)
        np.testing.assert_array_equal(np.concatenate([each[i].codes for each in ranks]), batch.codes)


def test_fewer_windows_than_a_batch_are_refused(codes: Codes) -> None:
    with pytest.raises(InputError, match=r"at most the number of windows, found 25 for 24 usable windows\. Set a"):
        require_windows(from_array(codes), Config(batch_size=25))


def test_processes_that_cannot_share_a_batch_are_refused() -> None:
    with pytest.raises(InputError, match="a multiple of the 5 processes, found 12"):
        require_shares(Config(batch_size=12), n_ranks=5)


def test_reading_goes_on_while_the_caller_trains(codes: Codes) -> None:
    asked: list[int] = []

    def read(windows: NDArray[np.int64]) -> Codes:
        asked.append(len(windows))
        return codes[windows]

    source = replace(from_array(codes), read=read)
    stream = batches(source, Config(batch_size=8), range(10), ahead=2)
    next(stream)
    until = time.monotonic() + 10
    while len(asked) < 3 and time.monotonic() < until:
        time.sleep(0.001)
    assert len(asked) == 3
    stream.close()
    assert asked == [8] * 3


def test_an_error_in_the_reader_is_the_callers(codes: Codes) -> None:
    def read(windows: NDArray[np.int64]) -> Codes:
        raise OSError(f"no disk for {len(windows)}")

    with pytest.raises(OSError, match="no disk for 8"):
        next(batches(replace(from_array(codes), read=read), Config(batch_size=8), range(3)))


def test_windows_that_are_held_are_read_once() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (600, 2, 3), dtype=np.uint8)
    asked: list[NDArray[np.int64]] = []

    def read(windows: NDArray[np.int64]) -> Codes:
        asked.append(windows)
        return codes[windows]

    source = held(replace(from_array(codes), read=read))
    np.testing.assert_array_equal(np.concatenate(asked), np.arange(600))
    chosen = random.integers(0, 600, 50)
    np.testing.assert_array_equal(source.read(chosen), codes[chosen])
    assert len(asked) == 3
    assert source.digest == from_array(codes).digest
    assert source.n_bytes == codes.nbytes


def test_other_windows_have_another_digest(codes: Codes) -> None:
    assert from_array(codes).digest == from_array(codes.copy()).digest
    assert from_array(codes).digest != from_array(codes[::-1]).digest


def test_statistics_equal_numpys(codes: Codes) -> None:
    mean, deviation = level_statistics(level_counts(from_array(codes), Config()))
    levels = np.where(codes == 0, np.nan, codes * 0.5 - 124.5)
    expected = np.nanmean(levels, axis=(0, 2))
    np.testing.assert_allclose(mean, expected)
    assert deviation == pytest.approx(np.sqrt(np.nanmean((levels - expected[:, None]) ** 2)))


def test_statistics_take_a_seeded_sample_of_many_windows(codes: Codes) -> None:
    many = np.concatenate([codes] * 5)
    counts = [level_counts(from_array(many), Config(seed=seed, n_statistics=30)) for seed in (0, 0, 1)]
    assert counts[0].sum() == 30 * codes[0].size
    np.testing.assert_array_equal(counts[0], counts[1])
    assert (counts[0] != counts[2]).any()


def test_a_band_that_no_window_has_takes_the_mean_of_the_others(codes: Codes) -> None:
    without = codes.copy()
    without[:, 30:] = 0
    mean, _ = level_statistics(level_counts(from_array(without), Config()))
    assert mean[30] == mean[31] == pytest.approx(mean[:30].mean())


def test_silence_has_a_deviation() -> None:
    mean, deviation = level_statistics(level_counts(from_array(np.ones((2, 3, 4), dtype=np.uint8)), Config()))
    assert mean.tolist() == [-124.0] * 3
    assert deviation == 0.5


def test_windows_without_a_level_are_refused() -> None:
    with pytest.raises(InputError, match="expected levels in the windows, found none"):
        level_statistics(np.zeros((3, 256), dtype=np.int64))
