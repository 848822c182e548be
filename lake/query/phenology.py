"""Count windows with a sound, and all windows, by site, local date and local hour."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.constants import MS_PER_DAY, MS_PER_HOUR
from lake.counting.study import Windows
from lake.heard import windows_heard
from lake.query.events import RULES, thresholds_of
from lake.query.find import Wanted, is_wanted_time
from lake.read import values_at
from lake.sounds import SPEECH
from lake.verdicts import settled

HOURS = 24
DAY_KIND, WEEK_KIND, HOUR_KIND = "day", "week", "hour"
RULE = "best-f1"
"""Threshold of a picture if the user names none: it misses and invents equally much."""
Marks = dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]
"""Which windows hold a sound, and which are its effort, shape (n_windows,) each, by sound."""
MOST_DAYS = 45
"""Up to so many days a count is shown by day, beyond by week."""


@dataclass(frozen=True)
class Phenology:
    """One sound at one site.

    Attributes
    ----------
    sound, site
        Names.
    first_day
        First local date of the study, days since 1970; the same for all sites.
    found, effort
        Windows with the sound, and windows there are, int64, shape (24, n_days): local hour by local date.
    offset_s
        Local time minus UTC on each date, seconds, shape (n_days,); of days without a window, that of the nearest day.
    latitude, longitude
        Of the site, degrees; NaN if not known.
    counts
        Rows of the table of counts of this sound and site, of the kinds ``hour`` and ``day`` or ``week``; may be empty.
    """

    sound: str
    site: str
    first_day: int
    found: NDArray[np.int64]
    effort: NDArray[np.int64]
    offset_s: NDArray[np.int64]
    latitude: float
    longitude: float
    counts: pd.DataFrame

    @property
    def share(self) -> NDArray[np.float64]:
        """Windows with the sound divided by windows there are; NaN where there are none."""
        return np.where(self.effort > 0, self.found / np.maximum(self.effort, 1), np.nan)

    @property
    def period_kind(self) -> str:
        """The kind of period that a count is shown by along the dates."""
        return DAY_KIND if self.effort.shape[1] <= MOST_DAYS else WEEK_KIND


def phenologies(
    sound: str,
    windows: Windows,
    *,
    has: NDArray[np.bool_],
    is_there: NDArray[np.bool_],
    cube: xr.Dataset,
    counts: pd.DataFrame | None,
) -> Iterator[Phenology]:
    """Yield the phenology of a sound at each site that has windows, by site.

    Parameters
    ----------
    sound
        Its name.
    windows
        As :func:`lake.counting.study.windows_of` gives them: none shares sound with another.
    has, is_there
        Which of them hold the sound, and which of them count as effort: recorded and scored, or heard; shape
        (n_windows,). Windows whose local time is not known have no part.
    cube
        For the positions of sites.
    counts
        The table of a ``count`` run, if there is one.
    """
    table = windows.table
    local_ms = table["time_local"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    is_local = table["time_local"].notna().to_numpy() & is_there
    if not is_local.any():
        return
    utc_ms = table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    day, hour = local_ms // MS_PER_DAY, local_ms % MS_PER_DAY // MS_PER_HOUR
    first, last = int(day[is_local].min()), int(day[is_local].max())
    for site in sorted(set(table["site"][is_local])):
        mine = is_local & (table["site"] == site).to_numpy()
        at = (hour[mine], day[mine] - first)
        effort, found = (np.zeros((HOURS, last - first + 1), np.int64) for _ in range(2))
        np.add.at(effort, at, 1)
        np.add.at(found, at, has[mine])
        offset_s = _offsets(day[mine] - first, (local_ms - utc_ms)[mine] // 1000, last - first + 1)
        own = _own_counts(counts, sound, site)
        yield Phenology(sound, site, first, found, effort, offset_s, *_position(cube, site), own)


def scored(scores: xr.Dataset, windows: Windows, rule: str, sounds: Sequence[str] = ()) -> tuple[Marks, list[str]]:
    """Return in which windows each sound scores at or above its threshold, and the sounds without a threshold.

    Parameters
    ----------
    scores, rule, sounds
        As :func:`lake.query.events.thresholds_of` takes them.
    windows
        Those that are counted.
    """
    found, without = thresholds_of(scores, rule, sounds)
    known = [str(name) for name in scores["sound"].to_numpy()]
    recorder, cell = (windows.table[name].to_numpy(np.int64) for name in ("i_recorder", "cell"))
    by, each = "score" if rule in RULES else "probability", Marks()
    for sound, threshold in sorted(found.items()):
        values = values_at(scores.isel(sound=known.index(sound)), by, recorder, cell)
        each[sound] = (values >= threshold, np.isfinite(values))
    return each, without


def answered(verdicts: pd.DataFrame, windows: Windows, sounds: Sequence[str] = ()) -> Marks:
    """Return in which windows people heard each sound, of those that they answered yes or no; never of speech.

    Parameters
    ----------
    verdicts
        As :func:`lake.verdicts.read_verdicts` gives them.
    windows
        Those that are counted.
    sounds
        Only these; all if empty.
    """
    heard = windows_heard(settled(verdicts), windows.grid, windows.recorders)
    heard = heard[heard["verdict"].isin(["yes", "no"]) & (heard["sound"] != SPEECH)]
    places = pd.MultiIndex.from_frame(windows.table[["i_recorder", "cell"]])
    row = places.get_indexer(pd.MultiIndex.from_frame(heard[["i_recorder", "cell"]]))
    heard = heard.assign(row=row)[row >= 0]
    each = Marks()
    for sound, mine in heard.groupby("sound", sort=True):
        if not sounds or sound in sounds:
            has, is_there = (np.zeros(len(windows.table), np.bool_) for _ in range(2))
            is_there[mine["row"]] = True
            has[mine["row"]] = (mine["verdict"] == "yes").to_numpy()
            each[str(sound)] = (has, is_there)
    return each


def wanted_windows(windows: Windows, wanted: Wanted) -> NDArray[np.bool_]:
    """Return which windows are of the wanted recorders, sites, days and hours, shape (n_windows,)."""
    table = windows.table
    times = table["time_local" if wanted.is_local else "time"].to_numpy().astype("datetime64[ms]")
    keep = is_wanted_time(times, wanted)
    for column, names in (("recorder", wanted.recorders), ("site", wanted.sites)):
        if names:
            keep &= table[column].isin(names).to_numpy()
    return keep


def as_table(found: Sequence[Phenology]) -> pd.DataFrame:
    """Return ``sound, site, date, hour, windows, windows_with_sound``; no row where there are no windows."""
    parts = []
    for one in found:
        hour, day = np.nonzero(one.effort)
        order = np.lexsort((hour, day))
        hour, day = hour[order], day[order]
        dates = np.datetime_as_string((one.first_day + day).astype("datetime64[D]"))
        parts.append(pd.DataFrame({
            "sound": one.sound, "site": one.site, "date": dates, "hour": hour,
            "windows": one.effort[hour, day], "windows_with_sound": one.found[hour, day],
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _offsets(day: NDArray[np.int64], offset_s: NDArray[np.int64], n_days: int) -> NDArray[np.int64]:
    """Return the offset at the end of each day; of a day without windows that of the last day before, or the first."""
    known = np.full(n_days, np.iinfo(np.int64).min)
    known[day] = offset_s  # the last window of a day counts
    has = np.flatnonzero(known != np.iinfo(np.int64).min)
    nearest = has[np.clip(np.searchsorted(has, np.arange(n_days), side="right") - 1, 0, None)]
    return known[nearest]


def _position(cube: xr.Dataset, site: str) -> tuple[float, float]:
    """Return the position of a site: that of the first of its deployments that has one."""
    is_site = np.array([str(name) == site for name in cube.variables["site"].to_numpy()], dtype=np.bool_)
    latitude, longitude = (cube.variables[name].to_numpy().astype(np.float64) for name in ("latitude", "longitude"))
    known = np.flatnonzero(is_site & np.isfinite(latitude) & np.isfinite(longitude))
    return (float(latitude[known[0]]), float(longitude[known[0]])) if len(known) else (np.nan, np.nan)


def _own_counts(counts: pd.DataFrame | None, sound: str, site: str) -> pd.DataFrame:
    columns = ["kind", "period", "n_windows", "estimate", "low", "high"]
    if counts is None:
        return pd.DataFrame(columns=columns)
    own = counts[(counts["sound"] == sound) & (counts["site"] == site)]
    return own[own["kind"].isin([HOUR_KIND, DAY_KIND, WEEK_KIND])][columns].reset_index(drop=True)
