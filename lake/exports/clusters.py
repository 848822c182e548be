"""The windows of a clustering as a table of places in recordings."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.query.across import in_cube, starts_of
from lake.query.find import Wanted, find, reached
from lake.query.trace import pieces, recordings_table
from lake.read import grid_of, windows_of


def clustering_table(
    clusters: xr.Dataset,
    cube: xr.Dataset,
    wanted: Wanted,
    *,
    names: Mapping[int, str],
    round_coordinates: int | None = None,
) -> pd.DataFrame:
    """Return one row for each piece of a window that lies in one recording.

    Parameters
    ----------
    clusters, cube
        Opened as numbers (:func:`lake.query.select.open_any`), on the same grid.
    wanted
        Which windows.
    names
        Name by cluster.
    round_coordinates
        Decimals that latitude and longitude are rounded to: 2 is about a kilometre. ``None`` leaves them.

    Returns
    -------
    pandas.DataFrame
        recorder, time, time_local, site, latitude, longitude, recording, start_s, end_s (in the recording), cluster,
        name, distance. A window across a join has a row for each of its recordings.

    Raises
    ------
    InputError
        As :func:`lake.query.find.find`.
    """
    found = find(clusters, wanted, cube=cube)
    grid = grid_of(clusters)
    rows = {name: recordings_table(cube, name) for name in found["recorder"].unique()}
    starts = {name: np.array([row["start_ms"] for row in mine]) for name, mine in rows.items()}
    ends = {
        name: np.array([row["start_ms"] + row["n_samples"] / row["sample_rate_hz"] * 1000 for row in mine])
        for name, mine in rows.items()
    }
    cells = (found["time"].to_numpy().astype("datetime64[ms]").astype(np.int64) - grid.origin_ms) // grid.hop_ms
    instants = starts_of(clusters, windows_of(clusters, found["recorder"], cells))
    kept, pieces_of = [], []
    for i, (name, start_ms) in enumerate(zip(found["recorder"], instants, strict=True)):
        near = np.flatnonzero((starts[name] < start_ms + grid.window_ms) & (ends[name] > start_ms))
        for piece in pieces([rows[name][j] for j in near], int(start_ms), int(start_ms) + grid.window_ms):
            kept.append(i)
            pieces_of.append(piece)
    table = found.iloc[kept].reset_index(drop=True)
    latitude, longitude = _positions(clusters, cube, table)
    if round_coordinates is not None:
        latitude, longitude = np.round(latitude, round_coordinates), np.round(longitude, round_coordinates)
    return pd.DataFrame(
        {
            "recorder": table["recorder"],
            "time": table["time"],
            "time_local": table["time_local"],
            "site": table["site"],
            "latitude": latitude,
            "longitude": longitude,
            "recording": [piece.path for piece in pieces_of],
            "start_s": [round(piece.first_sample / piece.sample_rate_hz, 6) for piece in pieces_of],
            "end_s": [round(piece.last_sample / piece.sample_rate_hz, 6) for piece in pieces_of],
            "cluster": table["cluster"],
            "name": [names.get(int(cluster), "") for cluster in table["cluster"]],
            "distance": table["distance"],
        }
    )


def with_labels(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of :func:`clustering_table` with ``label``: the name of the cluster, or its number."""
    labels = [name or f"cluster {number}" for name, number in zip(table["name"], table["cluster"], strict=True)]
    return table.assign(label=labels)


def _positions(
    clusters: xr.Dataset, cube: xr.Dataset, table: pd.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return latitude and longitude of each row, degrees; NaN where the deployment is not known."""
    grid = grid_of(clusters)
    both = [np.append(np.asarray(cube[name]).astype(float), np.nan) for name in ("latitude", "longitude")]
    cells = (table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64) - grid.origin_ms) // grid.hop_ms
    windows = in_cube(clusters, windows_of(clusters, table["recorder"], cells), cube)
    deployment = reached(cube, "deployment", windows, -1)
    return both[0][deployment], both[1][deployment]
