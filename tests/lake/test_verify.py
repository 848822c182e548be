from pathlib import Path

import numpy as np
import pytest
import stores

from lake.grid import iso
from lake.read import open_array
from lake.verify import damages


def test_nothing_differs_in_what_was_just_written(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    assert list(damages(cube.output, cube.ledger, cube.kind)) == []


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_is_found_and_its_window_named(tmp_path: Path, seed: int) -> None:
    codes = stores.random_codes()
    cube = stores.make_cube(tmp_path, codes)
    random = np.random.default_rng(seed)
    shards = sorted(Path(cube.output.url).glob("spectrogram/c.*"))
    shard = shards[random.integers(len(shards))]
    data = bytearray(shard.read_bytes())
    data[random.integers(len(data))] ^= 1 << random.integers(8)
    shard.write_bytes(data)
    (line,) = damages(cube.output, cube.ledger, cube.kind)
    assert shard.name in line
    assert "differs from the ledger" in line
    i_recorder, block = map(int, shard.name.split(".")[1:3])
    n_cells = (open_array(cube.output.url, "spectrogram").shards or ())[1]
    assert f"{stores.RECORDERS[i_recorder]}: " in line
    cells = np.flatnonzero(codes[i_recorder].any(axis=(1, 2)))
    starts = [iso(stores.ORIGIN_MS + cell * 600_000) for cell in cells.tolist() if cell // n_cells == block]
    assert any(start in line for start in starts) or "no window changed" in line


def test_a_value_that_changed_names_its_window_alone(tmp_path: Path) -> None:
    codes = stores.random_codes(n_recorders=1, n_partial=0)
    cube = stores.make_cube(tmp_path, codes, recorders=("north",))
    (cell, *_) = np.flatnonzero(codes[0].any(axis=(1, 2)))
    other = codes.copy()
    other[0, cell, 0, 0] ^= 1
    forged = stores.make_cube(tmp_path / "forged", other, recorders=("north",))
    n_cells = (open_array(cube.output.url, "spectrogram").shards or ())[1]
    name = f"spectrogram/c.0.{cell // n_cells}.0.0"
    cube.output.write(name, forged.output.read(name))
    (line,) = damages(cube.output, cube.ledger, cube.kind)
    assert line.endswith(f"differs from the ledger; north: {iso(stores.ORIGIN_MS + int(cell) * 600_000)}")


def test_a_shard_that_is_gone_is_named(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    shard = next(iter(sorted(Path(cube.output.url).glob("spectrogram/c.*"))))
    shard.unlink()
    (line,) = damages(cube.output, cube.ledger, cube.kind)
    assert f"{shard.name}: is in the ledger, but not there" in line


def test_files_of_a_folder_are_compared_too(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    cube.ledger.settle_files({"zarr.json": "0" * 64})
    (line,) = damages(cube.output, cube.ledger, "models")
    assert line.endswith("zarr.json: differs from the ledger")
