"""Local time of windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from zoneinfo import available_timezones

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lake.constants import MS_PER_HOUR, OFFSET_UNKNOWN_S

HOURS_PER_DAY = 24


@dataclass(frozen=True)
class LocalTime:
    """Local time of windows.

    Attributes
    ----------
    offset_s
        Local time minus UTC in seconds, int64, shape (n_windows,); 0 where unknown.
    known
        Whether the offset is known, bool, shape (n_windows,).
    """

    offset_s: NDArray[np.int64]
    known: NDArray[np.bool_]

    def hours(self, start_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the hour of day, 0 to 23, of instants in UTC, shape (n_windows,); local where known."""
        return (start_ms + self.offset_s * 1000) // MS_PER_HOUR % HOURS_PER_DAY


def local_time(
    start_ms: NDArray[np.int64],
    utc_offset_s: NDArray[np.int32],
    deployment: NDArray[np.int32],
    zones: Sequence[str],
) -> LocalTime:
    """Return the local time of windows: what the cube says, else what the deployment's zone says.

    Parameters
    ----------
    start_ms
        Starts of the windows, milliseconds since 1970 UTC, shape (n_windows,).
    utc_offset_s
        Local time minus UTC in seconds, ``OFFSET_UNKNOWN_S`` where unknown, shape (n_windows,).
    deployment
        Row of each window in ``zones``, -1 where there is none, shape (n_windows,).
    zones
        IANA zone of each deployment; empty, or no such zone, where unknown.
    """
    known = utc_offset_s != OFFSET_UNKNOWN_S
    offset_s = np.where(known, utc_offset_s, 0).astype(np.int64)
    for i in np.unique(deployment[~known & (deployment >= 0)]):
        if zones[i] in _zone_names():
            here = ~known & (deployment == i)
            offset_s[here] = _zone_offset_s(start_ms[here], zones[i])
            known = known | here
    return LocalTime(offset_s, known)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone_offset_s(start_ms: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Return local time minus UTC in seconds at instants in a zone, daylight saving included."""
    utc = pd.DatetimeIndex(start_ms.astype("datetime64[ms]"))
    local = utc.tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return ((local - utc) // pd.Timedelta(seconds=1)).to_numpy(dtype=np.int64)
