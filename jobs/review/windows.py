"""The windows of a study: which exist, what recording each is of, and its digest."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.common.run import Run
from jobs.manifest import Manifest
from lake.batches import Batch, read_batch
from lake.errors import InputError
from lake.grid import Grid, iso
from lake.query import resolve_recorder
from lake.read import grid_of, open_cube, usable_windows
from lake.text import near_or_all
from lake.trace import pieces, recordings_table

Cells = NDArray[np.int64]


@dataclass
class Windows:
    """The windows of one cube.

    Attributes
    ----------
    run
        The run that made it.
    cube
        Its store, opened.
    grid, recorders
        Its axes.
    """

    run: Run
    cube: xr.Dataset
    grid: Grid
    recorders: list[str]
    _usable: dict[int, Cells] = field(default_factory=dict)
    _digests: dict[tuple[str, str], Mapping[int, str]] = field(default_factory=dict)
    _recordings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _batches: dict[str, Batch] = field(default_factory=dict)

    def cell_of(self, recorder: str, start_ms: int) -> int:
        """Return the cell of the window of a recorder that begins at an instant, milliseconds since 1970.

        Raises
        ------
        ValueError
            If there is no such window; with the nearest.
        """
        i = self.recorders.index(recorder)
        usable = self.usable(i)
        cell, rest = divmod(start_ms - self.grid.origin_ms, self.grid.hop_ms)
        at = int(np.searchsorted(usable, cell))
        if not rest and at < len(usable) and usable[at] == cell:
            return int(cell)
        near = usable[max(0, at - 1) : at + 1]
        if not len(near):
            raise ValueError(f"recorder {recorder!r} has no windows")
        closest = min((self.grid.start_ms(int(one)) for one in near), key=lambda ms: abs(ms - start_ms))
        raise ValueError(f"recorder {recorder!r} has no window at {iso(start_ms)}; the nearest is at {iso(closest)}")

    def usable(self, i_recorder: int) -> Cells:
        """Return the cells of a recorder that have sound, in order."""
        if not self._usable:
            found = usable_windows(self.cube)
            edges = np.searchsorted(found.recorder, np.arange(len(self.recorders) + 1))
            self._usable = {i: found.cell[edges[i] : edges[i + 1]] for i in range(len(self.recorders))}
        return self._usable[i_recorder]

    def covered(self, recorder: str, start_ms: int, end_ms: int, *, min_overlap_ms: int) -> Cells:
        """Return the cells of windows that a span equals, or shares at least ``min_overlap_ms`` with."""
        usable = self.usable(self.recorders.index(recorder))
        begin_ms = self.grid.origin_ms + usable * self.grid.hop_ms
        shared_ms = np.minimum(begin_ms + self.grid.window_ms, end_ms) - np.maximum(begin_ms, start_ms)
        is_equal = (begin_ms == start_ms) & (end_ms - start_ms == self.grid.window_ms)
        found: Cells = usable[(shared_ms >= min_overlap_ms) | is_equal]
        return found

    def digest_of(self, recorder: str, cell: int) -> str:
        """Return the digest of a window's codes, from the ledger."""
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

    def recorder_of(self, name: str) -> str:
        """Return the recorder that is called so; raises ValueError with the nearest names."""
        try:
            return resolve_recorder(name, self.recorders)
        except InputError as error:
            raise ValueError(f"recorder {name!r} is not in the cube; {near_or_all(name, self.recorders)}") from error


def open_windows(manifest: Manifest, name: str | None = None) -> Windows:
    """Open the windows of a study.

    Parameters
    ----------
    manifest
        The study's.
    name
        Its run of spectrograms; may be left out if there is but one.

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
    return Windows(run, cube, grid_of(cube), [str(one) for one in cube["recorder"].to_numpy()])
