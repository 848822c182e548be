"""The zones of recorders' clocks, as the user gives them."""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta, timezone, tzinfo
from pathlib import Path, PurePath
from zoneinfo import ZoneInfo, available_timezones

from lake.errors import InputError

ALL = ""
"""The key of the zone for everything that no other key names."""
_OFFSET = re.compile(r"([-+])(0\d|1[0-4]):?([0-5]\d)")


def choose_zones(
    zones: Mapping[str, str], folders: Sequence[PurePath], recorders: Sequence[str]
) -> list[tzinfo | None]:
    """Choose the zone of each recording.

    Parameters
    ----------
    zones
        IANA zone, or offset such as ``-05:00``, by folder. A key is a recorder, or the last parts of the path of a
        folder that holds the recording, directly or not; the deepest folder wins, a recorder wins over folders,
        and the empty key takes the rest.
    folders
        Absolute folder of each recording.
    recorders
        Recorder of each recording.

    Raises
    ------
    InputError
        If a zone is unknown, or a key names no folder and no recorder; the message lists all of them.
    """
    known = check_zones(zones)
    keys = {key: PurePath(os.path.normpath(key)).parts for key in known if key != ALL}
    used = {ALL}
    chosen: dict[tuple[PurePath, str], str | None] = {}
    for place in dict.fromkeys(zip(folders, recorders, strict=True)):
        depths = {key: _depth(key, parts, *place) for key, parts in keys.items()}
        used.update(key for key, depth in depths.items() if depth)
        best = max(depths, key=lambda key: (depths[key], len(keys[key])), default=None)
        chosen[place] = best if best is not None and depths[best] else ALL if ALL in known else None
    unused = [key for key in known if key not in used]
    if unused:
        places = sorted({*recorders, *(folder.name for folder in folders)})
        raise InputError("\n".join(_unused_message(key, places) for key in unused))
    keys_of = (chosen[place] for place in zip(folders, recorders, strict=True))
    return [known[key] if key is not None else None for key in keys_of]


def check_zones(zones: Mapping[str, str]) -> dict[str, tzinfo]:
    """Return the zones that names, or offsets, mean; ``InputError`` with near names for all that mean none."""
    names = available_timezones()
    by_lower = {name.lower(): name for name in sorted(names)}
    by_lower |= {name.rpartition("/")[2].lower(): name for name in sorted(names, reverse=True)} | by_lower
    problems = []
    for zone in zones.values():
        if zone not in names and not _OFFSET.fullmatch(zone):
            near = difflib.get_close_matches(zone.strip().lower().replace(" ", "_"), by_lower, n=3, cutoff=0.6)
            hint = ", ".join(dict.fromkeys(by_lower[name] for name in near)) or "for example America/Chicago"
            problems.append(f"zone {zone!r} is unknown: expected an IANA name ({hint}), or an offset such as -05:00.")
    if problems:
        raise InputError("\n".join(problems))
    return {key: _zone(zone) for key, zone in zones.items()}


def _zone(zone: str) -> tzinfo:
    found = _OFFSET.fullmatch(zone)
    if not found:
        return ZoneInfo(zone)
    size = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-size if found[1] == "-" else size)


def _depth(key: str, parts: tuple[str, ...], folder: PurePath, recorder: str) -> int:
    """Return how near to a recording a key's folder is, 0 if it holds it not."""
    if key == recorder:
        return len(folder.parts) + 1
    if not parts:
        return 1
    n = len(parts)
    ends = [end for end in range(n, len(folder.parts) + 1) if folder.parts[end - n : end] == parts]
    return max(ends, default=0)


def _unused_message(key: str, places: Sequence[str]) -> str:
    near = difflib.get_close_matches(Path(key).name, places, n=3)
    shown = ", ".join(near or places[:10])
    more = f" and {len(places) - 10} more" if not near and len(places) > 10 else ""
    return f"--zone {key}=…: no recording is in a folder of that name; found {shown}{more}."
