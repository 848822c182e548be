"""Times of exports: by the local clock with its offset where that is known, so that they have the day of the place."""

from typing import Literal

import pandas as pd
from pandas.api.typing import NaTType


def offset_of(start_utc: pd.Timestamp, start_local: pd.Timestamp | NaTType) -> str:
    """Return the offset of a local time, such as ``-05:00``; ``Z`` where the local time is not known."""
    if isinstance(start_local, NaTType):
        return "Z"
    minutes = round((start_local - start_utc).total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def local_iso(
    time_utc: pd.Timestamp,
    start_utc: pd.Timestamp,
    start_local: pd.Timestamp | NaTType,
    timespec: Literal["seconds", "milliseconds"],
) -> str:
    """Return a time by the clock that read ``start_local`` at ``start_utc``, in ISO 8601 to a ``timespec``."""
    shift = pd.Timedelta(0) if isinstance(start_local, NaTType) else start_local - start_utc
    return f"{(time_utc + shift).isoformat(timespec=timespec)}{offset_of(start_utc, start_local)}"
