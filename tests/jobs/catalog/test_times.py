from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.catalog.names import NameFacts, parse_name
from jobs.catalog.times import Start, format_offset, resolve_start

CHICAGO = ZoneInfo("America/Chicago")
HOUR = timedelta(hours=1)


def local(text: str) -> NameFacts:
    return NameFacts(start=datetime.fromisoformat(text), pattern="local")


def test_no_time() -> None:
    assert resolve_start(NameFacts(), CHICAGO) == Start(problems=("no_time",))


def test_a_local_time_without_a_zone_is_not_placed() -> None:
    start = resolve_start(local("2021-06-22T05:00"), None)
    assert start == Start(local=datetime(2021, 6, 22, 5), source="name", problems=("zone_unknown",))


@pytest.mark.parametrize(("month", "hours"), [(1, -6), (7, -5)])
def test_a_zone_places_a_local_time(month: int, hours: int) -> None:
    clock = datetime(2021, month, 22, 5)
    start = resolve_start(NameFacts(clock, pattern="local"), CHICAGO)
    assert start == Start(clock - hours * HOUR, clock, hours * HOUR, "name+zone")


def test_an_offset_in_the_name_beats_the_zone_and_the_conflict_is_noted() -> None:
    facts = parse_name("20210622T000000+0000_REC.wav")
    midnight = datetime(2021, 6, 22)
    assert resolve_start(facts, None) == Start(midnight, midnight, timedelta(0), "name")
    start = resolve_start(facts, CHICAGO)
    assert start == Start(midnight, midnight, timedelta(0), "name", "America/Chicago is -05:00")
    agreed = resolve_start(parse_name("20210622T000000-0500_Rec.wav"), CHICAGO)
    assert agreed == Start(midnight + 5 * HOUR, midnight, -5 * HOUR, "name")


def test_hexadecimal_seconds_are_utc_whatever_the_zone() -> None:
    facts = parse_name("5B07C752.WAV")
    utc = datetime(2018, 5, 25, 8, 20, 34)
    assert resolve_start(facts, None) == Start(utc, utc, timedelta(0), "name")
    assert resolve_start(facts, CHICAGO) == Start(utc, utc - 5 * HOUR, -5 * HOUR, "name+zone")


def test_a_time_that_happens_twice_is_the_first_and_flagged() -> None:
    for text, utc in (("2021-11-07T01:00", "2021-11-07T06:00"), ("2021-11-07T01:59:59", "2021-11-07T06:59:59")):
        start = resolve_start(local(text), CHICAGO)
        assert start.problems == ("local_time_repeated",)
        assert (start.utc, start.offset) == (datetime.fromisoformat(utc), -5 * HOUR)
    assert resolve_start(local("2021-11-07T00:59:59"), CHICAGO).problems == ()
    after = resolve_start(local("2021-11-07T02:00"), CHICAGO)
    assert (after.problems, after.offset) == ((), -6 * HOUR)


def test_a_time_that_clocks_jump_over_is_flagged() -> None:
    start = resolve_start(local("2021-03-14T02:30"), CHICAGO)
    assert start.problems == ("local_time_skipped",)
    assert (start.utc, start.offset) == (datetime(2021, 3, 14, 8, 30), -6 * HOUR)
    assert resolve_start(local("2021-03-14T01:59:59"), CHICAGO).problems == ()
    assert resolve_start(local("2021-03-14T03:00"), CHICAGO).problems == ()


def test_microseconds_are_rounded_to_milliseconds() -> None:
    for text, utc in (("09:11:56.982648", "09:11:56.983"), ("23:59:59.999700", "23:59:60")):
        name = f"S20240815T{text.replace(':', '')}+0000_E20240815T091251.967555+0000_.wav"
        expected = datetime(2024, 8, 16) if utc.endswith("60") else datetime.fromisoformat(f"2024-08-15T{utc}")
        assert resolve_start(parse_name(name), None).utc == expected


def test_offsets_with_seconds_are_rounded_so_that_a_table_can_hold_them() -> None:
    start = resolve_start(local("1971-01-01T12:00"), ZoneInfo("Africa/Monrovia"))
    assert (start.offset, start.utc) == (timedelta(minutes=-44), datetime(1971, 1, 1, 12, 44))


@given(
    st.datetimes(datetime(1973, 1, 1), datetime(2037, 1, 1)).map(lambda t: t.replace(microsecond=0)),
    st.sampled_from(
        ["UTC", "America/Chicago", "Australia/Lord_Howe", "Asia/Kathmandu", "Europe/Dublin", "Africa/Cairo"]
    ),
)
def test_placing_undoes_what_the_zone_does(utc: datetime, zone_name: str) -> None:
    zone = ZoneInfo(zone_name)
    clock = utc.replace(tzinfo=UTC).astimezone(zone)
    start = resolve_start(NameFacts(clock.replace(tzinfo=None, fold=0), pattern="local"), zone)
    assert start.utc is not None
    assert start.offset is not None
    assert start.local is not None
    assert start.local - start.utc == start.offset
    if start.problems:
        assert start.problems == ("local_time_repeated",)
        assert utc - start.utc in {timedelta(0), HOUR / 2, HOUR}
    else:
        assert start.utc == utc


@pytest.mark.parametrize(
    ("minutes", "text"), [(0, "+00:00"), (-300, "-05:00"), (345, "+05:45"), (-30, "-00:30"), (840, "+14:00")]
)
def test_offsets_are_written_with_their_sign(minutes: int, text: str) -> None:
    assert format_offset(timedelta(minutes=minutes)) == text


def test_no_offset_is_written_empty() -> None:
    assert format_offset(None) == ""
