import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.imports.core import place
from lake.grid import Grid

GRID = Grid(0, 86_400_000, 3_000, 3_000)


def test_the_nearest_cell_and_the_offset_from_it() -> None:
    start_ms = np.array([1_499, 3_000, 7_501, 10_500, 1_501 + 3_000])
    found = place(start_ms, np.array([0, 0, 0, 0, 1]), GRID)
    assert found.cell.tolist() == [0, 1, 3, 2]
    assert found.recorder.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(found.offset_s, [1.499, 0, -1.499, -1.499])
    assert found.shared.tolist() == [3], "10.5 s is 1.5 s from the cell that 7.501 s is 1.499 s from"


def test_neighbours_of_one_recording_never_share_a_cell() -> None:
    for begin_ms in range(0, 3_000, 7):
        found = place(begin_ms + 3_000 * np.arange(50), np.zeros(50, dtype=np.int64), GRID)
        assert not len(found.shared)
        assert np.diff(found.cell).tolist() == [1] * 49


@given(st.lists(st.tuples(st.integers(0, 86_000_000), st.integers(0, 2)), min_size=1, max_size=60))
def test_every_vector_is_placed_or_shared_and_its_time_is_kept(starts: list[tuple[int, int]]) -> None:
    start_ms, recorder = np.array(starts, dtype=np.int64).T
    found = place(start_ms, recorder, GRID)
    assert sorted([*found.row, *found.shared]) == list(range(len(starts)))
    np.testing.assert_array_equal(found.cell * 3_000 + np.rint(found.offset_s * 1000), start_ms[found.row])
    assert (np.abs(found.offset_s) <= 1.5).all()
    places = set(zip(found.recorder.tolist(), found.cell.tolist(), strict=True))
    assert len(places) == len(found.row)
