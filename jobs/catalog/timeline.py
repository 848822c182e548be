"""Compare recordings of one recorder: overlaps, gaps, clocks that drift, clocks that were reset."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.catalog.folders import find_home
from jobs.catalog.names import maker_of, parse_name
from lake.constants import EARLIEST_MS, S_PER_DAY
from lake.recordings import has_problem, is_usable
from lake.text import normal

RESOLUTION_S = 1.0
"""Names are written in whole seconds: starts are known no better, and neither are ends."""
MAX_OVERLAP = 0.1
"""Share of a recording that may run into the next and still be the clock's fault."""
MAX_GAP = 0.005
"""Share of a recording that may be missing before the next and still be the clock's fault; more is a pause."""
MIN_JOINS = 3
"""Joins of consecutive recordings that a drift is told from."""
EARLIEST = pd.Timestamp(EARLIEST_MS, unit="ms")
YEARS = pd.Timedelta(days=730)
"""Recordings that are further than this from all others of their recorder, and fewer, are of a clock that was reset."""


@dataclass(frozen=True)
class Clock:
    """Facts about one recorder's clock from the starts and lengths of its recordings.

    Attributes
    ----------
    n_overlaps, overlap_s
        Recordings that start before an earlier one ends, and by how much in all.
    longest_gap_s
        Longest time between a recording's end and the next one's start.
    n_joins
        Recordings that follow another without a pause.
    drift_s_per_day
        By how much the names' clock falls behind the samples (below 0), or runs ahead of them; ``None`` if it
        does not, as far as whole seconds tell.
    n_resets
        Recordings whose start cannot be right.
    """

    n_overlaps: int = 0
    overlap_s: float = 0.0
    longest_gap_s: float = 0.0
    n_joins: int = 0
    drift_s_per_day: float | None = None
    n_resets: int = 0


