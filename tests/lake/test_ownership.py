from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lake.ownership import JOIN_MS, compose, own_segments


@dataclass(frozen=True)
class Recording:
    sha256: str
    start_ms: int
    n_samples: int
    sample_rate_hz: int = 1000
    n_channels: int | None = 1


def recordings(unit_ms: int) -> st.SearchStrategy[list[Recording]]:
    """Draw recordings at 1 kHz whose starts and lengths are multiples of some milliseconds; equal ones too."""
    one = st.builds(
        lambda sha, start, n: Recording(sha, unit_ms * start, unit_ms * n),
        st.sampled_from("abcd"), st.integers(0, 40), st.integers(0, 30),
    )  # fmt: skip
    return st.lists(one, max_size=8)


def owner_of(mine: list[Recording], instant_ms: int) -> Recording | None:
    """Return the recording that started first of those that hold an instant: the rule, an instant at a time."""
    holding = [r for r in mine if r.start_ms <= instant_ms < r.start_ms + r.n_samples]
    return min(holding, key=lambda r: (r.start_ms, r.sha256), default=None)


@given(recordings(1))
def test_an_instant_is_its_first_recording_s(mine: list[Recording]) -> None:
    segments, overlaps = own_segments(mine)
    for instant in range(72):
        owners = [s.recording for s in segments if s.from_ms <= instant < s.to_ms]
        expected = owner_of(mine, instant)
        assert owners == ([] if expected is None else [expected])
        n_holding = sum(r.start_ms <= instant < r.start_ms + r.n_samples for r in mine)
        if any(low <= instant < high for low, high in overlaps):
            assert n_holding > 1
    assert all(a.to_ms <= b.from_ms for a, b in pairwise(segments))


@given(recordings(5), st.integers(0, 60), st.integers(1, 30))
def test_each_sample_of_a_window_is_its_owner_s(mine: list[Recording], start: int, length: int) -> None:
    composed = compose(own_segments(mine)[0], 5 * start, 5 * length)
    found: list[tuple[Recording, int] | None] = [None] * (5 * length)
    for part in () if composed is None else composed.parts:
        for i in range(part.n_samples):
            assert found[part.at_sample + i] is None
            found[part.at_sample + i] = part.recording, part.first_sample + i
    for i, one in enumerate(found):
        owner = owner_of(mine, 5 * start + i)
        assert one == (None if owner is None else (owner, 5 * start + i - owner.start_ms))


def test_ends_within_a_millisecond_join() -> None:
    rate = 48_000
    first = Recording("a", 0, 48 * 1000, rate)
    for gap_ms, joins in ((0, True), (1, True), (2, False)):
        second = Recording("b", 1000 + gap_ms, 48 * 1000, rate)
        composed = compose(own_segments([second, first])[0], 500, 1000)
        assert composed is not None
        assert [part.joins for part in composed.parts] == [False, joins]
        gap = composed.parts[1].at_sample - 48 * 500
        assert gap == (0 if joins else 48 * gap_ms)
    assert JOIN_MS == 1


def test_another_rate_or_number_of_channels_is_not_mixed_in() -> None:
    lead = Recording("a", 0, 1000)
    for other in (Recording("b", 1000, 2000, 2000), Recording("b", 1000, 1000, n_channels=2)):
        composed = compose(own_segments([lead, other])[0], 0, 2000)
        assert composed is not None
        assert [part.recording for part in composed.parts] == [lead]
        assert composed.lead == lead
        later = compose(own_segments([lead, other])[0], 1000, 500)
        assert later is not None
        assert later.lead == other
    assert compose([], 0, 10) is None
    assert np.isclose(own_segments([lead])[0][0].to_ms, 1000)
