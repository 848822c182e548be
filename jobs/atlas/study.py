"""The stores that an atlas shows, and what they say of recorders, sites and clusters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lake.errors import StoreError
from lake.grid import Grid, iso
from lake.query.across import ReadSpans, cells_in, offsets_of, open_spans, starts_of
from lake.read import Windows, grid_of, open_clusters, open_cube, recorder_names
from lake.shards import open_codes


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
    is_of_cube
        Whether the clustering's windows are the cube's own; those of imported vectors begin where their sound does.
    """

    clusters: xr.Dataset
    cube: xr.Dataset
    clusters_url: str
    cube_url: str
    grid: Grid
    recorders: tuple[str, ...]
    cube_row: NDArray[np.int64]
    is_of_cube: bool

    def starts_ms(self, windows: Windows) -> NDArray[np.int64]:
        """Return the start of the sound of windows of the clustering, milliseconds since 1970."""
        if self.is_of_cube:
            return self.grid.origin_ms + windows.cell.astype(np.int64) * self.grid.hop_ms
        return starts_of(self.clusters, windows)

    def in_cube(self, windows: Windows) -> Windows:
        """Return the cube's windows that stand for windows of the clustering; cell -1 where it has none."""
        rows = self.cube_row[windows.recorder]
        if self.is_of_cube:
            return Windows(rows.astype(np.int32), windows.cell)
        return Windows(rows.astype(np.int32), cells_in(self.cube, rows, self.starts_ms(windows), self.grid.window_ms))

    def open_codes(self) -> ReadSpans:
        """Return what reads codes of windows, from their recorders' numbers in the cube and their starts."""
        if not self.is_of_cube:
            return open_spans(self.cube_url, self.grid.window_ms)
        read = open_codes(self.cube_url)
        return lambda rows, start_ms: read(rows, (np.asarray(start_ms) - self.grid.origin_ms) // self.grid.hop_ms)

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


def open_stores(clusters_url: str, cube_url: str) -> Stores:
    """Open a clustering and its cube.

    Raises
    ------
    StoreError
        If the cube lacks recorders or days of the clustering, or has another grid and the vectors were not imported.
    """
    clusters, cube = open_clusters(clusters_url), open_cube(cube_url)
    grid, other = grid_of(clusters), grid_of(cube)
    advice = "Name in the manifest, as `spectrograms`, the run that these clusters were made from."
    is_imported = offsets_of(clusters) is not None
    if not is_imported and not grid.has_cells_of(other):
        raise StoreError(
            f"{clusters_url} and {cube_url}: expected the same grid, found {_grid_words(grid)} "
            f"and {_grid_words(other)}. {advice}"
        )
    recorders = tuple(recorder_names(clusters))
    rows = {name: row for row, name in enumerate(recorder_names(cube))}
    lost = [name for name in recorders if name not in rows]
    if lost or grid.end_ms > other.end_ms:
        what = f"the recorders {', '.join(lost)}" if lost else f"days up to {iso(grid.end_ms)[:10]}"
        raise StoreError(f"{cube_url}: expected {what}, which {clusters_url} has, found none. {advice}")
    cube_row = np.array([rows[name] for name in recorders], dtype=np.int64)
    return Stores(clusters, cube, clusters_url, cube_url, grid, recorders, cube_row, not is_imported)


def sites_of(stores: Stores) -> list[tuple[str, ...]]:
    """Return the sites of each of the clustering's recorders, in the order of the cube's table."""
    pairs = list(zip(stores.texts("deployment_recorder"), stores.texts("site"), strict=True))
    return [tuple(dict.fromkeys(site for owner, site in pairs if owner == name and site)) for name in stores.recorders]


def _grid_words(grid: Grid) -> str:
    return f"{grid.window_ms / 1000:g} s every {grid.hop_ms / 1000:g} s from {iso(grid.origin_ms)[:10]}"


def cluster_ids(stores: Stores) -> Sequence[int]:
    """Return the number of each cluster."""
    return [int(value) for value in stores.clusters["cluster_id"].to_numpy()]


@dataclass(frozen=True)
class Verdict:
    """Flags and figures of a cluster in its clustering; ``None`` where it has none.

    Attributes
    ----------
    flags
        Names of its flags.
    stability
        Mean Jaccard index with clusters of refits.
    recorder_share, hour_share
        Largest share of its windows from one recorder, and from one UTC hour of the day.
    contrast_db
        How far its exemplars stand out from their own background.
    """

    flags: tuple[str, ...] = ()
    stability: float | None = None
    recorder_share: float | None = None
    hour_share: float | None = None
    contrast_db: float | None = None


def verdicts(stores: Stores) -> list[Verdict]:
    """Return what the clustering says of each cluster; clusterings made before it said such things say nothing."""
    data, n = stores.clusters, stores.n_clusters
    columns: dict[str, list[float | None]] = {}
    for name in ("stability", "recorder_share", "hour_share", "contrast_db"):
        values = data[name].to_numpy().tolist() if name in data else [None] * n
        columns[name] = [None if value is None or not np.isfinite(value) else float(value) for value in values]
    flags: list[tuple[str, ...]] = [()] * n
    if "cluster_flags" in data:
        attrs = data["cluster_flags"].attrs
        kinds = list(zip(str(attrs["flag_meanings"]).split(), np.atleast_1d(attrs["flag_masks"]).tolist(), strict=True))
        bits = data["cluster_flags"].to_numpy().tolist()
        flags = [tuple(name for name, mask in kinds if value & mask) for value in bits]
    return [Verdict(flags[i], **{name: values[i] for name, values in columns.items()}) for i in range(n)]
