"""The windows that a page shows large: where and when each was recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jobs.atlas.study import Stores
from jobs.common.pages.places import Place, places
from lake.constants import STATUS
from lake.errors import StoreError
from lake.grid import iso
from lake.query.places import RecordingsOf
from lake.read import Windows, open_array, read_rows

Kind = Literal["exemplar", "border", "outlier", "best", "verified"]
TAGS: Mapping[Kind, str] = {"exemplar": "", "border": "b", "outlier": "o", "best": "", "verified": "v"}


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
    said
        What is known of it, for a sound's page.
    """

    kind: Kind
    cluster: int
    place: int
    recorder: int
    cell: int
    other: int = -1
    said: str = ""


@dataclass(frozen=True)
class Shown(Place):
    """A window on the page of a cluster or a sound.

    Attributes
    ----------
    kind, tag
        Why it is shown, and the end of its files' names.
    distance
        Euclidean distance to the centroid.
    cluster
        Its cluster's place.
    other
        Place of the next nearest cluster, for a border; otherwise -1.
    said
        What is known of it, for a sound's page.
    """

    kind: Kind
    tag: str
    distance: float
    cluster: int
    other: int
    said: str


def exemplar_picks(stores: Stores, n_exemplars: int) -> list[Pick]:
    """Return the exemplars that the clustering lists, by cluster, nearest first, at most ``n_exemplars`` of each."""
    number = stores.clusters["exemplar_recorder"].to_numpy()[:, :n_exemplars]
    cell = stores.clusters["exemplar_cell"].to_numpy()[:, :n_exemplars]
    return [
        Pick("exemplar", int(i), int(j), int(number[i, j]), int(cell[i, j]))
        for i, j in zip(*np.nonzero(number >= 0), strict=True)
    ]


def shown_windows(stores: Stores, picks: Sequence[Pick]) -> list[Shown]:
    """Return what is to be said of the chosen windows, in the order given.

    Raises
    ------
    StoreError
        If the cube lacks one of them.
    """
    if not picks:
        return []
    number = np.array([pick.recorder for pick in picks], dtype=np.int64)
    cell = np.array([pick.cell for pick in picks], dtype=np.int64)
    where = _where(stores, Windows(number.astype(np.int32), cell))
    distance = read_rows(open_array(stores.clusters_url, "distance"), number, cell)
    return [
        Shown(
            **vars(place), kind=pick.kind, tag=f"{TAGS[pick.kind]}{pick.place + 1}", distance=float(apart),
            cluster=pick.cluster, other=pick.other, said=pick.said,
        )
        for pick, place, apart in zip(picks, where, distance, strict=True)
    ]  # fmt: skip


def by_cluster(shown: Sequence[Shown], n_clusters: int) -> list[list[Shown]]:
    """Return windows by the place of their cluster, in the order given."""
    found: list[list[Shown]] = [[] for _ in range(n_clusters)]
    for one in shown:
        found[one.cluster].append(one)
    return found


def places_of(shown: Sequence[Place]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return recorder numbers in the cube and starts, milliseconds since 1970, of windows that are shown."""
    return np.array([one.cube_row for one in shown]), np.array([one.start_ms for one in shown])


def _where(stores: Stores, windows: Windows) -> list[Place]:
    """Return where windows of the clustering were recorded."""
    of_cube = stores.in_cube(windows)
    where = places(stores.cube, stores.cube_url, of_cube.recorder.astype(np.int64), of_cube.cell)
    if stores.is_of_cube:
        _require_there(stores, where)
        return where
    recordings = {name: RecordingsOf(stores.cube, name) for name in {place.recorder for place in where}}
    found = []
    for place, start_ms in zip(where, stores.starts_ms(windows).tolist(), strict=True):
        path, start_s, _ = recordings[place.recorder].first_piece(start_ms, start_ms + stores.grid.window_ms)
        found.append(replace(place, start_ms=start_ms, recording=path, recording_offset_s=start_s))
    return found


def _require_there(stores: Stores, where: Sequence[Place]) -> None:
    lost = [place for place in where if place.status not in {STATUS["ok"], STATUS["partial"]}]
    if lost:
        raise StoreError(
            f"{stores.cube_url}: expected the window of {lost[0].recorder} at {iso(lost[0].start_ms)}, "
            f"an exemplar in {stores.clusters_url}, found it missing (and {len(lost) - 1} more). "
            "Name in the manifest, as `spectrograms`, the run that these clusters were made from."
        )
