"""The last pass: every window's cluster, a recorder's day at a time, and what the labels say of the clusters."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.core import assign
from jobs.cluster.exemplars import Candidates, joined, narrowed, span_of
from jobs.cluster.source import Part, Read, opened
from jobs.common.processors import blas_backend
from lake.constants import MS_PER_HOUR, UNTIMED
from lake.errors import StoreError
from lake.grid import Grid
from lake.ledger import Entry, Ledger, day_of_block
from lake.scaling import Vectors
from lake.schema import StoreSpec
from lake.storage import Storage
from lake.write import read_block, write_block

HOURS = 24
DAYS_HELD = 64
"""Days whose candidates for exemplars are held before they are narrowed together."""


@dataclass(frozen=True)
class Day:
    """One recorder's day: the number of its recorder, its spans, and the digest of what its vectors were made from."""

    recorder: int
    parts: tuple[Part, ...]
    inputs: str

    @property
    def number(self) -> int:
        """Number of the day on the grid."""
        return self.parts[0][1].day


@dataclass(frozen=True)
class Labelled:
    """What a recorder's day was found to hold.

    Attributes
    ----------
    cells, cluster, distance
        Time index, cluster and distance of each window, shape (n_windows,).
    near
        Windows that may become exemplars.
    """

    cells: NDArray[np.int64]
    cluster: NDArray[np.int16]
    distance: NDArray[np.float32]
    near: Candidates


@dataclass(frozen=True)
class Counted:
    """What is counted of a recorder's day: `by_cluster` and `by_hour` of each cluster, and the sum of squares."""

    recorder: int
    n_windows: int
    by_cluster: NDArray[np.int64]
    by_hour: NDArray[np.int64]
    squares: float
    near: Candidates


@dataclass(frozen=True)
class Labeller:
    """Labels a recorder's day and writes its block, in any process that sees the lake.

    Attributes
    ----------
    read, centroids
        Reads a span scaled; the centroids among scaled vectors.
    store, ledger, spec, recorders
        What is written.
    status_url, token
        The store that says which windows are whole, and the token of :func:`jobs.cluster.source.opened`.
    span_ms, n_near
        Length of the spans that give one exemplar each, and exemplars of a cluster.
    resumes
        Whether blocks may stand that need not be written again.
    """

    read: Read
    centroids: Vectors
    store: Storage
    ledger: Ledger
    spec: StoreSpec
    recorders: tuple[str, ...]
    status_url: str
    token: str
    span_ms: int
    n_near: int
    resumes: bool = False

    def __call__(self, day: Day) -> Counted:
        """Label and write a day, unless it stands."""
        cells = np.concatenate([span.cells for _, span in day.parts])
        entry = self._entry(day, cells)
        found = self._written(day, entry) if self.resumes else None
        cluster, distance = found or assign(self._vectors(day), self.centroids)
        grid, name = self.spec.grid, self.recorders[day.recorder]
        labelled = labelled_day(
            cluster, distance, recorder=day.recorder, cells=cells, grid=grid, span_ms=self.span_ms, n_near=self.n_near
        )
        if found is None:
            self._write(day, labelled, entry)
        return count(labelled, len(self.centroids), recorder=day.recorder, name=name, grid=grid)

    def _vectors(self, day: Day) -> Vectors:
        spans = [span for _, span in day.parts]
        vectors = np.empty((sum(len(span.cells) for span in spans), self.centroids.shape[1]), dtype=np.float32)
        for part in day.parts:
            first = part[1].first_row - spans[0].first_row
            vectors[first : first + len(part[1].cells)] = self.read(part)
        return vectors

    def _entry(self, day: Day, cells: NDArray[np.int64]) -> Entry:
        """Return the ledger's entry of a day, without files and digests."""
        first = day.number * self.spec.cells_per_block
        (status,) = opened((self.status_url,), "embedding_status", self.token)
        there = np.asarray(status[day.recorder, first : first + self.spec.cells_per_block])[cells - first]
        return Entry(
            recorder=self.recorders[day.recorder], block=day.number, files={}, cells=cells.tolist(),
            digests=[], backend=blas_backend(), inputs=day.inputs, index={"cluster_status": there.tolist()},
        )  # fmt: skip

    def _written(self, day: Day, entry: Entry) -> tuple[NDArray[np.int16], NDArray[np.float32]] | None:
        """Return cluster and distance of a day's windows if its block stands whole, made of the same as now."""
        found = self.ledger.day(entry.recorder, day_of_block(self.spec.grid, self.spec.cells_per_block, day.number))
        stored = found.get(day.number)
        if stored is None or replace(stored, files={}, digests=[]) != entry:
            return None
        try:
            cluster, distance = (
                read_block(self.store, array, day.recorder, day.number, stored.files) for array in self.spec.data
            )
        except StoreError:  # damaged, or in another format: it is written again
            return None
        rows = np.asarray(entry.cells) - day.number * self.spec.cells_per_block
        return cluster[0, rows], distance[0, rows]

    def _write(self, day: Day, labelled: Labelled, entry: Entry) -> None:
        first = day.number * self.spec.cells_per_block
        blocks = {data.name: np.full(data.block, data.fill, dtype=data.dtype) for data in self.spec.data}
        blocks["cluster"][0, labelled.cells - first] = labelled.cluster
        blocks["distance"][0, labelled.cells - first] = labelled.distance
        write_block(self.store, self.ledger, self.spec, blocks, entry, i_recorder=day.recorder)


