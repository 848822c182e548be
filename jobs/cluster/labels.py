"""The last pass: every window's cluster, a recorder's day at a time, and what the labels say of the clusters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.core import assign
from jobs.cluster.exemplars import Candidates, joined, narrowed, span_of
from jobs.cluster.source import Part, Read, opened
from jobs.common.processors import blas_backend
from lake.blocks import block_key, decode_block
from lake.constants import MS_PER_HOUR, UNTIMED
from lake.digest import sha256
from lake.grid import Grid
from lake.ledger import Entry, Ledger
from lake.scaling import Vectors
from lake.specs import StoreSpec
from lake.storage import Storage
from lake.write import write_block

HOURS = 24
Labels = tuple[NDArray[np.int16], NDArray[np.float32]]
"""Cluster and distance of each window."""
ROUNDING: Final = (1e-5, 1e-6)
"""Distances that differ no more than this, as a share and by itself, are of the same vector."""
DAYS_HELD = 64
"""Days whose candidates for exemplars are held before they are narrowed together."""


@dataclass(frozen=True)
class Day:
    """One recorder's day.

    Attributes
    ----------
    recorder, parts
        Number of its recorder, and its spans.
    inputs
        Digest of the centroids, and of what its vectors were made from.
    files
        SHA-256 by key of the labels that stand in the store already; empty if there are none of these inputs.
    before
        The same of labels of these centroids and of the day's vectors as they were before, where a store grows.
    """

    recorder: int
    parts: tuple[Part, ...]
    inputs: str
    files: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_windows(self) -> int:
        """Number of its windows."""
        return sum(len(span.cells) for _, span in self.parts)

    @property
    def number(self) -> int:
        """Number of the day on the grid."""
        return self.parts[0][1].day


@dataclass(frozen=True)
class Labelled:
    """Assignments and counts of a recorder's day.

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


def _no_labels() -> Labels:
    return np.empty(0, dtype=np.int16), np.empty(0, dtype=np.float32)


@dataclass(frozen=True)
class Counted:
    """Counts of a recorder's day: `by_cluster` and `by_hour` of each cluster, and the sum of squares.

    `labels` are cluster and distance of its windows.
    """

    recorder: int
    n_windows: int
    by_cluster: NDArray[np.int64]
    by_hour: NDArray[np.int64]
    squares: float
    near: Candidates
    labels: Labels = field(default_factory=_no_labels)


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

    def __call__(self, day: Day) -> Counted:
        """Label and write a day, or read what stands of it."""
        spans = [span for _, span in day.parts]
        cells = np.concatenate([span.cells for span in spans])
        grid, name = self.spec.grid, self.recorders[day.recorder]
        labels = self._standing(day, cells)
        if labels is None:
            labels = self._as_before(day, cells, assign(self._vectors(day, len(cells)), self.centroids))
            self._write(day, cells, *labels)
        labelled = described(
            *labels, recorder=day.recorder, cells=cells, grid=grid, span_ms=self.span_ms, n_near=self.n_near
        )
        return count(labelled, len(self.centroids), recorder=day.recorder, name=name, grid=grid)

    def _vectors(self, day: Day, n_windows: int) -> Vectors:
        first_row = day.parts[0][1].first_row
        vectors = np.empty((n_windows, self.centroids.shape[1]), dtype=np.float32)
        for part in day.parts:
            first = part[1].first_row - first_row
            vectors[first : first + len(part[1].cells)] = self.read(part)
        return vectors

    def _standing(self, day: Day, cells: NDArray[np.int64]) -> Labels | None:
        """Return the labels of a day as they stand in the store; ``None`` unless all of its files are whole."""
        return self._read(day, cells, day.files) if day.files else None

    def _read(self, day: Day, cells: NDArray[np.int64], files: Mapping[str, str]) -> Labels | None:
        found = []
        for array in self.spec.data:
            key = block_key(array, (day.recorder, day.number))
            data = self.store.read_or_none(key)
            if data is None or sha256(data) != files.get(key):
                return None
            found.append(decode_block(array, data)[0, cells - day.number * self.spec.cells_per_block])
        cluster, distance = found
        return cluster, distance

    def _as_before(self, day: Day, cells: NDArray[np.int64], labels: Labels) -> Labels:
        """Return labels with those that a day had before, where they are the same but for rounding.

        A matrix product may round a vector otherwise at another place of a batch.
        """
        if not day.before:
            return labels
        before = self._read(day, cells, day.before)
        if before is None:  # a process was ended between the files and the entry that lists them
            before = self._read(day, cells, {**day.before, **self.ledger.announced()})
        if before is None:
            return labels
        (cluster, distance), (old, old_distance) = labels, before
        is_same = (old >= 0) & np.isclose(distance, old_distance, *ROUNDING)
        return np.where(is_same, old, cluster), np.where(is_same, old_distance, distance)

    def _write(
        self, day: Day, cells: NDArray[np.int64], cluster: NDArray[np.int16], distance: NDArray[np.float32]
    ) -> None:
        first = day.number * self.spec.cells_per_block
        (status,) = opened((self.status_url,), "embedding_status", self.token)
        there = np.asarray(status[day.recorder, first : first + self.spec.cells_per_block])[cells - first]
        blocks = {data.name: np.full(data.block, data.fill, dtype=data.dtype) for data in self.spec.data}
        blocks["cluster"][0, cells - first] = cluster
        blocks["distance"][0, cells - first] = distance
        entry = Entry(
            recorder=self.recorders[day.recorder], block=day.number, files={}, cells=cells.tolist(),
            digests=[], backend=blas_backend(), inputs=day.inputs, index={"cluster_status": there.tolist()},
        )  # fmt: skip
        write_block(self.store, self.ledger, self.spec, blocks, entry, i_recorder=day.recorder)


