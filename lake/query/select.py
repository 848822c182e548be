"""Choosing windows by recorder, date, hour, site and cluster, and their table; one window by its time."""

import re
from calendar import monthrange
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from lake.constants import STORES
from lake.errors import InputError, StoreFormatError, UsageError
from lake.grid import Grid, iso
from lake.layout import Lake
from lake.read import Windows, grid_of, open_store, recorder_names, values_at
from lake.storage import Storage
from lake.text import nearest_hint, resolve
from lake.whole import store_attributes

Instant = str | datetime | np.datetime64
"""ISO 8601 in UTC, or a time, of a table for example; without a zone it is UTC."""


def open_any(url: str, *, indexes: bool = True) -> xr.Dataset:
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
    return open_store(url, kind, mask_and_scale=False, indexes=indexes)


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


@dataclass(frozen=True)
class Place:
    """One window: recorder number and cell."""

    recorder: int
    cell: int


def cell_of(grid: Grid, time: Instant) -> int:
    """Return the last cell that begins at an instant or before; one that is not on the grid where that does not reach.

    Raises
    ------
    InputError
        If the text is no time.
    """
    if isinstance(time, str):
        with suppress(ValueError):  # what is shorter than a time of day is for numpy
            time = datetime.fromisoformat(time.strip())
    if isinstance(time, datetime) and time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    time = str(time)
    try:
        instant_ms = int(np.datetime64(time.removesuffix("Z"), "ms").astype(np.int64))
    except ValueError:
        raise InputError(f"--time {time!r}: expected a time in UTC such as 2021-06-22T09:50:00.") from None
    return (instant_ms - grid.origin_ms) // grid.hop_ms


def place_of(recorders: list[str], grid: Grid, recorder: str, time: Instant) -> Place:
    """Return the window of a recorder that an instant falls into: the last one that begins at it or before.

    Parameters
    ----------
    recorders, grid
        The store's.
    recorder, time
        A name, and an instant.

    Raises
    ------
    InputError
        If there is no such recorder, the text is no time, or the grid does not reach it.
    """
    recorder, cell = resolve_recorder(recorder, recorders), cell_of(grid, time)
    if not 0 <= cell < grid.n_cells:
        raise InputError(f"--time {str(time)!r}: the store goes from {iso(grid.origin_ms)} to {iso(grid.end_ms)}.")
    return Place(recorders.index(recorder), cell)


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
