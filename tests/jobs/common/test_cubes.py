"""The windows of a cube that a model is made from."""

from pathlib import Path

import numpy as np
import pytest
from stores import make_cube, make_run, random_codes

from jobs.adopt.config import Config
from jobs.common.cubes import WINDOWS_AT_ONCE, Cube, batches, cube_of, drawn
from lake.errors import InputError
from lake.read import Windows, open_cube


def test_batches_are_the_windows_in_order(tmp_path: Path) -> None:
    run = make_run(tmp_path, "x", "adopt", Config(arch="a"), inputs={"spectrograms": make_cube(tmp_path)})
    cube = cube_of(run)
    with open_cube(run.inputs["spectrograms"].output.url) as dataset:
        assert cube.shape == (dataset.sizes["mel"], dataset.sizes["frame"])
        expected = dataset["spectrogram"].to_numpy()[cube.windows.recorder, cube.windows.cell]
    found = list(batches(cube))
    assert max(map(len, found)) == WINDOWS_AT_ONCE
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert len(cube_of(run, partial=False).windows) < len(cube.windows)


def test_a_sample_is_in_order_and_the_same_again() -> None:
    windows = Windows(np.repeat(np.arange(2, dtype=np.int32), 50), np.tile(np.arange(50), 2))
    cube = Cube("", windows, np.arange(8.0), 16, 3.0)
    some, again, other = (drawn(cube, 20, seed).windows for seed in (3, 3, 4))
    at = 50 * some.recorder + some.cell
    assert len(at) == 20
    assert (np.diff(at) > 0).all()
    np.testing.assert_array_equal(some.cell, again.cell)
    assert (some.cell != other.cell).any()
    np.testing.assert_array_equal(drawn(cube, 1000, 3).windows.cell, windows.cell)


def test_a_cube_without_windows_is_refused(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, np.zeros_like(random_codes()))
    run = make_run(tmp_path, "x", "adopt", Config(arch="a"), inputs={"spectrograms": cube})
    with pytest.raises(InputError, match=r"run 'x': the cube '.*' has no usable window"):
        cube_of(run)
