"""The windows that a cluster's page shows: where and when each was recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jobs.atlas.study import Stores
from jobs.common.pages.hours import local_time
from lake.constants import STATUS
from lake.errors import StoreError
from lake.grid import iso
from lake.read import open_array, read_rows

Kind = Literal["exemplar", "border", "outlier"]
TAGS: Mapping[Kind, str] = {"exemplar": "", "border": "b", "outlier": "o"}


@dataclass(frozen=True)
class Pick:
    """A window that was chosen to be shown.

    Attributes
    ----------
    kind, cluster, place
        Why it was chosen, its cluster's place in the store, and its place among its kind, from 0.
    recorder, cell
        Its position in the cluster store.
    other
        The next nearest cluster's place, for a border; otherwise -1.
    """

    kind: Kind
    cluster: int
    place: int
    recorder: int
    cell: int
    other: int = -1


@dataclass(frozen=True)
class Shown:
    """A window on a cluster's page.

    Attributes
    ----------
    kind, tag
        Why it is shown, and the end of its files' names.
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
    other
        Place of the next nearest cluster, for a border; otherwise -1.
    recording, recording_offset_s
        The file it begins in, and where in it.
    """

    kind: Kind
    tag: str
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
    other: int
    recording: str
    recording_offset_s: float


def exemplar_picks(stores: Stores, n_exemplars: int) -> list[Pick]:
    """Return the exemplars that the clustering lists, by cluster, nearest first, at most ``n_exemplars`` of each."""
    number = stores.clusters["exemplar_recorder"].to_numpy()[:, :n_exemplars]
    cell = stores.clusters["exemplar_cell"].to_numpy()[:, :n_exemplars]
    return [
        Pick("exemplar", int(i), int(j), int(number[i, j]), int(cell[i, j]))
        for i, j in zip(*np.nonzero(number >= 0), strict=True)
    ]


def shown_windows(stores: Stores, picks: Sequence[Pick]) -> list[list[Shown]]:
    """Return what is to be said of the chosen windows, by cluster, in the order given.

    Raises
    ------
    StoreError
        If the cube lacks one of them.
    """
    number = np.array([pick.recorder for pick in picks], dtype=np.int64)
    cell = np.array([pick.cell for pick in picks], dtype=np.int64)
    row = stores.cube_row[number]
    facts = {name: read_rows(open_array(stores.cube_url, name), row, cell) for name in _FACTS}
    _require_there(stores, row, cell, facts["status"])
    distance = read_rows(open_array(stores.clusters_url, "distance"), number, cell)
    start_ms = stores.grid.origin_ms + cell * stores.grid.hop_ms
    local = local_time(start_ms, facts["utc_offset_s"], facts["deployment"], stores.texts("zone"))
    sites, names = stores.texts("site"), stores.texts("deployment_name")
    paths, is_real = _recording_paths(stores, facts["recording"]), stores.time_is_real
    found: list[list[Shown]] = [[] for _ in range(stores.n_clusters)]
    for i, pick in enumerate(picks):
        deployment = int(facts["deployment"][i])
        found[pick.cluster].append(
            Shown(
                kind=pick.kind,
                tag=f"{TAGS[pick.kind]}{pick.place + 1}",
                recorder=stores.recorders[pick.recorder],
                deployment=names[deployment] if deployment >= 0 else "",
                site=sites[deployment] if deployment >= 0 else "",
                cube_row=int(row[i]),
                cell=pick.cell,
                start_ms=int(start_ms[i]),
                offset_s=int(local.offset_s[i]) if local.known[i] else None,
                time_is_real=bool(is_real[pick.recorder]),
                is_partial=int(facts["status"][i]) == STATUS["partial"],
                distance=float(distance[i]),
                other=pick.other,
                recording=paths.get(int(facts["recording"][i]), ""),
                recording_offset_s=float(facts["offset_s"][i]),
            )
        )
    return found


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
