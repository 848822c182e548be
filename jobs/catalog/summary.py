"""Summarise a table of recordings by recorder, as numbers and as lines to read."""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from jobs.catalog.timeline import Clock, as_facts
from jobs.common.needs import grid_notes, seasons_of
from lake.constants import S_PER_DAY
from lake.lengths import lasting
from lake.recordings import PROBLEMS, has_problem, is_usable

_MOST_WIDTH = 40
_MOST = 8
HOP_S = 5.0
"""Hop of the windows that the cost of a span is given for."""


def count_recordings(
    table: pd.DataFrame,
    clocks: Mapping[str, Clock] | None = None,
    deployments: pd.DataFrame | None = None,
    firmware: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return how much a table of recordings holds.

    Parameters
    ----------
    table
        Table of recordings.
    clocks
        Clocks by recorder (:func:`jobs.catalog.timeline.mark_timeline`).
    deployments
        Table of deployments, for the names of the sites.
    firmware
        Versions by recorder.

    Returns
    -------
    dict
        ``n_files``; ``n_usable`` (readable, no duplicates) and ``hours`` of these; ``n_placed`` (those with a
        time in UTC); by recorder ``n_files``, ``hours``, ``first`` and ``last`` start in UTC, ``offsets`` (local
        time minus UTC) and ``sources`` of the times with the number of files, ``n_days`` with recordings and
        ``n_silent_days`` between them, ``deployments`` in order of time, ``gains_db``, ``firmware``, ``clock``,
        ``problems``, ``n_conflicts`` and one ``conflict`` of them; what a clock that was reset says is in none of the
        times and days. By problem the number of files. ``seasons``: first and last date of each.
    """
    usable = table[is_usable(table)]
    sites = dict(zip(deployments["deployment"], deployments["site"], strict=True)) if deployments is not None else {}
    return {
        "n_files": len(table),
        "n_usable": len(usable),
        "n_placed": int(usable["start_utc"].notna().sum()),
        "hours": _hours(usable),
        "recorders": {
            str(recorder): _recorder(own, as_facts(clocks or {}, str(recorder)), sites)
            | {"firmware": sorted(firmware.get(str(recorder), ()))}
            for recorder, own in table.groupby("recorder")
        },
        "problems": _codes(table),
        "seasons": [[str(np.datetime64(day, "D")) for day in one] for one in seasons_of(_days(usable))],
    }


def describe(counts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that people read: a line a recorder, what is to be known of it, and what the codes mean.

    Parameters
    ----------
    counts
        As :func:`count_recordings` returns them.
    """
    recorders: Mapping[str, Mapping[str, Any]] = counts["recorders"]
    width = min(max([len(name) for name in recorders], default=0), _MOST_WIDTH)
    for name, own in recorders.items():
        span = f"{own['first']} to {own['last']}" if own["first"] else "no time in UTC"
        zones = ", ".join(f"{offset or 'zone unknown'} ({n})" for offset, n in own["offsets"].items())
        told = f"local time {zones}, told by {', '.join(own['sources'])}" if zones else "nothing tells a time"
        yield f"{name:<{width}}  {_n(own['n_files'], 'file')}, {lasting(3600 * own['hours'])}, {span}"
        yield f"{'':<{width}}  {told}"
        for note in _notes(name, own):
            yield f"{'':<{width}}  {note}"
    seasons = [tuple(np.array(one, dtype="datetime64[D]").astype(int).tolist()) for one in counts["seasons"]]
    for note in _span_notes(recorders, seasons):
        yield f"note: {note}"
    for code, n in counts["problems"].items():
        yield f"{code:<22}{n:>8}  {PROBLEMS.get(code, '')}"


def _days(table: pd.DataFrame) -> list[int]:
    """Return the day of each recording that has a time in UTC, since 1970."""
    starts = pd.to_datetime(table["start_utc"], utc=True).dropna()
    return [int(one.timestamp() // S_PER_DAY) for one in starts.dt.floor("D").drop_duplicates()]


def _span_notes(recorders: Mapping[str, Mapping[str, Any]], seasons: Sequence[tuple[int, int]]) -> list[str]:
    """Return what the span from the first recording to the last costs, for windows that follow each other."""
    days = [str(own[key])[:10] for own in recorders.values() for key in ("first", "last") if own[key]]
    if not days:
        return []
    n_days = (pd.Timestamp(max(days)) - pd.Timestamp(min(days))).days + 1
    return grid_notes(round(n_days * S_PER_DAY / HOP_S), HOP_S, seasons)


def _notes(name: str, own: Mapping[str, Any]) -> Iterator[str]:
    n_open = own["problems"].get("zone_unknown", 0)
    if n_open:
        yield f"{_n(n_open, 'local time')} without a zone: name it, such as --zone {shlex.quote(name)}=America/Chicago"
    yield from _clock_notes(own, own["clock"])
    if len(own["deployments"]) > 1:
        yield f"moved or changed: {_listed([_stay(one) for one in own['deployments']])}"
    if len(own["gains_db"]) > 1:
        yield f"gain {', '.join(f'{gain:g}' for gain in own['gains_db'])} dB"
    if own["firmware"]:
        yield f"firmware {_listed(own['firmware'])}"
    if own["n_conflicts"]:
        yield (
            f"{_n(own['n_conflicts'], 'recording')} whose witnesses disagree about the time; see time_conflict, "
            f"for example {own['conflict']}"
        )
    if own["problems"]:
        yield f"problems {_listed([f'{n} {code}' for code, n in own['problems'].items()])}"


def _clock_notes(own: Mapping[str, Any], clock: Mapping[str, Any]) -> Iterator[str]:
    if own["n_silent_days"] or clock["longest_gap_s"] >= 1:
        yield f"longest gap {_span(clock['longest_gap_s'])}; {_n(own['n_silent_days'], 'day')} without a recording"
    if clock["n_overlaps"]:
        yield (
            f"{_n(clock['n_overlaps'], 'overlap')}, {clock['overlap_s']:.1f} s in all: the recording that started "
            "first owns the shared seconds"
        )
    if clock["drift_s_per_day"] is not None:
        way = "falls behind" if clock["drift_s_per_day"] < 0 else "runs ahead of"
        yield (
            f"clock drift {clock['drift_s_per_day']:+.1f} s/day over {_n(clock['n_joins'], 'join')}: "
            f"the clock that names the files {way} the samples"
        )
    if clock["n_resets"]:
        yield f"{_n(clock['n_resets'], 'start')} cannot be right: the clock was reset"


def _stay(stay: Mapping[str, Any]) -> str:
    site = f" at {stay['site']}" if stay["site"] else ""
    return f"{stay['deployment']}{site} from {stay['first']}"


def _recorder(own: pd.DataFrame, clock: dict[str, object], sites: Mapping[str, str]) -> dict[str, Any]:
    usable = own[is_usable(own)]
    is_right = ~has_problem(own, "clock_reset")
    right = own[is_right] if is_right.any() else own
    days = usable[~has_problem(usable, "clock_reset")]["start_utc"].dropna().dt.floor("D").drop_duplicates()
    n_span = int((days.max() - days.min()).days) + 1 if len(days) else 0
    timed = own[own["start_local"].notna()]
    conflicts = own[own["time_conflict"] != ""]
    stays = own[own["deployment"] != ""].groupby("deployment")["start_utc"].min().sort_values(kind="stable")
    return {
        "n_files": len(own),
        "hours": _hours(usable),
        "first": _iso(right["start_utc"].min()),
        "last": _iso(right["start_utc"].max()),
        "offsets": {str(key): int(n) for key, n in timed["utc_offset"].value_counts().sort_index().items()},
        "sources": {str(key): int(n) for key, n in timed["time_source"].value_counts().sort_index().items()},
        "n_days": len(days),
        "n_silent_days": n_span - len(days),
        "deployments": [
            {"deployment": str(name), "site": str(sites.get(str(name), "")), "first": _iso(first)}
            for name, first in stays.items()
        ],
        "gains_db": sorted(set(own["gain_db"].dropna().tolist())),
        "clock": clock,
        "problems": _codes(own),
        "n_conflicts": len(conflicts),
        "conflict": f"{conflicts.iloc[0]['path']}: {conflicts.iloc[0]['time_conflict']}" if len(conflicts) else "",
    }


def _codes(table: pd.DataFrame) -> dict[str, int]:
    codes = table["problems"].str.split(";").explode()
    return {str(code): int(n) for code, n in codes[codes != ""].value_counts().sort_index().items()}


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return ", ".join(texts[:_MOST]) + more


def _n(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _span(seconds: float) -> str:
    return f"{seconds / S_PER_DAY:.1f} days" if seconds >= 2 * S_PER_DAY else lasting(seconds)


def _hours(table: pd.DataFrame) -> float:
    return round(float(table["duration_s"].sum()) / 3600, 6)


def _iso(time_utc: pd.Timestamp) -> str | None:
    return None if pd.isna(time_utc) else time_utc.isoformat() + "Z"
