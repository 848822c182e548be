"""Tables of a clustering for other programs: Raven selection tables, Audacity labels, flat tables."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.across import in_cube, starts_of
from lake.digest import sha256
from lake.errors import InputError
from lake.escapes import cell_in_line
from lake.find import Wanted, find, reached
from lake.read import grid_of, windows_of
from lake.trace import pieces, recordings_table

RAVEN = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Begin File",
    "Annotation", "Cluster", "Distance",
)  # fmt: skip


MOST_BYTES = 220
"""Of a sheet's name without its suffix; file systems take 255 in all."""


@dataclass(frozen=True)
class Sheet:
    """One file of an export: its path below the folder, and its text."""

    key: str
    text: str


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
        Opened as numbers (:func:`lake.query.open_any`), on the same grid.
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
        As :func:`lake.find.find`.
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


def raven_sheets(table: pd.DataFrame, *, high_hz: float) -> Iterator[Sheet]:
    """Yield a Raven selection table for each recording: ``<recording>.dawnchorus.selections.txt``.

    Raven itself proposes ``<recording>.Table.1.selections.txt`` for a person's own table.

    Parameters
    ----------
    table
        From :func:`clustering_table`.
    high_hz
        Upper edge of the boxes: a window is all bands.
    """
    for path, stem, mine in by_recording(table):
        lines = ["\t".join(RAVEN)]
        for i, row in enumerate(mine.itertuples(index=False), 1):
            cells = [
                i, "Spectrogram 1", 1, f"{row.start_s:.6f}", f"{row.end_s:.6f}", 0, f"{high_hz:g}",
                cell_in_line(path.split("/")[-1]),
                _label(row), row.cluster, f"{row.distance:.6g}",
            ]  # fmt: skip
            lines.append("\t".join(map(str, cells)))
        yield Sheet(f"{stem}.dawnchorus.selections.txt", "\n".join(lines) + "\n")


def raven_hits(table: pd.DataFrame, *, high_hz: float) -> Iterator[Sheet]:
    """Yield a Raven selection table for each recording with windows that were found by example.

    Parameters
    ----------
    table
        recording, start_s, end_s, cluster (missing where it is not known), and distance.
    high_hz
        As for :func:`raven_sheets`.
    """
    names = [f"similar {i}" for i in range(1, len(table) + 1)]
    cluster = table["cluster"].astype(object).where(table["cluster"].notna(), "")
    yield from raven_sheets(table.assign(name=names, cluster=cluster), high_hz=high_hz)


def raven_list(table: pd.DataFrame, durations_s: Mapping[str, float], *, high_hz: float, root: str = "") -> str:
    """Return one Raven selection table of windows of several recordings, which Raven opens one after another.

    Parameters
    ----------
    table
        As :func:`raven_hits` takes it.
    durations_s
        Length of each recording, by its path.
    high_hz
        As for :func:`raven_sheets`.
    root
        Folder of the recordings, for the column ``Begin Path``.

    Notes
    -----
    Begin and end count from the start of the first recording that the table names, in the order of its rows, as Raven
    counts where several files are opened in sequence; ``File Offset (s)`` counts from the start of the row's own.
    """
    lines, before_s = ["\t".join((*RAVEN, "Begin Path", "File Offset (s)"))], 0.0
    rank = {place: number for number, place in enumerate(table.index, 1)}
    for path, _, mine in by_recording(table):
        begins, ends = (mine[name].to_numpy(dtype=np.float64) for name in ("start_s", "end_s"))
        clusters = mine["cluster"].astype(object).where(mine["cluster"].notna(), "")
        for place, begin_s, end_s, cluster, distance in zip(
            mine.index, begins, ends, clusters, mine["distance"], strict=True
        ):
            cells = [
                len(lines), "Spectrogram 1", 1, f"{before_s + begin_s:.6f}", f"{before_s + end_s:.6f}", 0,
                f"{high_hz:g}", cell_in_line(path.split("/")[-1]), f"similar {rank[place]}", cluster,
                f"{distance:.6g}", cell_in_line(f"{root}/{path}" if root else path), f"{begin_s:.6f}",
            ]  # fmt: skip
            lines.append("\t".join(map(str, cells)))
        before_s += durations_s.get(path, 0.0)
    return "\n".join(lines) + "\n"


def audacity_sheets(table: pd.DataFrame) -> Iterator[Sheet]:
    """Yield Audacity labels for each recording: ``<recording>.labels.txt``."""
    for _, stem, mine in by_recording(table):
        lines = [f"{row.start_s:.6f}\t{row.end_s:.6f}\t{_label(row)}" for row in mine.itertuples(index=False)]
        yield Sheet(f"{stem}.labels.txt", "\n".join(lines) + "\n")


def by_recording(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield path, the beginning of its sheet's key, and rows of each recording."""
    if table.empty:
        raise InputError("no window is left to export; ask for other recorders, days or clusters.")
    paths = [str(path) for path in table["recording"].unique()]
    n_of_stem = Counter(map(_stem, paths))
    for path, mine in table.groupby("recording", sort=True):
        stem = _stem(str(path))
        whole = stem if n_of_stem[stem] == 1 else str(PurePosixPath(str(path)))  # x.wav and x.flac are two recordings
        yield str(path), _short(whole), mine.sort_values("start_s", kind="stable")


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _short(key: str) -> str:
    """Return a key whose last part leaves room for a suffix: of a longer one the end is a digest."""
    folder, slash, name = key.rpartition("/")
    data = name.encode()
    if len(data) <= MOST_BYTES:
        return key
    kept = data[: MOST_BYTES - 9].decode(errors="ignore")
    return f"{folder}{slash}{kept}~{sha256(data)[:8]}"


def _label(row: object) -> str:
    return cell_in_line(str(getattr(row, "name", ""))) or f"cluster {getattr(row, 'cluster', '')}"


def _positions(
    clusters: xr.Dataset, cube: xr.Dataset, table: pd.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return latitude and longitude of each row, degrees; NaN where the deployment is not known."""
    grid = grid_of(clusters)
    both = [np.append(cube[name].to_numpy().astype(float), np.nan) for name in ("latitude", "longitude")]
    cells = (table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64) - grid.origin_ms) // grid.hop_ms
    windows = in_cube(clusters, windows_of(clusters, table["recorder"], cells), cube)
    deployment = reached(cube, "deployment", windows, -1)
    return both[0][deployment], both[1][deployment]
