import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.constants import MS_PER_DAY
from lake.errors import InputError
from lake.grid import Grid, divisor_near, iso, month_span

ORIGIN = int(np.datetime64("2021-07-01", "ms").astype(np.int64))


def test_default_span_is_the_months_of_the_first_and_last_instant() -> None:
    first = int(np.datetime64("2021-07-14T05:00", "ms").astype(np.int64))
    last = int(np.datetime64("2022-02-03", "ms").astype(np.int64))
    assert [iso(x) for x in month_span(first, last)] == ["2021-07-01T00:00:00Z", "2022-03-01T00:00:00Z"]


@pytest.mark.parametrize("hop_ms", [7_000, 11, 86_400_001])
def test_a_hop_that_does_not_divide_a_day_is_refused_with_the_nearest_that_do(hop_ms: int) -> None:
    with pytest.raises(InputError, match="does not divide a day") as caught:
        Grid(ORIGIN, ORIGIN + MS_PER_DAY, 6000, hop_ms)
    if hop_ms == 7_000:
        assert "6.912 or 7.2" in str(caught.value)


def test_a_grid_begins_and_ends_at_midnight() -> None:
    with pytest.raises(InputError, match="one UTC midnight to a later one, not from 2021-07-01T00:00:01Z"):
        Grid(ORIGIN + 1000, ORIGIN + MS_PER_DAY, 6000, 6000)


@given(
    hop_s=st.sampled_from([3, 5, 6, 60]),
    window_s=st.integers(1, 20),
    start_ms=st.integers(-30_000, 2 * MS_PER_DAY),
    length_ms=st.integers(1, 100_000),
)
def test_touched_cells_are_those_whose_windows_share_an_instant(
    hop_s: int, window_s: int, start_ms: int, length_ms: int
) -> None:
    grid = Grid(ORIGIN, ORIGIN + MS_PER_DAY, window_s * 1000, hop_s * 1000)
    start, end = ORIGIN + start_ms, ORIGIN + start_ms + length_ms
    begins = ORIGIN + np.arange(grid.n_cells) * grid.hop_ms
    expected = np.flatnonzero((begins < end) & (begins + grid.window_ms > start))
    assert list(grid.touched(start, end)) == expected.tolist()


@given(number=st.integers(1, 5000), wanted=st.integers(1, 400))
def test_divisor_near_divides_and_none_is_nearer(number: int, wanted: int) -> None:
    found = divisor_near(number, wanted)
    assert number % found == 0
    assert all(abs(d - wanted) >= abs(found - wanted) for d in range(1, number + 1) if number % d == 0)
