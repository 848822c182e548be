"""Files of a store that are not those of its ledger: found when they are read, and named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import stores
import xarray as xr

from jobs.common.run import Run
from lake.errors import StoreError, TryAgainError
from lake.read import open_array, open_clusters, open_cube, open_store, read_rows, usable_windows


@pytest.fixture
def cube(tmp_path: Path) -> Run:
    return stores.make_cube(tmp_path / "lake")


def read_all(url: str) -> xr.Dataset:
    with open_store(url, "spectrograms", mask_and_scale=False, times=True) as dataset:
        return dataset.load()


def test_every_file_of_a_cube_is_missed(cube: Run) -> None:
    right = read_all(cube.output.url)
    keys = [key for key in cube.output.list_keys() if "/c." in key]
    assert len(keys) > 40
    for key in keys:
        path = Path(cube.output.path(key))
        aside = path.rename(path.with_name("aside"))
        with pytest.raises(StoreError, match=rf"{key}: expected the file that the ledger lists .*, found no file"):
            read_all(cube.output.url)
        aside.rename(path)
    xr.testing.assert_identical(read_all(cube.output.url), right)


def test_a_day_whose_status_is_gone_is_not_a_day_without_recordings(cube: Run) -> None:
    cube.output.remove("status/c.1.1")
    with open_cube(cube.output.url) as dataset, pytest.raises(StoreError, match=r"status/c\.1\.1: expected the file"):
        usable_windows(dataset)


def test_a_file_of_another_day_is_refused(cube: Run) -> None:
    for name, other in (
        ("status/c.0.0", "status/c.0.1"),
        ("level_db/c.0.0", "level_db/c.1.0"),
        ("mel/c.0", "frame/c.0"),
    ):
        whole = cube.output.read(name)
        cube.output.write(name, cube.output.read(other))
        with pytest.raises(StoreError, match=rf"{name}: expected the file that the ledger lists .*, found SHA-256"):
            read_all(cube.output.url)
        cube.output.write(name, whole)


def test_chunks_of_clusters_are_held_against_their_entries(tmp_path: Path) -> None:
    clusters = stores.make_clusters(tmp_path, np.random.default_rng(0).integers(0, 3, (2, 288)))
    clusters.output.write("cluster/c.0.0", clusters.output.read("cluster/c.1.1"))
    with open_clusters(clusters.output.url) as dataset, pytest.raises(StoreError, match=r"cluster/c\.0\.0: expected"):
        dataset["cluster"].load()


def test_a_copy_without_a_ledger_has_its_checksums(cube: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy.zarr"
    shutil.copytree(cube.output.url, copy)
    xr.testing.assert_identical(read_all(str(copy)), read_all(cube.output.url))
    for name in ("spectrogram/c.0.0.0.0", "level_db/c.0.0", "recording_path/c.0"):
        path = copy / name
        whole = path.read_bytes()
        for at in (len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
            with pytest.raises(StoreError, match=rf"{name}: expected chunks that decode, found damaged bytes"):
                read_all(str(copy))
        path.write_bytes(whole)
    text = (copy / "zarr.json").read_text()
    for damaged in (text.replace('"zstd"', '"zsty"'), text[: len(text) // 2], ""):
        (copy / "zarr.json").write_text(damaged)
        with pytest.raises(StoreError, match=r"zarr\.json: expected the metadata"):
            read_all(str(copy))


def test_a_window_is_held_against_its_digest(cube: Run) -> None:
    with open_cube(cube.output.url) as dataset:
        windows = usable_windows(dataset)
    array = open_array(cube.output.url, "spectrogram")
    first = windows.take(slice(0, 3))
    codes = read_rows(array, first.recorder, first.cell)
    assert codes.any(axis=(1, 2)).all()
    shutil.copyfile(cube.output.path("spectrogram/c.1.0.0.0"), cube.output.path("spectrogram/c.0.0.0.0"))
    with pytest.raises(StoreError, match=r"c\.0\.0\.0\.0: the window of north at 2021-06-01T.*: expected codes"):
        read_rows(array, first.recorder, first.cell)


def test_a_reader_that_meets_a_commit_tries_again(cube: Run) -> None:
    cube.ledger.begin_commit()
    read_all(cube.output.url)  # what is not written yet is as it was
    cube.output.write("status/c.0.0", cube.output.read("status/c.0.1"))
    with pytest.raises(TryAgainError, match=r"status/c\.0\.0: its run is being finalised"):
        read_all(cube.output.url)


def test_a_record_of_a_commit_that_is_gone_is_named(cube: Run) -> None:
    cube.ledger.storage.remove("commit.json")
    with pytest.raises(StoreError, match=r"ledgers/mels/commit\.json: expected the record of what a finalise wrote"):
        read_all(cube.output.url)
