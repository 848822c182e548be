"""The clustered windows of a study as columns: where each is, what cluster it is in, when it was by the local clock."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.atlas.study import Stores
from jobs.common.pages.hours import local_time
from jobs.common.progress import Advance
from lake.constants import MS_PER_DAY, STATUS
from lake.errors import StoreError
from lake.read import Windows, days_of, open_array, values_at


@dataclass(frozen=True)
class Table:
    """Clustered windows by recorder, then time; all arrays have the shape (n_windows,).

    Attributes
    ----------
    recorder, cell
        Number of the clustering's recorder, and time index.
    cluster, distance
        Cluster, and distance to its centroid.
    is_partial
        Whether parts of the window were not recorded.
    deployment
        Row of the cube's deployments, -1 without one.
    hour, day
        Hour of day, and date in days since 1970, by the local clock (by UTC where local time is unknown);
        -1 for recorders without clock times.
    offset_s
        Local time minus UTC in seconds, 0 where unknown.
    is_local
        Whether local time is known.
    """

    recorder: NDArray[np.int32]
    cell: NDArray[np.int64]
    cluster: NDArray[np.int16]
    distance: NDArray[np.float32]
    is_partial: NDArray[np.bool_]
    deployment: NDArray[np.int32]
    hour: NDArray[np.int8]
    day: NDArray[np.int32]
    offset_s: NDArray[np.int32]
    is_local: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.cell)

    @property
    def is_timed(self) -> NDArray[np.bool_]:
        """Whether hour and day are those of a clock."""
        return self.hour >= 0


def clustered_days(stores: Stores) -> list[tuple[int, int]]:
    """Return recorder and first cell of the days that the clustering has a shard of, in their order.

    A study's years have days on which nobody recorded; asking for each of those would take longer than all else.
    """
    n_cells = open_array(stores.clusters_url, "cluster_status").chunks[1]
    return [
        (i, day * n_cells) for i, day in days_of(stores.clusters_url, "cluster_status") if i < len(stores.recorders)
    ]


def read_table(stores: Stores, advance: Advance) -> Table:
    """Read the clustered windows, one recorder and day at a time; about 33 bytes are kept of each.

    Parameters
    ----------
    stores
        The clustering and its cube.
    advance
        Told how many of :func:`clustered_days` are done.

    Raises
    ------
    StoreError
        If there are none.
    """
    of_clusters = [open_array(stores.clusters_url, name) for name in ("cluster", "distance", "cluster_status")]
    n_cells = of_clusters[2].chunks[1]
    parts: list[tuple[NDArray[Any], ...]] = []
    for i, first in clustered_days(stores):
        advance(1)
        day = slice(first, first + n_cells)
        label, distance, status = (np.asarray(array[i, day]) for array in of_clusters)
        there = np.flatnonzero(label >= 0)
        if len(there) == 0:
            continue
        cells = (first + there).astype(np.int64)
        parts.append((np.full(len(there), i, dtype=np.int32), cells, label[there], distance[there], status[there]))
    if not parts:
        raise StoreError(f"{stores.clusters_url}: expected clustered windows, found none. Run the clustering again.")
    recorder, cell, label, distance, status = (np.concatenate(column) for column in zip(*parts, strict=True))
    windows = Windows(recorder, cell)
    of_cube, start_ms = stores.in_cube(windows), stores.starts_ms(windows)
    deployment, offset_s = (
        values_at(stores.cube, name, of_cube.recorder, of_cube.cell) for name in ("deployment", "utc_offset_s")
    )
    local = local_time(start_ms, offset_s, deployment, stores.texts("zone"))
    is_real = stores.time_is_real[recorder]
    date = (start_ms + local.offset_s * 1000) // MS_PER_DAY
    return Table(
        recorder=recorder,
        cell=cell,
        cluster=label.astype(np.int16),
        distance=distance.astype(np.float32),
        is_partial=status == STATUS["partial"],
        deployment=deployment.astype(np.int32),
        hour=np.where(is_real, local.hours(start_ms), -1).astype(np.int8),
        day=np.where(is_real, date, -1).astype(np.int32),
        offset_s=local.offset_s.astype(np.int32),
        is_local=local.known & is_real,
    )
