"""Times in the tables that people bring, as spreadsheets leave them."""

import re
from datetime import UTC, datetime

import numpy as np
import pandas as pd

_TIME = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,6}))?)?\s?(Z|UTC|[+-]\d\d:?\d\d)?"
)


def instant(cell: str) -> pd.Timestamp:
    """Return a time in UTC, naive.

    Raises
    ------
    ValueError
        If it is none; one without seconds was cut short by a spreadsheet and could mean another window.
    """
    match = _TIME.fullmatch(cell.strip())
    if match is None or match[6] is None:
        raise ValueError(
            f"expected a time such as 2021-06-22T05:00:06Z, found {cell!r}: a spreadsheet may have changed it; give "
            "the column the format Text when the table is opened, or load the table that the page gave"
        )
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    zone = "" if zone in {None, "Z", "UTC"} else zone
    try:
        value = datetime.fromisoformat(
            f"{year}-{month}-{day}T{int(hour):02}:{minute}:{second}.{(fraction or '0').ljust(6, '0')}{zone}"
        )
    except ValueError as error:
        raise ValueError(f"expected a time, found {cell!r} ({error})") from error
    return pd.Timestamp(value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value)


def milliseconds(value: object) -> int:
    """Return a time as milliseconds since 1970."""
    return int(np.datetime64(pd.Timestamp(str(value)), "ms").astype(np.int64))
