"""What an atlas tells of a study: read from its stores, one recorder and day at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.atlas.hours import HOURS_PER_DAY, count_hours, local_time
from jobs.common.progress import Advance
from lake.errors import StoreError
from lake.grid import Grid, iso
from lake.names import STATUS
from lake.read import grid_of, open_array, open_clusters, open_cube, read_rows


@dataclass(frozen=True)
class Stores:
    """A clustering and the cube that its windows are in.

    Attributes
    ----------
    clusters, cube
        The open stores.
    clusters_url, cube_url
        Where they stand.
    grid
        The clustering's grid; the cube may have grown since.
    recorders
        The clustering's recorders.
    cube_row
        Number of each recorder in the cube, shape (n_recorders,).
    """

    clusters: xr.Dataset
    cube: xr.Dataset
    clusters_url: str
    cube_url: str
    grid: Grid
    recorders: tuple[str, ...]
    cube_row: NDArray[np.int64]

    @property
    def n_clusters(self) -> int:
        """Number of clusters, empty ones included."""
        return int(self.clusters.sizes["cluster_id"])

    @property
    def time_is_real(self) -> NDArray[np.bool_]:
        """Whether each recorder's times are clock times, shape (n_recorders,)."""
        return np.asarray(self.cube["time_is_real"].to_numpy(), dtype=np.bool_)[self.cube_row]

    def texts(self, name: str) -> list[str]:
        """Return a text table of the cube."""
        return [str(value) for value in self.cube[name].to_numpy()]


@dataclass(frozen=True)
class Tally:
    """How many windows there are of what.

    Attributes
    ----------
    by_hour
        Windows by cluster and hour of day of the recorders with clock times, shape (n_clusters, 24).
    by_recorder
        Windows by cluster and recorder, shape (n_clusters, n_recorders).
    n_partial
        Windows that are partial, by recorder, shape (n_recorders,).
    span_ms
        Start of each recorder's first and last window, milliseconds since 1970; -1 without any,
        shape (n_recorders, 2).
    n_utc_hours
        Windows in ``by_hour`` whose hour is UTC, since local time is unknown.
    """

    by_hour: NDArray[np.int64]
    by_recorder: NDArray[np.int64]
    n_partial: NDArray[np.int64]
    span_ms: NDArray[np.int64]
    n_utc_hours: int


@dataclass(frozen=True)
class Exemplar:
    """A window near its cluster's centroid.

    Attributes
    ----------
    recorder, deployment, site
        Where it was recorded.
    cube_row, cell
        Its position in the cube.
    start_ms
        Its start, milliseconds since 1970.
    offset_s
        Local time minus UTC in seconds, or ``None`` while unknown.
    time_is_real
        Whether the recorder's times are clock times.
    is_partial
        Whether parts of it were not recorded.
    distance
        Euclidean distance to the centroid.
    recording, recording_offset_s
        The file it begins in, and where in it.
    """

    recorder: str
    deployment: str
    site: str
    cube_row: int
    cell: int
    start_ms: int
    offset_s: int | None
    time_is_real: bool
    is_partial: bool
    distance: float
    recording: str
    recording_offset_s: float


def open_stores(clusters_url: str, cube_url: str) -> Stores:
    """Open a clustering and its cube.

    Raises
    ------
    StoreError
        If the cube has another grid, or lacks recorders or days of the clustering.
    """
    clusters, cube = open_clusters(clusters_url), open_cube(cube_url)
    grid, other = grid_of(clusters), grid_of(cube)
    advice = "Name in the manifest, as `spectrograms`, the run that these clusters were made from."
    if (grid.origin_ms, grid.window_ms, grid.hop_ms) != (other.origin_ms, other.window_ms, other.hop_ms):
        raise StoreError(
            f"{clusters_url} and {cube_url}: expected the same grid, found {_grid_words(grid)} "
            f"and {_grid_words(other)}. {advice}"
        )
    recorders = tuple(str(name) for name in clusters["recorder"].to_numpy())
    rows = {str(name): row for row, name in enumerate(cube["recorder"].to_numpy())}
    lost = [name for name in recorders if name not in rows]
    if lost or grid.end_ms > other.end_ms:
        what = f"the recorders {', '.join(lost)}" if lost else f"days up to {iso(grid.end_ms)[:10]}"
        raise StoreError(f"{cube_url}: expected {what}, which {clusters_url} has, found none. {advice}")
    cube_row = np.array([rows[name] for name in recorders], dtype=np.int64)
    return Stores(clusters, cube, clusters_url, cube_url, grid, recorders, cube_row)


def n_recorder_days(stores: Stores) -> int:
    """Return how many steps :func:`count_windows` takes."""
    return len(stores.recorders) * stores.grid.n_days


