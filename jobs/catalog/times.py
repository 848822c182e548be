"""Find the start of a recording from its name, its header, the card's log, and the zone that the user gave.

An offset that a recorder wrote down always beats a zone; where the witnesses disagree, that is noted. A local time
without a zone is never taken as UTC.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo

from jobs.catalog.names import NameFacts
from lake.limits import is_possible

CLOSE = timedelta(minutes=1)
"""Witnesses that are nearer than this agree: logs are written some seconds before or after a recording begins."""
_QUARTER = timedelta(minutes=15)
_LONGEST_OFFSET = timedelta(hours=14)


@dataclass(frozen=True)
class Witness:
    """A start that something else than the name tells.

    Attributes
    ----------
    source
        Who says so: ``header`` or ``reclog``.
    start
        As the recorder's clock read.
    offset
        Of that clock from UTC, if it is told.
    """

    source: str
    start: datetime
    offset: timedelta | None = None


@dataclass(frozen=True)
class Start:
    """The start of a recording, and its source.

    Attributes
    ----------
    utc, local
        Naive times, to the millisecond; ``None`` while unknown.
    offset
        Of ``local`` from UTC.
    source
        Who gave the clock time and, after a ``+``, who gave the offset if another did: ``name``, ``header``,
        ``reclog``; ``zone`` (the user's) or ``deployment`` (the zone in its row). Empty: no time.
    conflict
        What the others say where they say otherwise, joined by ``; ``.
    problems
        ``no_time``, ``date_out_of_range``, ``zone_unknown``, ``local_time_repeated`` or ``local_time_skipped``.
    """

    utc: datetime | None = None
    local: datetime | None = None
    offset: timedelta | None = None
    source: str = ""
    conflict: str = ""
    problems: tuple[str, ...] = ()


def resolve_start(
    facts: NameFacts,
    zone: tzinfo | None,
    witnesses: Sequence[Witness] = (),
    *,
    site_zone: tzinfo | None = None,
    folder_date: date | None = None,
) -> Start:
    """Place a recording in time.

    Parameters
    ----------
    facts
        What the name says.
    zone
        Zone of the recorder's clock, if the user gave one.
    witnesses
        What else tells a start, the surest first. The first that tells a clock time is believed, the name before
        all. If it does not tell the offset, another witness's does that puts the same reading of a clock, or the
        same instant, within :data:`CLOSE`.
    site_zone
        Zone of the deployment, for local times that nothing else places.
    folder_date
        Date that the folder is named after: no recording in it is older.

    Notes
    -----
    A local time that a zone has twice, or not at all, is read with the offset before the clocks changed: so
    does a recorder that is not switched. AudioMoth's hexadecimal names are UTC by definition, so a zone only
    says what the local time was.
    """
    heard = [Witness("name", facts.start, facts.offset)] if facts.start is not None else []
    heard += witnesses
    told = [one for one in heard if _is_possible(one)]
    impossible = [_said(one) for one in heard if one not in told]
    if not told:
        code = "date_out_of_range" if impossible else "no_time"
        return Start(conflict="; ".join(impossible), problems=(code,))
    clock = replace(told[0], start=_to_milliseconds(told[0].start))
    start = _placed(clock, told[1:], zone, site_zone, is_hexadecimal=facts.pattern == "hexadecimal")
    conflicts = [start.conflict, *_conflicts(start, told[1:]), *impossible]
    if folder_date is not None and clock.start.date() + timedelta(days=1) < folder_date:
        conflicts.append(f"folder says {folder_date} or later")
    return replace(start, conflict="; ".join(filter(None, conflicts)))


def _placed(
    clock: Witness, others: Sequence[Witness], zone: tzinfo | None, site_zone: tzinfo | None, *, is_hexadecimal: bool
) -> Start:
    if clock.offset is not None:
        return _with_offset(clock, clock.offset, clock.source, zone, is_hexadecimal=is_hexadecimal)
    for other in others:
        offset = _offset_from(clock.start, other)
        if offset is not None:
            return _with_offset(clock, offset, f"{clock.source}+{other.source}", zone, is_hexadecimal=False)
    if zone is not None:
        return _in_zone(clock, zone, "zone")
    if site_zone is not None:
        return _in_zone(clock, site_zone, "deployment")
    return Start(local=clock.start, source=clock.source, problems=("zone_unknown",))


def _with_offset(clock: Witness, offset: timedelta, source: str, zone: tzinfo | None, *, is_hexadecimal: bool) -> Start:
    utc = clock.start - offset
    zone_offset = _offset_at(utc.replace(tzinfo=UTC).astimezone(zone)) if zone else None
    if is_hexadecimal and zone_offset is not None:
        return Start(utc, utc + zone_offset, zone_offset, f"{source}+zone")
    is_conflict = zone_offset is not None and zone_offset != offset
    conflict = f"{zone} is {format_offset(zone_offset)}" if is_conflict else ""
    return Start(utc, clock.start, offset, source, conflict)


def _offset_from(clock: datetime, other: Witness) -> timedelta | None:
    """Return the offset of a clock that another witness, who knows its own, implies: a multiple of 15 minutes."""
    if other.offset is None:
        return None
    if abs(clock - other.start) <= CLOSE:
        return other.offset
    shift = clock - (other.start - other.offset)
    offset = round(shift / _QUARTER) * _QUARTER
    return offset if abs(shift - offset) <= CLOSE and abs(offset) <= _LONGEST_OFFSET else None


def _conflicts(start: Start, others: Sequence[Witness]) -> Iterator[str]:
    """Yield what witnesses say who do not agree about the instant or, where it is unknown, the reading of the clock.

    A local clock that a name read hours apart from the header's is no agreement, although an offset can be found
    that explains it; a header in UTC beside a name in local time is.
    """
    for other in others:
        instant = other.start - other.offset if other.offset is not None else None
        if instant is not None and start.utc is not None:
            agrees = abs(instant - start.utc) <= CLOSE
            is_guessed = start.source.endswith(f"+{other.source}") and other.offset not in {start.offset, timedelta(0)}
            agrees = agrees and not is_guessed
        else:
            agrees = start.local is not None and abs(other.start - start.local) <= CLOSE
        if not agrees:
            yield _said(other)


def _said(witness: Witness) -> str:
    """Return what a witness says, in words."""
    return f"{witness.source} says {witness.start.isoformat(timespec='seconds')}{format_offset(witness.offset)}"


def _is_possible(witness: Witness) -> bool:
    """Return whether a start can be written down, in UTC too."""
    return is_possible(witness.start) and is_possible(witness.start - (witness.offset or timedelta(0)))


def format_offset(offset: timedelta | None) -> str:
    """Return an offset as ``+HH:MM``; empty if there is none."""
    if offset is None:
        return ""
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _in_zone(clock: Witness, zone: tzinfo, who: str) -> Start:
    before = clock.start.replace(tzinfo=zone, fold=0)
    offset, offset_after = _offset_at(before), _offset_at(before.replace(fold=1))
    problems: tuple[str, ...] = ()
    if offset > offset_after:
        problems = ("local_time_repeated",)
    elif offset < offset_after:
        problems = ("local_time_skipped",)
    return Start(clock.start - offset, clock.start, offset, f"{clock.source}+{who}", "", problems)


def _offset_at(time: datetime) -> timedelta:
    """Return the offset of a time with a zone, in whole minutes (a few zones once had seconds)."""
    return timedelta(minutes=round((time.utcoffset() or timedelta()) / timedelta(minutes=1)))


def _to_milliseconds(time: datetime) -> datetime:
    return time.replace(microsecond=0) + timedelta(milliseconds=round(time.microsecond / 1000))
