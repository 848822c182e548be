"""Sunrise and sunset by the local clock, by date."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

import numpy as np
from astral import Observer
from astral.sun import sunrise, sunset
from numpy.typing import NDArray

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Sun:
    """Hours of the local clock, shape (n_days,) each; NaN on days without one.

    Attributes
    ----------
    rise, set
        0 to 24.
    """

    rise: NDArray[np.float64]
    set: NDArray[np.float64]


def sun_hours(days: NDArray[np.int64], offset_s: NDArray[np.int64], latitude: float, longitude: float) -> Sun:
    """Return when the sun rises and sets.

    Parameters
    ----------
    days
        Dates, days since 1970, shape (n_days,).
    offset_s
        Local time minus UTC on each date, seconds, shape (n_days,).
    latitude, longitude
        Degrees north and east.

    Notes
    -----
    Computed by astral, after the equations of NOAA: the upper limb on the horizon, refraction included.
    """
    observer = Observer(latitude, longitude)
    found = np.full((2, len(offset_s)), np.nan)
    for i, (number, seconds) in enumerate(zip(days.tolist(), offset_s.tolist(), strict=True)):
        day, zone = EPOCH + timedelta(days=number), timezone(timedelta(seconds=seconds))
        for j, event in enumerate((sunrise, sunset)):
            try:
                at = event(observer, day, zone)
            except ValueError:  # the sun stays up, or down, all day
                continue
            found[j, i] = (at - datetime(day.year, day.month, day.day, tzinfo=zone)) / timedelta(hours=1)
    found[(found < 0) | (found > 24)] = np.nan
    return Sun(found[0], found[1])


def step_path(hours: NDArray[np.float64]) -> str:
    """Return the ``d`` of an SVG path level over each column: x in columns, y in hours from the top (24) down."""
    parts, is_down = [], False
    for day, hour in enumerate(hours.tolist()):
        if np.isnan(hour):
            is_down = False
            continue
        parts.append(f"{'L' if is_down else 'M'}{day} {24 - hour:.2f}H{day + 1}")
        is_down = True
    return "".join(parts)