def mark_timeline(
    table: pd.DataFrame, deployments: pd.DataFrame | None, *, latest: pd.Timestamp
) -> tuple[pd.DataFrame, dict[str, Clock]]:
    """Note on each recording what the others say about its time.

    Parameters
    ----------
    table
        Table of recordings, its deployments assigned.
    deployments
        Table of deployments, if there is one.
    latest
        A start after this, in UTC, cannot be right.

    Returns
    -------
    tuple
        The table with ``clock_reset``, ``outside_deployment``, ``overlap`` (it starts more than
        :data:`RESOLUTION_S` before an earlier recording of its recorder ends) and ``WA003`` (such overlaps of a
        Wildlife Acoustics recorder that are its clock's drift) among ``problems``; and by recorder its clock.

    Notes
    -----
    Overlaps are counted among usable recordings whose clock was right. A join is two consecutive recordings that
    overlap by less than :data:`MAX_OVERLAP` of the first, or miss less than :data:`MAX_GAP` of it. The drift is
    the sum of all joins' gaps over the sum of the recordings' lengths; because whole seconds in names make each
    unbroken row of joins uncertain by one second, it is told only if it exceeds as many seconds as there are
    rows, and if three in four of the joins that are not exact go its way.
    """
    reset = find_resets(table, latest)
    table = _add(table, reset, "clock_reset")
    if deployments is not None:
        has_rows = table["recorder"].map(normal).isin(set(deployments["recorder"].map(normal)))
        outside = has_rows & (table["deployment"] == "") & table["start_utc"].notna()
        table = _add(table, outside, "outside_deployment")
    placed = is_usable(table) & table["start_utc"].notna() & ~reset
    clocks: dict[str, Clock] = {}
    overlaps = pd.Series(data=False, index=table.index)
    drifting = pd.Series(data=False, index=table.index)
    for recorder, rows in table.groupby("recorder", sort=True):
        own = rows[placed[rows.index]].sort_values(["start_utc", "sha256"], kind="stable")
        starts_s = own["start_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64) / 1000
        clock, is_overlap = _clock(starts_s, own["duration_s"].to_numpy(np.float64))
        clocks[str(recorder)] = replace(clock, n_resets=int(reset[rows.index].sum()))
        overlaps[own.index[is_overlap]] = True
        if clock.drift_s_per_day is not None and clock.drift_s_per_day < 0:
            drifting[own.index[is_overlap]] = True
    made_by_wa = table["path"].map(_is_song_meter) if drifting.any() else drifting
    return _add(_add(table, overlaps, "overlap"), drifting & made_by_wa, "WA003"), clocks


def find_clashes(table: pd.DataFrame) -> list[str]:
    """Return what to say of recorders whose recordings in two folders overlap: they may be two.

    Parameters
    ----------
    table
        Table of recordings, as :func:`mark_timeline` returns it.
    """
    found: dict[tuple[str, str, str], int] = {}
    names = table[has_problem(table, "overlap")]["recorder"].unique()
    for recorder, rows in table[table["recorder"].isin(names) & is_usable(table)].groupby("recorder", sort=True):
        own = rows.dropna(subset=["start_utc"]).sort_values(["start_utc", "sha256"], kind="stable")
        starts_s = own["start_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64) / 1000
        ends_s = starts_s + own["duration_s"].to_numpy(np.float64)
        homes = [find_home(PurePosixPath(path).parent).as_posix() for path in own["path"].tolist()]
        last_end_s, last_home = -np.inf, ""
        for start_s, end_s, home in zip(starts_s.tolist(), ends_s.tolist(), homes, strict=True):
            if start_s < last_end_s - RESOLUTION_S and home != last_home:
                one, other = sorted([last_home, home])
                found[str(recorder), one, other] = found.get((str(recorder), one, other), 0) + 1
            if end_s > last_end_s:
                last_end_s, last_home = end_s, home
    return [
        f"recorder {recorder!r} has recordings of the same seconds in two folders, {one} and {other} ({n} overlaps). "
        "If they are of two units, give one another name in the column recorder of the table, whose rows keep it, and "
        "add --force."
        for (recorder, one, other), n in found.items()
    ]


def find_resets(table: pd.DataFrame, latest: pd.Timestamp) -> "pd.Series[bool]":
    """Return which starts cannot be right: before :data:`EARLIEST`, after ``latest``, or years from all others.

    Of the groups of a recorder's recordings that are more than :data:`YEARS` apart, the largest is right; another is
    wrong if it has less than a tenth of the largest's recordings.
    """
    start = table["start_utc"]
    reset = ((start < EARLIEST) | (start > latest)).fillna(value=False).astype(bool)
    for _, rows in table[start.notna() & ~reset].groupby("recorder"):
        ordered = rows["start_utc"].sort_values(kind="stable")
        group = (ordered.diff() > YEARS).cumsum()
        sizes = group.map(group.value_counts())
        reset[ordered.index[sizes * 10 < sizes.max()]] = True
    return reset


def _clock(starts_s: NDArray[np.float64], durations_s: NDArray[np.float64]) -> tuple[Clock, NDArray[np.bool_]]:
    """Return what one recorder's recordings, sorted by start, say; and which of them start within an earlier one."""
    is_overlap = np.zeros(len(starts_s), dtype=bool)
    if len(starts_s) < 2:
        return Clock(), is_overlap
    ends_s = starts_s + durations_s
    gap_s = starts_s[1:] - np.maximum.accumulate(ends_s)[:-1]
    is_overlap[1:] = gap_s < -RESOLUTION_S
    follows_s = starts_s[1:] - ends_s[:-1]
    share = follows_s / np.maximum(durations_s[:-1], 1e-9)
    is_join = (share > -MAX_OVERLAP) & (share < MAX_GAP) | (np.abs(follows_s) <= RESOLUTION_S) & (share > -0.5)
    return Clock(
        n_overlaps=int(is_overlap.sum()),
        overlap_s=round(abs(float(gap_s[is_overlap[1:]].sum())), 3),
        longest_gap_s=round(float(max(gap_s.max(), 0.0)), 3),
        n_joins=int(is_join.sum()),
        drift_s_per_day=_drift_s_per_day(follows_s, durations_s[:-1], is_join),
    ), is_overlap


def _drift_s_per_day(
    follows_s: NDArray[np.float64], durations_s: NDArray[np.float64], is_join: NDArray[np.bool_]
) -> float | None:
    steps_s = follows_s[is_join]
    if len(steps_s) < MIN_JOINS:
        return None
    n_rows = int(is_join[0]) + int((is_join[1:] & ~is_join[:-1]).sum())
    total_s = float(steps_s.sum())
    moved = steps_s[np.abs(steps_s) > 1e-3]
    goes_along = float(np.mean(np.sign(moved) == np.sign(total_s))) if len(moved) else 0.0
    if abs(total_s) <= n_rows * RESOLUTION_S or goes_along < 0.75:
        return None
    return round(total_s / float(durations_s[is_join].sum()) * S_PER_DAY, 3)


def _is_song_meter(path: str) -> bool:
    return maker_of(path, parse_name(path)) == "WA"


def _add(table: pd.DataFrame, which: "pd.Series[bool]", code: str) -> pd.DataFrame:
    """Return a table with a code among the problems of some rows."""
    which = which & ~has_problem(table, code)
    if not which.any():
        return table
    before = table["problems"]
    after = (before + ";" + code).str.lstrip(";")
    return table.assign(problems=before.where(~which, after))


def as_facts(clocks: Mapping[str, Clock], recorder: str) -> dict[str, object]:
    """Return what is known of a recorder's clock as plain values."""
    return dict(vars(clocks.get(recorder, Clock())))
