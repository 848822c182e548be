from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from stores import make_cube, random_codes

from jobs.common.run import Run
from jobs.common.training.data import batches, by_shards, ordering
from jobs.common.training.session import cube_source
from jobs.dino.config import Config
from lake.read import open_cube

Codes = NDArray[np.uint8]


@pytest.fixture
def codes() -> Codes:
    """Return 48 windows in 8 shards of 72 cells."""
    return random_codes(n_mels=16, n_frames=32)


@pytest.fixture
def cube(tmp_path: Path, codes: Codes) -> Run:
    return make_cube(tmp_path / "lake", codes)


def test_batches_are_the_same_from_any_step_on_with_any_number_of_threads(cube: Run) -> None:
    config = Config(batch_size=20, shuffle_shards=2)
    with open_cube(cube.output.url) as dataset:
        one = cube_source(cube.output.url, dataset, partial_too=True)
        several = cube_source(cube.output.url, dataset, partial_too=True, n_threads=3)
    whole = list(batches(one, config, range(6)))
    later = list(batches(several, config, range(2, 6), ahead=1))
    assert len(later) == 4
    for expected, found in zip(whole[2:], later, strict=True):
        np.testing.assert_array_equal(found.samples, expected.samples)
        np.testing.assert_array_equal(found.codes, expected.codes)
        assert found.codes.any(axis=(1, 2)).all()  # a gap is never sampled


def _many(shard: list[int]) -> Callable[[int, int], NDArray[np.int64]]:
    files = np.array(sorted(shard), dtype=np.int64)
    return lambda seed, n: by_shards(np.random.default_rng(seed), files, n)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=80), st.integers(0, 2**32), st.integers(1, 4))
def test_neighbours_in_the_order_lie_in_few_files(shard: list[int], seed: int, n_together: int) -> None:
    order = _many(shard)(seed, n_together)
    assert sorted(order) == list(range(len(shard)))
    files = np.array(sorted(shard))[order]
    rest = set(files.tolist())
    while rest:  # each group of files is finished before the next begins
        together: set[int] = set()
        while len(files) and (files[0] in together or len(together) < n_together):
            together.add(int(files[0]))
            files = files[1:]
        assert not together & set(files.tolist())
        rest -= together


def test_windows_of_files_drawn_together_are_mixed() -> None:
    order = _many([i for i in range(8) for _ in range(50)])(0, 4)
    files = order // 50
    assert set(files[:200]) != set(files[200:])
    assert np.abs(np.diff(files[:200]) != 0).mean() > 0.6


def test_the_order_by_shards_can_be_entered_anywhere(cube: Run) -> None:
    with open_cube(cube.output.url) as dataset:
        source = cube_source(cube.output.url, dataset, partial_too=True)
    windows_of = ordering(source, Config(shuffle_shards=3))
    whole = windows_of(np.arange(200))
    np.testing.assert_array_equal(windows_of(np.arange(77, 150)), whole[77:150])
    assert sorted(whole[:48]) == sorted(whole[48:96]) == list(range(48))
    assert (whole[:48] != whole[48:96]).any()
    assert (whole[:48] != ordering(source, Config())(np.arange(48))).any()
