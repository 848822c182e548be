import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from stores import make_cube, random_codes, settle_again

from jobs.common.run import Run
from jobs.dino.command import cube_source
from jobs.dino.config import Config
from jobs.dino.data import batches, by_shards, ordering
from jobs.dino.reading import read_by_workers
from lake.errors import StoreError, TryAgainError
from lake.read import open_cube, usable_windows
from lake.shards import Read, layout_of, open_windows

Codes = NDArray[np.uint8]


@pytest.fixture
def codes() -> Codes:
    """Return 48 windows in 8 shards of 72 cells."""
    return random_codes(n_mels=16, n_frames=32)


@pytest.fixture
def cube(tmp_path: Path, codes: Codes) -> Run:
    return make_cube(tmp_path / "lake", codes)


def everywhere(codes: Codes) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the place of every cell, recorded or not."""
    recorder, cell = np.indices(codes.shape[:2]).reshape(2, -1)
    return recorder.astype(np.int32), cell.astype(np.int64)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_every_cell_is_what_zarr_reads(cube: Run, codes: Codes, n_threads: int) -> None:
    read = open_windows(cube.output.url, *everywhere(codes), n_threads=n_threads)
    order = np.random.default_rng(0).permutation(codes.shape[0] * codes.shape[1])
    np.testing.assert_array_equal(read(order), codes.reshape(-1, 16, 32)[order])


def test_only_what_is_needed_is_read(cube: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    url = cube.output.url
    with open_cube(url) as dataset:
        windows = usable_windows(dataset)
    layout = layout_of(url)
    assert layout is not None
    read = open_windows(url, windows.recorder, windows.cell)
    opened, sizes = [], []
    pread, open_file = os.pread, os.open

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return pread(descriptor, size, offset)

    def noted(path: Path, flags: int) -> int:
        opened.append(path)
        return open_file(path, flags)

    monkeypatch.setattr(os, "pread", counted)
    monkeypatch.setattr(os, "open", noted)
    shard = windows.recorder.astype(np.int64) * 1000 + windows.cell // 72
    chosen = np.array([0, 5, 40])
    read(chosen)
    index_bytes = 16 * 72 + 4
    assert len(opened) == len(np.unique(shard[chosen]))
    assert sizes.count(index_bytes) == len(opened)
    assert len(sizes) == len(opened) + 3
    assert all(size < 16 * 32 + 64 for size in sizes if size != index_bytes)
    read(chosen)
    assert len(sizes) == len(opened) + 6  # an open shard's index is kept


def shard_file(cube: Run) -> Path:
    return min(Path(cube.output.url).glob("spectrogram/c.0.*"))


def test_a_damaged_shard_is_named(cube: Run, codes: Codes) -> None:
    path, places = shard_file(cube), everywhere(codes)
    whole = path.read_bytes()
    first = int(codes[0].any(axis=(1, 2)).argmax())
    begin = int(np.frombuffer(whole[-(16 * 72 + 4) : -4], dtype="<u8").reshape(-1, 2)[first % 72, 0])
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match=rf"{path.name}: its index is damaged\. `dawnchorus verify` tells"):
        open_windows(cube.output.url, *places)(np.array([first]))
    path.write_bytes(b"short")
    with pytest.raises(StoreError, match="its index is damaged"):
        open_windows(cube.output.url, *places)(np.array([first]))
    path.write_bytes(whole[:begin] + b"\0\0\0\0" + whole[begin + 4 :])
    with pytest.raises(StoreError, match=rf"{path.name}: its window {first % 72} does not decode\. `dawnchorus"):
        open_windows(cube.output.url, *places)(np.array([first]))


def test_no_flipped_bit_of_a_window_goes_unnoticed(cube: Run, codes: Codes) -> None:
    path, places = shard_file(cube), everywhere(codes)
    whole = path.read_bytes()
    first = int(codes[0].any(axis=(1, 2)).argmax())
    begin, size = np.frombuffer(whole[-(16 * 72 + 4) : -4], dtype="<u8").reshape(-1, 2)[first % 72].tolist()
    copy = shutil.copytree(cube.output.url, path.parents[3] / "copy.zarr")  # without a ledger checksums alone hold
    for byte in range(begin, begin + size):
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << byte % 8
        for url in (cube.output.url, str(copy)):
            (Path(url) / "spectrogram" / path.name).write_bytes(damaged)
            try:
                message, found = "", open_windows(url, *places)(np.array([first]))[0]
            except StoreError as error:
                message, found = str(error), codes[0, first]
            assert path.name in message or not message
            np.testing.assert_array_equal(found, codes[0, first])


def test_a_window_of_another_shard_is_refused(cube: Run, codes: Codes) -> None:
    path = shard_file(cube)
    shutil.copyfile(path.with_name("c.1.0.0.0"), path)
    cells = np.flatnonzero(codes[1, :72].any(axis=(1, 2)))
    with pytest.raises(StoreError, match=rf"{path.name}: the window of north at 2021-06-01T.* is not in the ledger"):
        open_windows(cube.output.url, *everywhere(codes))(cells)
    path.unlink()
    own = np.flatnonzero(codes[0, :72].any(axis=(1, 2)))
    with pytest.raises(StoreError, match=rf"{path.name}: the window of north at 2021-06-01T.* digest"):
        open_windows(cube.output.url, *everywhere(codes))(own)


def test_a_shard_that_is_replaced_is_read_as_it_was_opened(cube: Run, codes: Codes) -> None:
    read, path = open_windows(cube.output.url, *everywhere(codes)), shard_file(cube)
    first = np.array([codes[0].any(axis=(1, 2)).argmax()])
    before = read(first)
    aside = path.with_suffix(".aside")
    aside.write_bytes(b"another")
    aside.replace(path)
    np.testing.assert_array_equal(read(first), before)


def test_an_array_of_another_layout_is_read_by_zarr(cube: Run, codes: Codes) -> None:
    group = zarr.open_group(cube.output.url, mode="a", use_consolidated=False)
    attributes = dict(group["spectrogram"].attrs)
    del group["spectrogram"]
    group.create_array("spectrogram", data=codes, chunks=(1, 1, 16, 32), attributes=attributes)
    with pytest.warns(UserWarning, match="Consolidated metadata is currently not part"):
        zarr.consolidate_metadata(cube.output.url, zarr_format=3)
    settle_again(cube)
    assert layout_of(cube.output.url) is None
    read = open_windows(cube.output.url, *everywhere(codes))
    order = np.random.default_rng(0).permutation(200)
    np.testing.assert_array_equal(read(order), codes.reshape(-1, 16, 32)[order])


@pytest.mark.slow
def test_worker_processes_give_the_same_batches_from_any_step_on(cube: Run) -> None:
    config = Config(batch_size=20, shuffle_shards=2)
    with open_cube(cube.output.url) as dataset:
        source = cube_source(cube.output.url, dataset, partial_too=True)
    by_thread = list(batches(source, config, range(6)))
    by_workers = list(batches(source, config, range(2, 6), n_workers=2))
    assert len(by_workers) == 4
    for expected, found in zip(by_thread[2:], by_workers, strict=True):
        np.testing.assert_array_equal(found.samples, expected.samples)
        np.testing.assert_array_equal(found.codes, expected.codes)
        assert found.codes.any(axis=(1, 2)).all()  # a gap is never sampled


def _dies() -> Read:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.mark.slow
def test_a_worker_that_dies_is_told_of() -> None:
    stream = read_by_workers(partial(_dies), iter([np.arange(3)]), 1, 2)
    with pytest.raises(TryAgainError, match=r"a process that read windows died \(DataLoader worker .* fewer --workers"):
        next(stream)


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