@dataclass(frozen=True)
class Totals:
    """Windows of each cluster by recorder and by UTC hour, int64, and the sum of squared distances.

    `labels` are cluster and distance of all windows, day by day.
    """

    by_recorder: NDArray[np.int64]
    by_hour: NDArray[np.int64]
    squares: NDArray[np.float64]
    labels: list[Labels] = field(default_factory=list)

    @property
    def n_windows(self) -> NDArray[np.int64]:
        """Windows of each cluster."""
        return np.asarray(self.by_recorder.sum(axis=1))

    @property
    def all_labels(self) -> Labels:
        """Cluster and distance of all windows."""
        return np.concatenate([one[0] for one in self.labels]), np.concatenate([one[1] for one in self.labels])


def no_totals(n_clusters: int, n_recorders: int) -> Totals:
    """Return the totals of no window."""
    by_recorder, by_hour = (np.zeros((n_clusters, n), dtype=np.int64) for n in (n_recorders, HOURS))
    return Totals(by_recorder, by_hour, np.zeros(1))


def described(
    cluster: NDArray[np.int16], distance: NDArray[np.float32], *, recorder: int, cells: NDArray[np.int64], grid: Grid,
    span_ms: int, n_near: int,
) -> Labelled:  # fmt: skip
    """Return the labels of a recorder's day with the windows that may become exemplars.

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
        near=day.near, labels=(day.cluster, day.distance),
    )  # fmt: skip


def summed(days: Iterable[Counted], totals: Totals, n_near: int) -> Candidates:
    """Add days to totals, in place and in their order; return the candidates for exemplars of all of them."""
    near: list[Candidates] = []
    for day in days:
        totals.by_recorder[:, day.recorder] += day.by_cluster
        totals.by_hour[...] += day.by_hour
        totals.squares[0] += day.squares
        totals.labels.append(day.labels)
        near.append(day.near)
        if len(near) > DAYS_HELD:
            near = [narrowed(joined(near), n_near)]
    return joined(near)
