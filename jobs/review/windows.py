"""The windows of a study: which exist, what recording each is of, and its digest.

They are the cube's, or those of imported vectors, which begin where their sound does and have a grid of their own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.common.run import Run
from jobs.runner.manifest import Manifest
from lake import read
from lake.batch_files import batch_names
from lake.batches import VECTORS_ROLE, Batch, read_batch
from lake.errors import InputError
from lake.grid import Grid, iso
from lake.heard import OffsetsMs
from lake.query.across import offsets_ms_of
from lake.query.select import resolve_recorder
from lake.query.trace import pieces, recordings_table
from lake.read import grid_of, open_cube, open_embeddings, recorder_names, usable_windows
from lake.text import near_or_all

Cells = NDArray[np.int64]


def _cubes_own(_batch: Batch) -> None:
    """Return that a batch asks about the cube's windows."""


@dataclass
class Windows:
    """The windows of one cube, or of vectors whose recordings it has.

    Attributes
    ----------
    run
        The run that made the cube.
    cube
        Its store, opened.
    grid, recorders
        Axes of the windows; the recorders are the cube's.
    vectors, store
        The run of imported vectors whose windows these are, and its store, opened; ``None`` for the cube's.
    offsets_ms
        How long after its cell each window begins; ``None`` if all begin with their cells.
    open_others
        Opens the windows that a batch asks about where they are those of imported vectors.
    """

    run: Run
    cube: xr.Dataset
    grid: Grid
    recorders: list[str]
    vectors: Run | None = None
    store: xr.Dataset | None = None
    offsets_ms: OffsetsMs | None = None
    open_others: Callable[[Batch], "Windows | None"] = _cubes_own
    _usable: dict[int, Cells] = field(default_factory=dict)
    _starts_ms: dict[int, Cells] = field(default_factory=dict)
    _digests: dict[tuple[str, str], Mapping[int, str]] = field(default_factory=dict)
    _recordings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _batches: dict[str, Batch] = field(default_factory=dict)
    _others: dict[str, "Windows | None"] = field(default_factory=dict)

    def cell_of(self, recorder: str, start_ms: int) -> int:
        """Return the cell of the window of a recorder that begins at an instant, milliseconds since 1970.

        Raises
        ------
        ValueError
            If there is no such window; with the nearest.
        """
        i = self.recorders.index(recorder)
        usable, starts_ms = self.usable(i), self._usable_starts_ms(i)
        if not len(usable):
            raise ValueError(f"recorder {recorder!r} has no windows")
        for known_ms in (starts_ms, self.grid.origin_ms + usable * self.grid.hop_ms):  # a query lists starts of cells
            at = min(int(np.searchsorted(known_ms, start_ms)), len(usable) - 1)
            if known_ms[at] == start_ms:
                return int(usable[at])
        at = int(np.searchsorted(starts_ms, start_ms))
        closest = min(starts_ms[max(0, at - 1) : at + 1].tolist(), key=lambda ms: abs(ms - start_ms))
        raise ValueError(f"recorder {recorder!r} has no window at {iso(start_ms)}; the nearest is at {iso(closest)}")

    def usable(self, i_recorder: int) -> Cells:
        """Return the cells of a recorder that have sound, in order."""
        if not self._usable:
            found = self.all_usable()
            edges = np.searchsorted(found.recorder, np.arange(len(self.recorders) + 1))
            self._usable = {i: found.cell[edges[i] : edges[i + 1]] for i in range(len(self.recorders))}
        return self._usable[i_recorder]

    def all_usable(self) -> read.Windows:
        """Return all windows that have sound."""
        if self.store is None:
            return usable_windows(self.cube)
        return usable_windows(self.store, status="embedding_status")

    def starts_ms(self, i_recorder: int, cells: Cells) -> Cells:
        """Return the starts of windows of a recorder, milliseconds since 1970."""
        starts_ms = self.grid.origin_ms + np.asarray(cells, dtype=np.int64) * self.grid.hop_ms
        if self.offsets_ms is not None:
            starts_ms = starts_ms + self.offsets_ms(np.full(len(starts_ms), i_recorder), np.asarray(cells))
        return starts_ms

    def _usable_starts_ms(self, i_recorder: int) -> Cells:
        if i_recorder not in self._starts_ms:
            self._starts_ms[i_recorder] = self.starts_ms(i_recorder, self.usable(i_recorder))
        return self._starts_ms[i_recorder]

    def start_ms(self, i_recorder: int, cell: int) -> int:
        """Return the start of one window, milliseconds since 1970."""
        return int(self.starts_ms(i_recorder, np.array([cell]))[0])

    def covered(self, recorder: str, start_ms: int, end_ms: int, *, min_overlap_ms: int) -> Cells:
        """Return the cells of windows that a span equals, or shares at least ``min_overlap_ms`` with."""
        usable = self.usable(self.recorders.index(recorder))
        begin_ms = self._usable_starts_ms(self.recorders.index(recorder))
        shared_ms = np.minimum(begin_ms + self.grid.window_ms, end_ms) - np.maximum(begin_ms, start_ms)
        is_equal = (begin_ms == start_ms) & (end_ms - start_ms == self.grid.window_ms)
        found: Cells = usable[(shared_ms >= min_overlap_ms) | is_equal]
        return found

    def digest_of(self, recorder: str, cell: int) -> str:
        """Return the digest of a window's codes, from the ledger; nothing for windows of imported vectors."""
        if self.vectors is not None:
            return ""
        day = self.grid.day_of(cell)
        if (recorder, day) not in self._digests:
            entries = self.run.ledger.day(recorder, day).values()
            self._digests[recorder, day] = {
                number: digest for entry in entries for number, digest in zip(entry.cells, entry.digests, strict=True)
            }
        return self._digests[recorder, day][cell]

    def recording_of(
        self, recorder: str, start_ms: int, end_ms: int, *, most_beyond_s: float = math.inf
    ) -> tuple[str, float]:
        """Return the recording that a span begins in, and the seconds after its start.

        Raises
        ------
        ValueError
            If the recorder has no recording of that time, or more than ``most_beyond_s`` of the span is not recorded.
        """
        if recorder not in self._recordings:
            self._recordings[recorder] = recordings_table(self.cube, recorder)
        found = pieces(self._recordings[recorder], start_ms, end_ms)
        if not found:
            raise ValueError(f"recorder {recorder!r} has no recording from {iso(start_ms)} to {iso(end_ms)}")
        recorded_s = sum((one.last_sample - one.first_sample) / one.sample_rate_hz for one in found)
        beyond_s = (end_ms - start_ms) / 1000 - recorded_s
        if beyond_s > most_beyond_s:
            raise ValueError(
                f"{recorder!r} from {iso(start_ms)} to {iso(end_ms)} lies {beyond_s:.1f} s outside of {found[0].path}"
            )
        first = found[0]
        return first.path, round((first.first_sample - first.at_sample) / first.sample_rate_hz, 3)

    def batch(self, name: str) -> Batch:
        """Return a batch of the lake; raises as :func:`lake.batches.read_batch`."""
        if name not in self._batches:
            self._batches[name] = read_batch(self.run.lake, name)
        return self._batches[name]

    def of_batch(self, name: str) -> "Windows":
        """Return the windows that a batch asks about; these, if the lake has no such batch."""
        if name not in batch_names(self.run.lake):
            return self
        if name not in self._others:
            self._others[name] = self.open_others(self.batch(name))
        return self._others[name] or self

    def recorder_of(self, name: str) -> str:
        """Return the recorder that is called so; raises ValueError with the nearest names."""
        try:
            return resolve_recorder(name, self.recorders)
        except InputError as error:
            raise ValueError(f"recorder {name!r} is not in the cube; {near_or_all(name, self.recorders)}") from error


