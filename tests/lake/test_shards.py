import os
import shutil
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from stores import make_cube, random_codes, settle_again

from jobs.common.run import Run
from lake.errors import StoreError
from lake.read import open_cube, usable_windows
from lake.shards import layout_of, open_codes

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
    read = open_codes(cube.output.url, n_threads=n_threads)
    order = np.random.default_rng(0).permutation(codes.shape[0] * codes.shape[1])
    np.testing.assert_array_equal(
        read(*(places[order] for places in everywhere(codes))), codes.reshape(-1, 16, 32)[order]
    )


def test_only_what_is_needed_is_read(cube: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    url = cube.output.url
    with open_cube(url) as dataset:
        windows = usable_windows(dataset)
    layout = layout_of(url)
    assert layout is not None
    read = open_codes(url)
    opened, sizes = [], []
    pread, open_file = os.pread, os.open

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return pread(descriptor, size, offset)

    def noted(path: Path, flags: int) -> int:
        opened.append(path)
        return open_file(path, flags)

    shard = windows.recorder.astype(np.int64) * 1000 + windows.cell // 72
    chosen = np.array([0, 5, 40])
    index_bytes = 16 * 72 + 4
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", counted)
        patch.setattr(os, "open", noted)
        read(windows.recorder[chosen], windows.cell[chosen])
        assert len(opened) == len(np.unique(shard[chosen]))
        assert sizes.count(index_bytes) == len(opened)
        assert len(sizes) == len(opened) + 3
        assert all(size < 16 * 32 + 64 for size in sizes if size != index_bytes)
        read(windows.recorder[chosen], windows.cell[chosen])
    assert len(sizes) == len(opened) + 6  # an open shard's index is kept


def shard_file(cube: Run) -> Path:
    return min(Path(cube.output.url).glob("spectrogram/c.0.*"))


def test_a_damaged_shard_is_named(cube: Run, codes: Codes) -> None:
    path = shard_file(cube)
    whole = path.read_bytes()
    first = int(codes[0].any(axis=(1, 2)).argmax())
    begin = int(np.frombuffer(whole[-(16 * 72 + 4) : -4], dtype="<u8").reshape(-1, 2)[first % 72, 0])
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match=rf"{path.name}: its index is damaged\. `dawnchorus verify` lists"):
        open_codes(cube.output.url)([0], [first])
    path.write_bytes(b"short")
    with pytest.raises(StoreError, match="its index is damaged"):
        open_codes(cube.output.url)([0], [first])
    index = np.frombuffer(whole[-(16 * 72 + 4) : -4], dtype="<u8").copy()
    for place, value in ((2 * (first % 72), 2**63), (2 * (first % 72) + 1, 2**62)):  # no read asks for as many bytes
        far = index.copy()
        far[place] = value
        end = far.tobytes() + google_crc32c.value(far.tobytes()).to_bytes(4, "little")
        path.write_bytes(whole[: -len(end)] + end)
        with pytest.raises(StoreError, match=rf"{path.name}: its index points behind the end of the file"):
            open_codes(cube.output.url)([0], [first])
    path.write_bytes(whole[:begin] + b"\0\0\0\0" + whole[begin + 4 :])
    with pytest.raises(StoreError, match=rf"{path.name}: its window {first % 72} does not decode\. `dawnchorus"):
        open_codes(cube.output.url)([0], [first])


def test_no_flipped_bit_of_a_window_goes_unnoticed(cube: Run, codes: Codes) -> None:
    path = shard_file(cube)
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
                message, found = "", open_codes(url)([0], [first])[0]
            except StoreError as error:
                message, found = str(error), codes[0, first]
            assert path.name in message or not message
            np.testing.assert_array_equal(found, codes[0, first])


def test_a_window_of_another_shard_is_refused(cube: Run, codes: Codes) -> None:
    path = shard_file(cube)
    shutil.copyfile(path.with_name("c.1.0.0.0"), path)
    cells = np.flatnonzero(codes[1, :72].any(axis=(1, 2)))
    with pytest.raises(StoreError, match=rf"{path.name}: the window of north at 2021-06-01T.* is not in the ledger"):
        open_codes(cube.output.url)(np.zeros(len(cells), dtype=np.int64), cells)
    path.unlink()
    own = np.flatnonzero(codes[0, :72].any(axis=(1, 2)))
    with pytest.raises(StoreError, match=rf"{path.name}: expected the file that the ledger lists .*, found no file"):
        open_codes(cube.output.url)(np.zeros(len(own), dtype=np.int64), own)


def test_a_shard_that_is_replaced_is_read_as_it_was_opened(cube: Run, codes: Codes) -> None:
    read, path = open_codes(cube.output.url), shard_file(cube)
    first = [0], [int(codes[0].any(axis=(1, 2)).argmax())]
    before = read(*first)
    aside = path.with_suffix(".aside")
    aside.write_bytes(b"another")
    aside.replace(path)
    np.testing.assert_array_equal(read(*first), before)


def test_an_array_of_another_layout_is_read_by_zarr(cube: Run, codes: Codes) -> None:
    group = zarr.open_group(cube.output.url, mode="a", use_consolidated=False)
    attributes = dict(group["spectrogram"].attrs)
    del group["spectrogram"]
    group.create_array("spectrogram", data=codes, chunks=(1, 1, 16, 32), attributes=attributes)
    with pytest.warns(UserWarning, match="Consolidated metadata is currently not part"):
        zarr.consolidate_metadata(cube.output.url, zarr_format=3)
    settle_again(cube)
    assert layout_of(cube.output.url) is None
    read = open_codes(cube.output.url)
    order = np.random.default_rng(0).permutation(200)
    np.testing.assert_array_equal(
        read(*(places[order] for places in everywhere(codes))), codes.reshape(-1, 16, 32)[order]
    )
