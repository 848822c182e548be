"""Verdicts added to the small stores of the tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from stores import ORIGIN_MS

from lake.layout import Lake
from lake.verdicts import COLUMNS as VERDICT_COLUMNS
from lake.verdicts import add_verdicts


def judge(lake_url: str | Path, rows: Sequence[tuple[str, int, str, str]], **more: Any) -> str:
    """Add verdicts to a lake; return the key of their delivery.

    Parameters
    ----------
    rows
        Recorder, start in milliseconds after the origin of the stores made here, sound and verdict.
    more
        Values of columns for all rows, such as ``reviewer``.
    """
    values = {
        "duration_s": 6.0, "reviewer": "Ana", "decided_at": pd.Timestamp("2021-07-01"), "seconds": 1.0, "batch": "",
        "draw": pd.NA, "recording": "", "offset_s": 0.0, "digest": "", "source": "", **more,
    }  # fmt: skip
    table = pd.DataFrame(
        [
            {
                **values,
                "recorder": recorder,
                "time_utc": pd.Timestamp(ORIGIN_MS + ms, unit="ms"),
                "sound": sound,
                "verdict": verdict,
            }
            for recorder, ms, sound, verdict in rows
        ]
    ).astype({"time_utc": "datetime64[ms]", "decided_at": "datetime64[ms]", "draw": "Int64"})
    return add_verdicts(Lake(str(lake_url)), table[list(VERDICT_COLUMNS)]).key
