"""A cube at windows of another grid, beside a slow walk over its frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from stores import ORIGIN_MS, make_cube

from lake.query.across import cells_in, open_spans
from lake.query.select import open_any

N_MELS, N_FRAMES = 3, 10
HOP_S, WINDOW_S = 600.0, 600.0


def codes(seed: int = 0) -> NDArray[np.uint8]:
    """Return codes of windows that follow each other; a few are missing."""
    random = np.random.default_rng(seed)
    found = random.integers(1, 255, (2, 144, N_MELS, N_FRAMES), dtype=np.uint8)
    found[:, [3, 4, 20]] = 0
    return found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = make_cube(tmp_path_factory.mktemp("lake"), codes(), window_s=WINDOW_S, hop_s=HOP_S)
    return run.output.url


def test_a_window_of_the_cube_is_itself(url: str) -> None:
    read = open_spans(url, 600_000)
    found = read(np.array([1, 0]), ORIGIN_MS + np.array([7, 2]) * 600_000)
    np.testing.assert_array_equal(found, codes()[[1, 0], [7, 2]])


@given(st.integers(0, 1), st.integers(-1200, 86_400), st.sampled_from([60, 180, 300, 900]))
def test_any_span_by_a_slow_walk(url: str, recorder: int, start_s: int, length_s: int) -> None:
    """Frames are 60 s long: each frame of the span is the frame of the cube that holds its centre."""
    (found,) = open_spans(url, length_s * 1000)(np.array([recorder]), np.array([ORIGIN_MS + start_s * 1000]))
    assert found.shape == (N_MELS, length_s // 60)
    line = codes()[recorder].transpose(1, 0, 2).reshape(N_MELS, -1)
    for frame in range(length_s // 60):
        at = (start_s + 60 * frame + 30) // 60
        expected = line[:, at] if 0 <= at < line.shape[1] else np.zeros(N_MELS)
        np.testing.assert_array_equal(found[:, frame], expected)


def test_where_windows_overlap_a_missing_one_is_made_up_by_its_neighbours(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Frame centres fall on the same instants in every window: what one lacks another has."""
    line = np.random.default_rng(1).integers(1, 255, (N_MELS, 144 * 5 + 5), dtype=np.uint8)
    overlapping = np.stack([line[:, 5 * i : 5 * i + 10] for i in range(144)])[None]
    overlapping[0, 40] = 0
    run = make_cube(
        tmp_path_factory.mktemp("lake"), overlapping, recorders=["north"], window_s=1200.0, hop_s=600.0
    )  # fmt: skip
    (found,) = open_spans(run.output.url, 1_200_000)(np.array([0]), np.array([ORIGIN_MS + 40 * 600_000]))
    np.testing.assert_array_equal(found, line[:, 200:210])


def test_the_cell_that_stands_for_a_span_is_the_first_that_it_touches(url: str) -> None:
    cube = open_any(url)
    start_s = np.array([0, 599, 1800, 1801, 2999, 3000, 86_399, 86_400, -100])
    recorder = np.zeros(len(start_s), dtype=np.int64)
    found = cells_in(cube, recorder, ORIGIN_MS + start_s * 1000, 700_000)
    assert found.tolist() == [0, 0, -1, -1, 5, 5, 143, -1, 0]
