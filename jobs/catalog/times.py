"""When a recording started, from the clock time in its name and the zone that the user gave.

An offset in the name always beats a zone; where they disagree, that is noted. A local time without a zone
is never taken as UTC.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from jobs.catalog.names import NameFacts


@dataclass(frozen=True)
class Start:
    """When a recording started, and how that is known.

    Attributes
    ----------
    utc, local
        Naive times, to the millisecond; ``None`` while unknown.
    offset
        Of ``local`` from UTC.
    source
        ``name``: all of it stands in the name. ``name+zone``: the zone is the user's. Empty: no time.
    conflict
        What the zone says where the name's offset says otherwise.
    problems
        ``no_time``, ``zone_unknown``, ``local_time_repeated`` or ``local_time_skipped``.
    """

    utc: datetime | None = None
    local: datetime | None = None
    offset: timedelta | None = None
    source: str = ""
    conflict: str = ""
    problems: tuple[str, ...] = ()


def resolve_start(facts: NameFacts, zone: ZoneInfo | None) -> Start:
    """Place the clock time of a name in UTC.

    Parameters
    ----------
    facts
        What the name says.
    zone
        Zone of the recorder's clock, if the user gave one.

    Notes
    -----
    A local time that a zone has twice, or not at all, is read with the offset before the clocks changed: so
    does a recorder that is not switched. AudioMoth's hexadecimal names are UTC by definition, so a zone only
    says what the local time was.
    """
    if facts.start is None:
        return Start(problems=("no_time",))
    clock = _to_milliseconds(facts.start)
    if facts.offset is not None:
        utc = clock - facts.offset
        zone_offset = _offset_at(utc.replace(tzinfo=UTC).astimezone(zone)) if zone else None
        if facts.pattern == "hexadecimal" and zone_offset is not None:
            return Start(utc, utc + zone_offset, zone_offset, "name+zone")
        is_conflict = zone_offset is not None and zone_offset != facts.offset
        conflict = f"{zone} is {format_offset(zone_offset)}" if is_conflict else ""
        return Start(utc, clock, facts.offset, "name", conflict)
    if zone is None:
        return Start(local=clock, source="name", problems=("zone_unknown",))
    return _in_zone(clock, zone)


def format_offset(offset: timedelta | None) -> str:
    """Return an offset as ``+HH:MM``; empty if there is none."""
    if offset is None:
        return ""
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _in_zone(clock: datetime, zone: ZoneInfo) -> Start:
    before = clock.replace(tzinfo=zone, fold=0)
    offset, offset_after = _offset_at(before), _offset_at(before.replace(fold=1))
    problems: tuple[str, ...] = ()
    if offset > offset_after:
        problems = ("local_time_repeated",)
    elif offset < offset_after:
        problems = ("local_time_skipped",)
    return Start(clock - offset, clock, offset, "name+zone", "", problems)


def _offset_at(time: datetime) -> timedelta:
    """Return the offset of a time with a zone, in whole minutes (a few zones once had seconds)."""
    return timedelta(minutes=round((time.utcoffset() or timedelta()) / timedelta(minutes=1)))


def _to_milliseconds(time: datetime) -> datetime:
    return time.replace(microsecond=0) + timedelta(milliseconds=round(time.microsecond / 1000))
