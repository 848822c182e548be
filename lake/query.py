"""Choosing windows by recorder and date, and their table."""

import re
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pandas as pd
import xarray as xr

from lake.errors import InputError

STATUS_NAMES = ("status", "embedding_status", "cluster_status")


def parse_dates(text: str) -> tuple[date, date]:
    """Return the first and last day of ``2021-07-14``, ``2021-07`` or ``2021-07-14/2021-07-20``.

    Raises
    ------
    InputError
        If the text is none of these.
    """
    try:
        first, last = [_span(part) for part in (text.split("/") * 2 if "/" not in text else text.split("/"))]
    except ValueError:
        raise InputError(
            f"--date {text!r}: expected a day (2021-07-14), a month (2021-07) or two joined by /."
        ) from None
    if last[1] < first[0]:
        raise InputError(f"--date {text!r}: the last day is before the first.")
    return first[0], last[1]


def select(dataset: xr.Dataset, recorders: Sequence[str] = (), dates: tuple[date, date] | None = None) -> xr.Dataset:
    """Return the part of a store that belongs to recorders and UTC days, as lazily as it came.

    Raises
    ------
    InputError
        If the store has no such recorder.
    """
    known = [str(name) for name in dataset["recorder"].to_numpy()]
    unknown = [name for name in recorders if name not in known]
    if unknown:
        raise InputError(f"recorder {unknown[0]!r} is not in the store; it has {', '.join(known)}.")
    part = dataset.isel(recorder=[known.index(name) for name in recorders]) if recorders else dataset
    if dates is None:
        return part
    first = np.datetime64(dates[0], "ns")
    end = np.datetime64(dates[1] + timedelta(days=1), "ns")
    low, high = np.searchsorted(part["time"].to_numpy(), [first, end])
    return part.isel(time=slice(int(low), int(high)))


def to_table(dataset: xr.Dataset, *, features: bool = False) -> pd.DataFrame:
    """Return one row for each window that is not missing: recorder, time and what the store says of it.

    Parameters
    ----------
    dataset
        A store, or a selection of it.
    features
        Whether the embedding's features are columns, ``f0`` and up.
    """
    status = next((name for name in STATUS_NAMES if name in dataset), None)
    names = [str(name) for name, variable in dataset.data_vars.items() if variable.dims == ("recorder", "time")]
    tables = []
    for i in range(dataset.sizes["recorder"]):
        one = dataset.isel(recorder=i)
        kept = np.flatnonzero(one[status].to_numpy() > 0) if status else np.arange(dataset.sizes["time"])
        columns = {"recorder": str(one["recorder"].item()), "time": one["time"].to_numpy()[kept]}
        columns.update({name: one[name].to_numpy()[kept] for name in names})
        table = pd.DataFrame(columns, index=range(len(kept)))
        if features and "embedding" in one:
            vectors = one["embedding"].to_numpy()[kept]
            table = pd.concat(
                [table, pd.DataFrame(vectors, columns=[f"f{j}" for j in range(vectors.shape[1])])], axis=1
            )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _span(text: str) -> tuple[date, date]:
    if re.fullmatch(r"\d{4}-\d{2}", text):
        first = date.fromisoformat(f"{text}-01")
        return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    day = date.fromisoformat(text)
    return day, day