@dataclass(frozen=True)
class Totals:
    """Windows of each cluster by recorder and by UTC hour, int64, and the sum of squared distances."""

    by_recorder: NDArray[np.int64]
    by_hour: NDArray[np.int64]
    squares: NDArray[np.float64]

    @property
    def n_windows(self) -> NDArray[np.int64]:
        """Windows of each cluster."""
        return np.asarray(self.by_recorder.sum(axis=1))


def no_totals(n_clusters: int, n_recorders: int) -> Totals:
    """Return the totals of no window."""
    by_recorder, by_hour = (np.zeros((n_clusters, n), dtype=np.int64) for n in (n_recorders, HOURS))
    return Totals(by_recorder, by_hour, np.zeros(1))


def labelled_day(
    cluster: NDArray[np.int16],
    distance: NDArray[np.float32],
    *,
    recorder: int,
    cells: NDArray[np.int64],
    grid: Grid,
    span_ms: int,
    n_near: int,
) -> Labelled:
    """Return what the labels of one recorder's day say.

    Parameters
    ----------
    cluster, distance
        Of each window, shape (n_windows,).
    recorder, cells, grid
        Where the windows stand.
    span_ms, n_near
        Length of the spans that give one exemplar each, and exemplars of a cluster.
    """
    span = span_of(cells, hop_ms=grid.hop_ms, cells_per_day=grid.cells_per_day, span_ms=span_ms)
    windows = Candidates(cluster, distance, np.full(len(cells), recorder, dtype=np.int32), cells, span)
    return Labelled(cells, cluster, distance, narrowed(windows, n_near))


def count(day: Labelled, n_clusters: int, *, recorder: int, name: str, grid: Grid) -> Counted:
    """Count a day's windows by cluster and UTC hour; hours of recorders without a clock are left out."""
    by_hour = np.zeros(n_clusters * HOURS, dtype=np.int64)
    if not name.startswith(UNTIMED):
        hour = day.cells % grid.cells_per_day * grid.hop_ms // MS_PER_HOUR
        by_hour = np.bincount(day.cluster.astype(np.int64) * HOURS + hour, minlength=n_clusters * HOURS)
    return Counted(
        recorder=recorder, n_windows=len(day.cells), by_cluster=np.bincount(day.cluster, minlength=n_clusters),
        by_hour=by_hour.reshape(n_clusters, HOURS), squares=float(np.square(day.distance, dtype=np.float64).sum()),
        near=day.near,
    )  # fmt: skip


def summed(days: Iterable[Counted], totals: Totals, n_near: int) -> Candidates:
    """Add days to totals, in place and in their order; return the candidates for exemplars of all of them."""
    near: list[Candidates] = []
    for day in days:
        totals.by_recorder[:, day.recorder] += day.by_cluster
        totals.by_hour[...] += day.by_hour
        totals.squares[0] += day.squares
        near.append(day.near)
        if len(near) > DAYS_HELD:
            near = [narrowed(joined(near), n_near)]
    return joined(near)