def count_windows(stores: Stores, advance: Advance) -> Tally:
    """Count the clustered windows, reading one recorder and day at a time."""
    n_recorders, per_day = len(stores.recorders), stores.grid.cells_per_day
    labels = open_array(stores.clusters_url, "cluster")
    statuses = open_array(stores.clusters_url, "cluster_status")
    offsets, deployments = (open_array(stores.cube_url, name) for name in ("utc_offset_s", "deployment"))
    zones, is_real = stores.texts("zone"), stores.time_is_real
    by_hour = np.zeros((stores.n_clusters, HOURS_PER_DAY), dtype=np.int64)
    by_recorder = np.zeros((stores.n_clusters, n_recorders), dtype=np.int64)
    n_partial = np.zeros(n_recorders, dtype=np.int64)
    span_ms = np.full((n_recorders, 2), -1, dtype=np.int64)
    n_utc_hours = 0
    for i in range(n_recorders):
        for first in range(0, stores.grid.n_cells, per_day):
            advance(1)
            day = slice(first, first + per_day)
            label = np.asarray(labels[i, day])
            cells = np.flatnonzero(label >= 0)
            if len(cells) == 0:
                continue
            cluster, start_ms = label[cells], stores.grid.origin_ms + (first + cells) * stores.grid.hop_ms
            by_recorder[:, i] += np.bincount(cluster, minlength=stores.n_clusters)
            n_partial[i] += np.count_nonzero(np.asarray(statuses[i, day])[cells] == STATUS["partial"])
            span_ms[i] = start_ms[0] if span_ms[i, 0] < 0 else span_ms[i, 0], start_ms[-1]
            if is_real[i]:
                row = int(stores.cube_row[i])
                offset_s, deployment = (np.asarray(array[row, day])[cells] for array in (offsets, deployments))
                local = local_time(start_ms, offset_s, deployment, zones)
                by_hour += count_hours(cluster, local.hours(start_ms), stores.n_clusters)
                n_utc_hours += int(np.count_nonzero(~local.known))
    return Tally(by_hour, by_recorder, n_partial, span_ms, n_utc_hours)


def read_exemplars(stores: Stores, n_exemplars: int) -> list[list[Exemplar]]:
    """Return the exemplars of each cluster, nearest first, at most ``n_exemplars``.

    Raises
    ------
    StoreError
        If the cube lacks one of them.
    """
    number = stores.clusters["exemplar_recorder"].to_numpy()[:, :n_exemplars]
    cell = stores.clusters["exemplar_cell"].to_numpy()[:, :n_exemplars]
    cluster, place = np.nonzero(number >= 0)
    number, cell = number[cluster, place].astype(np.int64), cell[cluster, place].astype(np.int64)
    row = stores.cube_row[number]
    facts = {name: read_rows(open_array(stores.cube_url, name), row, cell) for name in _FACTS}
    _require_there(stores, row, cell, facts["status"])
    distance = read_rows(open_array(stores.clusters_url, "distance"), number, cell)
    start_ms = stores.grid.origin_ms + cell * stores.grid.hop_ms
    local = local_time(start_ms, facts["utc_offset_s"], facts["deployment"], stores.texts("zone"))
    sites, names = stores.texts("site"), stores.texts("deployment_name")
    paths, is_real = _recording_paths(stores, facts["recording"]), stores.time_is_real
    found: list[list[Exemplar]] = [[] for _ in range(stores.n_clusters)]
    for i in range(len(cell)):
        deployment = int(facts["deployment"][i])
        exemplar = Exemplar(
            recorder=stores.recorders[number[i]],
            deployment=names[deployment] if deployment >= 0 else "",
            site=sites[deployment] if deployment >= 0 else "",
            cube_row=int(row[i]),
            cell=int(cell[i]),
            start_ms=int(start_ms[i]),
            offset_s=int(local.offset_s[i]) if local.known[i] else None,
            time_is_real=bool(is_real[number[i]]),
            is_partial=int(facts["status"][i]) == STATUS["partial"],
            distance=float(distance[i]),
            recording=paths.get(int(facts["recording"][i]), ""),
            recording_offset_s=float(facts["offset_s"][i]),
        )
        found[cluster[i]].append(exemplar)
    return found


def sites_of(stores: Stores) -> list[tuple[str, ...]]:
    """Return the sites of each of the clustering's recorders, in the order of the cube's table."""
    pairs = list(zip(stores.texts("deployment_recorder"), stores.texts("site"), strict=True))
    return [tuple(dict.fromkeys(site for owner, site in pairs if owner == name and site)) for name in stores.recorders]


_FACTS = ("status", "utc_offset_s", "deployment", "recording", "offset_s")


def _recording_paths(stores: Stores, recording: NDArray[Any]) -> dict[int, str]:
    rows = np.unique(recording[recording >= 0]).astype(np.int64)
    if len(rows) == 0:
        return {}
    paths = open_array(stores.cube_url, "recording_path").oindex[rows]
    return {int(row): str(path) for row, path in zip(rows, np.asarray(paths), strict=True)}


def _require_there(stores: Stores, row: NDArray[np.int64], cell: NDArray[np.int64], status: NDArray[Any]) -> None:
    lost = np.flatnonzero(~np.isin(status, [STATUS["ok"], STATUS["partial"]]))
    if len(lost):
        name = stores.cube["recorder"].to_numpy()[row[lost[0]]]
        raise StoreError(
            f"{stores.cube_url}: expected the window of {name} at {iso(stores.grid.start_ms(int(cell[lost[0]])))}, "
            f"an exemplar in {stores.clusters_url}, found it missing (and {len(lost) - 1} more). "
            "Name in the manifest, as `spectrograms`, the run that these clusters were made from."
        )


def _grid_words(grid: Grid) -> str:
    return f"{grid.window_ms / 1000:g} s every {grid.hop_ms / 1000:g} s from {iso(grid.origin_ms)[:10]}"


def cluster_ids(stores: Stores) -> Sequence[int]:
    """Return the number of each cluster."""
    return [int(value) for value in stores.clusters["cluster_id"].to_numpy()]
