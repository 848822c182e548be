"""Locate windows: recording and second, local time, cluster."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.chain import Made, clusterings_of, made_by
from lake.errors import InputError
from lake.query.across import cells_in, starts_of
from lake.query.find import local_times_ms, reached
from lake.query.select import open_any
from lake.query.trace import Piece, pieces, recordings_table
from lake.read import Windows, grid_of, recorder_names, windows_of


@dataclass
class RecordingsOf:
    """The recordings of one recorder, read when they are first needed."""

    cube: xr.Dataset | None
    recorder: str

    def ends(self, start_ms: int, end_ms: int) -> tuple[str, float, str, float]:
        """Return recording and seconds after its start of both ends of a span; empty and NaN where there is none."""
        found = self.pieces(start_ms, end_ms)
        if not found:
            return "", float("nan"), "", float("nan")
        first, last = found[0], found[-1]
        begin_s, stop_s = first.first_sample / first.sample_rate_hz, last.last_sample / last.sample_rate_hz
        return first.path, round(begin_s, 6), last.path, round(stop_s, 6)

    def first_piece(self, start_ms: int, end_ms: int) -> tuple[str, float, float]:
        """Return the first recording of a span, and the seconds of it that are in the span; empty and NaN if none."""
        found = self.pieces(start_ms, end_ms)
        if not found:
            return "", float("nan"), float("nan")
        rate = found[0].sample_rate_hz
        return found[0].path, round(found[0].first_sample / rate, 6), round(found[0].last_sample / rate, 6)

    def pieces(self, start_ms: int, end_ms: int) -> tuple[Piece, ...]:
        """Return what each recording gives to a span; nothing where there is none."""
        if self.cube is None or self.recorder not in recorder_names(self.cube):
            return ()
        if not hasattr(self, "_rows"):
            self._rows = recordings_table(self.cube, self.recorder)
            self._starts = np.array([row["start_ms"] for row in self._rows])
            lengths = [row["n_samples"] / row["sample_rate_hz"] * 1000 for row in self._rows]
            self._ends = self._starts + np.array(lengths)
        near = np.flatnonzero((self._starts < end_ms) & (self._ends > start_ms))
        return pieces([self._rows[i] for i in near], start_ms, end_ms)


def with_places(table: pd.DataFrame, url: str) -> pd.DataFrame:
    """Return a table of windows of a store with the place of each.

    Parameters
    ----------
    table
        Columns recorder and time (UTC, the start of the window's cell), in any order of rows.
    url
        The store. Its cube and its clustering are looked for in its lake; of several clusterings none is taken.

    Returns
    -------
    pandas.DataFrame
        The table with the columns ``recording`` (empty where it is not known), ``start_s`` and ``end_s`` (seconds
        after the recording's start; of a window across a join, in its first recording), ``time_local`` and
        ``cluster``.

    Raises
    ------
    StoreError, StoreFormatError
        As :func:`lake.query.select.open_any`.
    """
    cube, clusters = _stores_of(url)
    with open_any(url) as dataset:
        cells = _cells(dataset, table["time"])
        grid, starts_ms = grid_of(dataset), starts_of(dataset, windows_of(dataset, table["recorder"], cells))
    found = {name: RecordingsOf(cube, name) for name in table["recorder"].unique()}
    ends = [
        found[name].first_piece(int(start_ms), int(start_ms) + grid.window_ms)
        for name, start_ms in zip(table["recorder"], starts_ms, strict=True)
    ]
    placed = pd.DataFrame(ends, columns=["recording", "start_s", "end_s"], index=table.index)
    placed["time_local"] = _local(cube, table, starts_ms, grid.window_ms)
    numbers = np.full(len(table), -1) if clusters is None else _each(clusters, "cluster", table, cells, -1)
    placed["cluster"] = pd.array(numbers.astype(np.int64), dtype="Int64")
    placed.loc[placed["cluster"] < 0, "cluster"] = pd.NA
    return pd.concat([table, placed], axis=1)


def durations_of(table: pd.DataFrame, url: str) -> dict[str, float]:
    """Return the length in seconds of each recording of a table's recorders, by its path; none without a cube."""
    cube, _ = _stores_of(url)
    if cube is None:
        return {}
    known = set(recorder_names(cube))
    rows = (row for name in table["recorder"].unique() if name in known for row in recordings_table(cube, name))
    return {row["path"]: row["n_samples"] / row["sample_rate_hz"] for row in rows}


def _stores_of(url: str) -> tuple[xr.Dataset | None, xr.Dataset | None]:
    """Return the cube and the only clustering of a store, opened as numbers, where its lake has them."""
    try:
        made = made_by(url)
    except InputError:
        return None, None
    cube, vectors = made.nearest("spectrograms"), made.nearest("embeddings")
    clusterings = [] if vectors is None else [vectors.lake.output("clusters", name) for name in clusterings_of(vectors)]
    clusterings = [one for one in clusterings if one.exists("zarr.json")]
    return _opened(cube), open_any(clusterings[0].url) if len(clusterings) == 1 else None


def _opened(cube: Made | None) -> xr.Dataset | None:
    return open_any(cube.output.url) if cube is not None and cube.output.exists("zarr.json") else None


def _cells(dataset: xr.Dataset, times: pd.Series) -> NDArray[np.int64]:
    grid = grid_of(dataset)
    instants_ms = times.to_numpy().astype("datetime64[ms]").astype(np.int64)
    return np.asarray((instants_ms - grid.origin_ms) // grid.hop_ms, dtype=np.int64)


def _each(dataset: xr.Dataset, name: str, table: pd.DataFrame, cells: NDArray[np.int64], fill: float) -> NDArray[Any]:
    """Return an index variable at the cell of each row, shape (n_rows,); the fill value where the store has none."""
    if name not in dataset:
        return np.full(len(table), fill)
    return reached(dataset, name, windows_of(dataset, table["recorder"], cells), fill)


def _local(
    cube: xr.Dataset | None, table: pd.DataFrame, starts_ms: NDArray[np.int64], window_ms: int
) -> NDArray[np.datetime64]:
    """Return the local time of each row; not a time where the cube does not know it."""
    if cube is None:
        return np.full(len(table), np.datetime64("NaT"), dtype="datetime64[ms]")
    recorder = windows_of(cube, table["recorder"], starts_ms).recorder
    windows = Windows(recorder, cells_in(cube, recorder, starts_ms, window_ms))
    return local_times_ms(cube, windows, starts_ms).astype("datetime64[ms]")
