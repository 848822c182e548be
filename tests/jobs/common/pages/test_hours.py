from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.common.pages.hours import local_time
from lake.constants import OFFSET_UNKNOWN_S

ZONES = ("America/Chicago", "", "No/Such_Zone", "Asia/Kolkata")


def instant_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def hours_of(start: list[int], offset: list[int], deployment: list[int]) -> tuple[list[int], list[bool]]:
    start_ms = np.array(start, dtype=np.int64)
    local = local_time(start_ms, np.array(offset, dtype=np.int32), np.array(deployment, dtype=np.int32), ZONES)
    return local.hours(start_ms).tolist(), local.known.tolist()


def test_the_offset_of_the_window_moves_its_hour_across_midnight() -> None:
    start = instant_ms("2021-06-22T02:30:00+00:00")
    assert hours_of([start] * 3, [-18_000, 0, 19_800], [0, 0, 0]) == ([21, 2, 8], [True] * 3)


def test_an_unknown_offset_falls_back_to_the_zone_with_its_daylight_saving() -> None:
    start = [instant_ms(text) for text in ("2021-03-14T07:59:59+00:00", "2021-03-14T08:00:00+00:00")]
    assert hours_of(start, [OFFSET_UNKNOWN_S] * 2, [0, 0]) == ([1, 3], [True, True])


@pytest.mark.parametrize("deployment", [-1, 1, 2])
def test_without_a_zone_the_hour_is_utc_and_not_known(deployment: int) -> None:
    start = instant_ms("2021-06-22T02:30:00+00:00")
    assert hours_of([start], [OFFSET_UNKNOWN_S], [deployment]) == ([2], [False])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1_900_000_000),
            st.sampled_from([OFFSET_UNKNOWN_S, -18_000, 0, 3_600, 20_700, 50_400]),
            st.integers(-1, len(ZONES) - 1),
        ),
        max_size=20,
    )
)
def test_hours_are_those_of_the_clock_on_the_wall(windows: list[tuple[int, int, int]]) -> None:
    expected, known = [], []
    for start_s, offset_s, deployment in windows:
        utc = datetime.fromtimestamp(start_s, UTC)
        if offset_s != OFFSET_UNKNOWN_S:
            expected.append((utc + timedelta(seconds=offset_s)).hour)
        elif ZONES[deployment] in {"America/Chicago", "Asia/Kolkata"} and deployment >= 0:
            expected.append(utc.astimezone(ZoneInfo(ZONES[deployment])).hour)
        else:
            expected.append(utc.hour)
        known.append(offset_s != OFFSET_UNKNOWN_S or deployment in {0, 3})
    found = hours_of([1000 * w[0] for w in windows], [w[1] for w in windows], [w[2] for w in windows])
    assert found == (expected, known)
