"""Choosing windows by recorder, date, hour, site and cluster, and their table."""

import re
from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from lake.constants import STORES
from lake.errors import InputError, StoreFormatError, UsageError
from lake.layout import Lake
from lake.read import Windows, grid_of, open_store, recorder_names, values_at
from lake.storage import Storage
from lake.text import nearest_hint, resolve
from lake.whole import store_attributes


def open_any(url: str) -> xr.Dataset:
    """Open a store of whatever kind as numbers: what is missing is as the store says, not NaN.

    Raises
    ------
    StoreError, StoreFormatError
        As :func:`lake.read.open_store`.
    """
    storage, kind = Storage(url), STORES[0]
    if storage.exists("zarr.json"):
        kind = str(store_attributes(storage).get("dawnchorus_kind", ""))
        if kind not in STORES:
            raise StoreFormatError(
                f"{url}: expected a store of {', '.join(STORES)}, found {kind or 'no dawnchorus store'}."
            )
    elif stores := Lake(url).stores() if storage.exists("") else []:
        listed = ", ".join(Lake(url).output(*store).url for store in stores)
        raise InputError(f"{url}: expected a store, found a lake. Name one of its stores: {listed}.")
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


def resolve_recorder(name: str, known: Sequence[str]) -> str:
    """Return the recorder of a store that has a name, in any form of Unicode; ``InputError`` if it has none."""
    found = resolve(name, known)
    if found is None:
        raise InputError(
            f"recorder {name!r} is not in the store; it has {', '.join(known)}.{nearest_hint(name, known)}"
        )
    return found


def rows_of(dataset: xr.Dataset, windows: Windows, *, features: bool = False) -> pd.DataFrame:
    """Return one row for each window, in their order; only their days are read.

    Raises
    ------
    InputError
        If features are wanted of a store that has none.
    """
    if features and "embedding" not in dataset:
        raise InputError("--features: the store has no embedding; name one below `embeddings`.")
    grid, names = grid_of(dataset), np.array(recorder_names(dataset), dtype=object)
    columns: dict[str, Any] = {
        "recorder": names[windows.recorder],
        "time": (grid.origin_ms + windows.cell * grid.hop_ms).astype("datetime64[ms]").astype("datetime64[ns]"),
    }
    for name in dataset.data_vars:
        if dataset.variables[name].dims == ("recorder", "time"):
            columns[str(name)] = values_at(dataset, str(name), windows.recorder, windows.cell)
    if not features:
        return pd.DataFrame(columns)
    vectors = values_at(dataset, "embedding", windows.recorder, windows.cell)
    table = pd.DataFrame(vectors, columns=[f"f{j}" for j in range(vectors.shape[1])], copy=False)
    for place, (name, values) in enumerate(columns.items()):  # in front, without a copy of the vectors
        table.insert(place, name, values)
    return table


def _span(text: str) -> tuple[date, date]:
    if re.fullmatch(r"\d{4}-\d{2}", text):
        first = date.fromisoformat(f"{text}-01")
        return first, first.replace(day=monthrange(first.year, first.month)[1])
    day = date.fromisoformat(text)
    return day, day
