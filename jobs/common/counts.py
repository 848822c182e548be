"""The table that a run of counts leaves."""

import io
from typing import Final

import pandas as pd

from jobs.common.run import Run
from lake.escapes import as_written
from lake.held import read_held

COUNTS_FILE: Final = "counts.csv"
TEXTS: Final = ("sound", "site", "kind", "period", "unit", "method", "note")


def counts_of(run: Run) -> pd.DataFrame:
    """Return the table of a run of counts; ``NA`` is missing, and texts are as the study has them.

    Raises
    ------
    StoreError
        If it is not as it was written.
    """
    data = read_held(run.output.url, COUNTS_FILE) or b""
    header = data.partition(b"\n")[0].decode().split(",")
    missing = {name: ["NA"] for name in header if name not in TEXTS or name == "method"}
    table = pd.read_csv(io.BytesIO(data), dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=missing)
    return table.assign(**{name: table[name].map(as_written) for name in ("sound", "site")})