def open_windows(manifest: Manifest, name: str | None = None, vectors: Run | None = None) -> Windows:
    """Open the windows of a study.

    Parameters
    ----------
    manifest
        The study's.
    name
        Its run of spectrograms; may be left out if there is but one.
    vectors
        Imported vectors whose windows are meant; ``None`` for the cube's.

    Raises
    ------
    InputError
        If the manifest has no such run, or several and none is named.
    StoreError
        If its store is not readable.
    """
    known = {run.name: run for run in manifest.runs.values() if run.kind == "spectrograms"}
    if name is not None and name not in known:
        raise InputError(f"--cube {name}: expected a run of spectrograms; {near_or_all(name, known)}.")
    if name is None and len(known) != 1:
        listed = ", ".join(known) or "none"
        raise InputError(f"{manifest.path}: expected one run of spectrograms, found {listed}; name one with --cube.")
    run = known[name or next(iter(known))]
    cube = open_cube(run.output.url)
    others = partial(windows_of_batch, manifest, name)
    if vectors is None:
        return Windows(run, cube, grid_of(cube), recorder_names(cube), open_others=others)
    store = open_embeddings(vectors.output.url)
    return Windows(run, cube, grid_of(store), recorder_names(cube), vectors, store, offsets_ms_of(store), others)


def windows_of_batch(manifest: Manifest, cube: str | None, batch: Batch) -> Windows | None:
    """Return the windows of imported vectors that a batch asks about; ``None`` if it asks about the cube's.

    Raises
    ------
    InputError
        If the manifest has no such run any more.
    """
    asked = batch.asked.get("reads", {}).get(VECTORS_ROLE)
    if asked is None:
        return None
    run = manifest.runs.get(asked["run"])
    if run is None or not run.output.exists("zarr.json"):
        raise InputError(
            f"batch {batch.name!r} asks about windows of the vectors {asked['run']!r}, which the study does not have."
        )
    return open_windows(manifest, cube, run)
