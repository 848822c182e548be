"""Which windows of the vectors were judged, and how: verdicts on spans of sound to rows of vectors."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jobs.common.run import Run
from jobs.learn.config import Config, Group
from jobs.learn.core import Examples
from jobs.learn.measures import Bools, Ints
from lake.constants import OFFSET_ARRAY, UNTIMED
from lake.errors import InputError
from lake.layout import Lake
from lake.read import Windows, open_cube, open_embeddings, recorder_names, values_at
from lake.vectors import VectorSets
from lake.verdicts import read_verdicts, settled

N_DAYS = 3
"""Days that both yes and no must be from to be held out day by day."""
TOLERANCE_MS = 1


@dataclass(frozen=True)
class Judged:
    """What holds of the lake's verdicts, and which windows they are of.

    Attributes
    ----------
    table
        As :func:`lake.verdicts.settled` gives it, with ``window``: the number of the window, -1 where the vectors have
        none.
    windows
        All windows of the vectors.
    """

    table: pd.DataFrame
    windows: Windows


def read_judged(lake: Lake, sets: VectorSets, name: str) -> Judged:
    """Return the lake's verdicts with the windows of the vectors that they are of.

    Raises
    ------
    InputError
        If there are no verdicts, or none is of a window of the vectors.
    """
    verdicts = read_verdicts(lake)
    if verdicts.empty:
        raise InputError(
            f"run {name!r}: expected verdicts in the lake, found none. Bring some in: `dawnchorus verdicts add "
            "MANIFEST FILE`."
        )
    windows = Windows(
        np.concatenate([np.full(len(span.cells), span.recorder, dtype=np.int32) for span in sets.spans]),
        np.concatenate([span.cells for span in sets.spans]),
    )
    table = settled(verdicts)
    table["window"] = _windows_of(table, sets, windows)
    if not (table["window"] >= 0).any():
        grid = sets.grid
        spans = ", ".join(f"{s:g} s" for s in sorted(set(table["duration_s"]))[:3])
        raise InputError(
            f"run {name!r}: none of {len(table)} verdicts (on spans of {spans}) is of a window of the vectors, which "
            f"have {len(windows)} windows of {grid.window_ms / 1000:g} s every {grid.hop_ms / 1000:g} s of "
            f"{', '.join(sets.recorders[:5])}. Name vectors of the windows that were judged."
        )
    return Judged(table, windows)


def _windows_of(table: pd.DataFrame, sets: VectorSets, windows: Windows) -> Ints:
    """Return the number of the window that each verdict's span equals, -1 where there is none."""
    grid, numbers = sets.grid, {name: i for i, name in enumerate(sets.recorders)}
    begin = windows.cell * grid.hop_ms
    with open_embeddings(sets.urls[0]) as dataset:
        if OFFSET_ARRAY in dataset:
            begin = begin + np.rint(values_at(dataset, OFFSET_ARRAY, windows.recorder, windows.cell) * 1000).astype(int)
    room = grid.n_cells * grid.hop_ms + grid.window_ms + 1  # so that recorders stay apart
    keys = windows.recorder.astype(np.int64) * room + begin
    recorder = table["recorder"].map(numbers).fillna(-1).to_numpy().astype(np.int64)
    wanted_ms = table["time_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64) - grid.origin_ms
    wanted = recorder * room + wanted_ms
    near = np.clip(np.searchsorted(keys, wanted - TOLERANCE_MS), 0, len(keys) - 1)
    length_ms = np.rint(table["duration_s"].to_numpy() * 1000)
    is_there = (np.abs(keys[near] - wanted) <= TOLERANCE_MS) & (recorder >= 0) & (wanted_ms >= 0)
    is_there &= np.abs(length_ms - grid.window_ms) <= TOLERANCE_MS
    found: Ints = np.where(is_there, near, -1)
    return found


def draw_unlabelled(judged: Judged, config: Config) -> Ints:
    """Return the numbers of windows that nobody judged, drawn at random, sorted; the same for all sounds."""
    n_windows = len(judged.windows)
    known = np.unique(judged.table["window"].to_numpy())
    n_drawn = min(n_windows, config.n_unlabelled + len(known))
    drawn = np.random.default_rng([config.seed, 0]).choice(n_windows, n_drawn, replace=False)
    free = drawn[~np.isin(drawn, known)][: config.n_unlabelled]
    return np.sort(free).astype(np.int64)


@dataclass(frozen=True)
class Groups:
    """What windows are held out with: the number of the recording and day, and of the day, of each; shape (n,)."""

    recording: Ints
    day: Ints
    file: Ints


def groups_of(run: Run[Config], sets: VectorSets, judged: Judged, numbers: Ints) -> Groups:
    """Return the groups of windows; a recorder without times has no days, its recordings stand for them."""
    windows = judged.windows.take(numbers)
    day = windows.cell // sets.grid.cells_per_day
    file = _files(run, sets, windows)
    recorder = windows.recorder.astype(np.int64)
    recording = _numbered(recorder, file, day)
    is_untimed = np.array([name.startswith(UNTIMED) for name in sets.recorders])[recorder]
    by_day = np.where(is_untimed, recording + sets.grid.n_cells, day)
    return Groups(recording, _numbered(by_day), _numbered(recorder, file))


def examples_of(
    table: pd.DataFrame, numbers: Ints, unlabelled: Ints, groups: Groups, config: Config
) -> tuple[Examples, str]:
    """Return what is known of one sound, and what its windows are held out by.

    Parameters
    ----------
    table
        Its rows of :class:`Judged`.
    numbers, groups
        Of the windows whose vectors were read, sorted.
    unlabelled
        The numbers of windows that nobody judged.
    """
    held = table[(table["window"] >= 0) & table["verdict"].isin(["yes", "no"])].sort_values("window")
    windows = np.concatenate([held["window"].to_numpy(), unlabelled]).astype(np.int64)
    rows = np.searchsorted(numbers, windows)
    is_heard = np.arange(len(windows)) < len(held)
    is_yes = np.concatenate([(held["verdict"] == "yes").to_numpy(), np.zeros(len(unlabelled), dtype=np.bool_)])
    group = held_out_by(groups.day[rows], is_yes, is_heard, config.group)
    found = groups.day if group == "day" else groups.recording
    return Examples(rows, is_yes, is_heard, found[rows], groups.file[rows]), group


def held_out_by(days: Ints, is_yes: Bools, is_heard: Bools, group: Group = "auto") -> Group:
    """Return what is held out together, ``day`` or ``recording``; 'auto': a day where both kinds have enough of them.

    Parameters
    ----------
    days
        Number of the day of each window, shape (n_windows,).
    is_yes, is_heard
        As :class:`jobs.learn.core.Examples` has them.
    group
        The setting.
    """
    if group != "auto":
        return group
    n_days = [len(np.unique(days[is_heard & kind])) for kind in (is_yes, ~is_yes)]
    return "day" if min(n_days) >= N_DAYS else "recording"


def _files(run: Run[Config], sets: VectorSets, windows: Windows) -> Ints:
    """Return the number of the recording of each window in the cube; -1 where no cube is at hand."""
    cube = next((one for one in run.above() if one.kind == "spectrograms" and one.output.exists("zarr.json")), None)
    if cube is None:
        return np.full(len(windows), -1, dtype=np.int64)
    with open_cube(cube.output.url) as dataset:
        known: Mapping[str, int] = {name: i for i, name in enumerate(recorder_names(dataset))}
        places = np.array([known.get(name, -1) for name in sets.recorders])[windows.recorder]
        hop_ms, origin_ms = dataset.attrs["grid"]["hop_ms"], dataset.attrs["grid"]["origin_ms"]
        cells = (windows.cell * sets.grid.hop_ms + sets.grid.origin_ms - origin_ms) // hop_ms
        return values_at(dataset, "recording", places, cells).astype(np.int64)


def _numbered(*columns: Ints) -> Ints:
    """Return the number, from 0, of each distinct row of some columns."""
    if not len(columns[0]):
        return np.empty(0, dtype=np.int64)
    return np.unique(np.stack(columns), axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)
