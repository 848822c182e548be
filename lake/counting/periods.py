"""Periods that sounds are counted in, by local time: season, week, day, night and hour of the day."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from lake.grid import Grid

SEASON: Final = "season"
NO_SITE: Final = "(no site)"
UNKNOWN: Final = "(local time unknown)"
PERIODS: Final[Mapping[str, str]] = {
    SEASON: "all of the study",
    "week": "from Monday, local time",
    "day": "midnight to midnight, local time",
    "night": "noon to noon, local time, named after the day that it begins on",
    "hour": "hour of the day, local time",
}
"""Kinds of period, and what each is."""


def cells_per_window(grid: Grid) -> int:
    """Return after how many cells a window begins that shares no sound with the one before; 1 without overlap."""
    return max(1, -(-grid.window_ms // grid.hop_ms))


def period_of(time_local: pd.Series, kind: str) -> pd.Series:
    """Return the name of the period that each window begins in; missing where its local time is not known.

    Parameters
    ----------
    time_local
        Local times, naive; NaT where the zone is unknown.
    kind
        One of :data:`PERIODS`.
    """
    time = pd.to_datetime(time_local)
    if kind == SEASON:
        return pd.Series(SEASON, index=time.index, dtype="object")
    if kind == "hour":
        names = time.dt.strftime("%H")
    elif kind == "week":
        names = (time - pd.to_timedelta(time.dt.day_of_week, unit="D")).dt.strftime("%Y-%m-%d")
    else:
        names = (time - pd.Timedelta(hours=12 if kind == "night" else 0)).dt.strftime("%Y-%m-%d")
    return names.astype("object").where(time.notna(), np.nan)
