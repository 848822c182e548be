"""Choosing windows by recorder and date, and their table."""

import json
import re
from calendar import monthrange
from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd
import xarray as xr

from lake.errors import InputError, StoreError, StoreFormatError, UsageError
from lake.read import open_store
from lake.storage import Storage

STATUS_NAMES = ("status", "embedding_status", "cluster_status")
STORES = ("spectrograms", "embeddings", "clusters")


def open_any(url: str) -> xr.Dataset:
    """Open a store of whatever kind as numbers: what is missing is as the store says, not NaN.

    Raises
    ------
    StoreError, StoreFormatError
        As :func:`lake.read.open_store`.
    """
    storage, kind = Storage(url), STORES[0]
    if storage.exists("zarr.json"):
        try:
            kind = json.loads(storage.read("zarr.json")).get("attributes", {}).get("dawnchorus_kind", "")
        except ValueError as error:
            raise StoreError(f"{storage.path('zarr.json')}: damaged ({error}). Restore the file.") from error
        if kind not in STORES:
            raise StoreFormatError(
                f"{url}: expected a store of {', '.join(STORES)}, found {kind or 'no dawnchorus store'}."
            )
    return open_store(url, kind, mask_and_scale=False)


def parse_dates(text: str) -> tuple[date, date]:
    """Return the first and last day of ``2021-07-14``, ``2021-07`` or ``2021-07-14/2021-07-20``.

    Raises
    ------
    UsageError
        If the text is none of these.
    """
    try:
        first, last = [_span(part) for part in (text.split("/") * 2 if "/" not in text else text.split("/"))]
    except ValueError:
        raise UsageError(
            f"--date {text!r}: expected a day (2021-07-14), a month (2021-07) or two joined by /."
        ) from None
    if last[1] < first[0]:
        raise UsageError(f"--date {text!r}: the last day is before the first.")
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
    wanted = [known.index(name) for name in dict.fromkeys(recorders)]
    part = dataset.isel(recorder=wanted) if recorders else dataset
    if dates is None:
        return part
    # In whole days: nanoseconds end in the year 2262.
    days = part["time"].to_numpy().astype("datetime64[D]")
    low = np.searchsorted(days, np.datetime64(dates[0]), side="left")
    high = np.searchsorted(days, np.datetime64(dates[1]), side="right")
    return part.isel(time=slice(int(low), int(high)))


def to_table(dataset: xr.Dataset, *, features: bool = False) -> pd.DataFrame:
    """Return one row for each window that is not missing: recorder, time and what the store says of it.

    Parameters
    ----------
    dataset
        A store, or a selection of it.
    features
        Whether the embedding's features are columns, ``f0`` and up.

    Raises
    ------
    InputError
        If features are wanted of a store that has none.
    """
    if features and "embedding" not in dataset:
        raise InputError("--features: the store has no embedding; name one below `embeddings`.")
    status = next((name for name in STATUS_NAMES if name in dataset), None)
    names = [str(name) for name, variable in dataset.data_vars.items() if variable.dims == ("recorder", "time")]
    tables = []
    for i in range(dataset.sizes["recorder"]):
        one = dataset.isel(recorder=i)
        kept = np.flatnonzero(one[status].to_numpy() > 0) if status else np.arange(dataset.sizes["time"])
        columns = {"recorder": str(one["recorder"].item()), "time": one["time"].to_numpy()[kept]}
        columns.update({name: one[name].to_numpy()[kept] for name in names})
        table = pd.DataFrame(columns, index=range(len(kept)))
        if features:
            vectors = one["embedding"].to_numpy()[kept]
            table = pd.concat(
                [table, pd.DataFrame(vectors, columns=[f"f{j}" for j in range(vectors.shape[1])])], axis=1
            )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _span(text: str) -> tuple[date, date]:
    if re.fullmatch(r"\d{4}-\d{2}", text):
        first = date.fromisoformat(f"{text}-01")
        return first, first.replace(day=monthrange(first.year, first.month)[1])
    day = date.fromisoformat(text)
    return day, day
