"""The zones of recorders' clocks, as the user gives them."""

import difflib
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import PurePath
from zoneinfo import ZoneInfo, available_timezones

from lake.errors import InputError
from lake.text import nearest, normal, same_name

ALL = ""
"""The key of the zone for everything that no other key names."""
MOST_USED = (
    "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "Europe/London", "Europe/Berlin",
    "Asia/Shanghai", "Asia/Kolkata", "Africa/Johannesburg", "Australia/Brisbane", "Australia/Sydney",
)  # fmt: skip
"""Zones that are named first where an abbreviation stands for several."""
_OFFSET = re.compile(r"([-+])(0\d|1[0-4]):?([0-5]\d)")


@dataclass(frozen=True)
class Place:
    """The keys of a zone: a recording's absolute folder, its recorder and that recorder's serial, if known."""

    folder: PurePath
    recorder: str
    serial: str = ""


def choose_zones(zones: Mapping[str, tzinfo], places: Sequence[Place]) -> list[tzinfo | None]:
    """Choose the zone of each recording.

    Parameters
    ----------
    zones
        Zone by folder (:func:`parsed_zones`). A key is a recorder, its serial, or the last parts of the path of a
        folder that holds the recording, directly or not; the deepest folder wins, a recorder wins over folders, and
        the empty key takes the rest. Names are compared in Unicode's NFC.
    places
        Of each recording.

    Raises
    ------
    InputError
        If a key names no folder and no recorder; the message lists all of them.
    """
    check_keys(zones, places)
    keys = {key: _parts(key) for key in zones if key != ALL}
    chosen: dict[Place, str | None] = {}
    for place in dict.fromkeys(places):
        depths = {key: _depth(key, parts, place) for key, parts in keys.items()}
        best = max(depths, key=lambda key: (depths[key], len(keys[key])), default=None)
        chosen[place] = best if best is not None and depths[best] else ALL if ALL in zones else None
    keys_of = (chosen[place] for place in places)
    return [zones[key] if key is not None else None for key in keys_of]


def check_keys(zones: Collection[str], places: Sequence[Place], *, but: Callable[[str], bool] | None = None) -> None:
    """Refuse keys that name no folder and no recorder; those that ``but`` is true of may yet name one."""
    distinct = dict.fromkeys(places)
    keys = {key: _parts(key) for key in zones if key != ALL and not (but and but(key))}
    unused = [key for key, parts in keys.items() if not any(_depth(key, parts, place) for place in distinct)]
    if unused:
        names = {part for place in distinct for part in (place.recorder, place.serial, *place.folder.parts[1:])} - {""}
        last = {normal(part) for place in distinct for part in (place.recorder, place.folder.name)}
        raise InputError("\n".join(_unused_message(key, names, last) for key in unused))


def parsed_zones(zones: Mapping[str, str]) -> dict[str, tzinfo]:
    """Return the zones that IANA names, or offsets such as ``-05:00``, mean, by their keys.

    Raises
    ------
    InputError
        With near names for all that mean none.
    """
    names = available_timezones()
    by_lower = {name.lower(): name for name in sorted(names)}
    by_lower |= {name.rpartition("/")[2].lower(): name for name in sorted(names, reverse=True)} | by_lower
    problems = []
    for zone in zones.values():
        if zone not in names and not _OFFSET.fullmatch(zone):
            several = _abbreviated(zone, names)
            if several:
                problems.append(f"zone {zone!r} is short for several: expected one of them ({', '.join(several)}).")
                continue
            near = difflib.get_close_matches(zone.strip().lower().replace(" ", "_"), by_lower, n=3, cutoff=0.6)
            hint = ", ".join(dict.fromkeys(by_lower[name] for name in near)) or "for example America/Chicago"
            problems.append(f"zone {zone!r} is unknown: expected an IANA name ({hint}), or an offset such as -05:00.")
    if problems:
        raise InputError("\n".join(problems))
    return {key: _zone(zone) for key, zone in zones.items()}


def _abbreviated(text: str, names: Set[str]) -> list[str]:
    """Return zones whose clocks show an abbreviation such as CST in winter or summer, the most used first."""
    if not re.fullmatch("[A-Z]{3,5}", text):
        return []
    found = [
        name
        for name in [*(name for name in MOST_USED if name in names), *sorted(names)]
        if "/" in name and not name.startswith(("Etc/", "US/", "SystemV/", "posix/", "right/"))
        and text in {datetime(2024, month, 1, tzinfo=ZoneInfo(name)).tzname() for month in (1, 7)}
    ]  # fmt: skip
    return list(dict.fromkeys(found))[:5]


def _zone(zone: str) -> tzinfo:
    found = _OFFSET.fullmatch(zone)
    if not found:
        return ZoneInfo(zone)
    size = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-size if found[1] == "-" else size)


def _parts(key: str) -> tuple[str, ...]:
    return tuple(map(normal, PurePath(os.path.normpath(key)).parts))


def _depth(key: str, parts: tuple[str, ...], place: Place) -> int:
    """Return how near to a recording a key's folder is, 0 if it holds it not."""
    if same_name(key, place.recorder) or same_name(key, place.serial):
        return len(place.folder.parts) + 1
    if not parts:
        return 1
    n, folder = len(parts), tuple(map(normal, place.folder.parts))
    ends = [end for end in range(n, len(folder) + 1) if folder[end - n : end] == parts]
    return max(ends, default=0)


def _unused_message(key: str, names: Collection[str], last: Collection[str]) -> str:
    near = nearest(PurePath(key).name, last) or nearest(PurePath(key).name, names)
    shown = ", ".join(near or sorted(last)[:10])
    more = f" and {len(last) - 10} more" if not near and len(last) > 10 else ""
    return f"--zone {key}=…: no recording is in a folder of that name; found {shown}{more}."
