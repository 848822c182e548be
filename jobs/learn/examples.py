"""Which windows of the vectors were judged, and how: verdicts on spans of sound to rows of vectors."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jobs.common.run import Run
from jobs.learn.config import Config, Group
from jobs.learn.core import Examples
from jobs.learn.measures import Bools, Ints
from lake.constants import UNTIMED
from lake.errors import InputError
from lake.heard import counted, decided
from lake.layout import Lake
from lake.query.across import offsets_ms_of
from lake.read import Windows, open_cube, open_embeddings, recorder_names, values_at
from lake.vectors import VectorSets
from lake.verdicts import read_verdicts, settled

N_DAYS = 3
"""Days that both yes and no must be from to be held out day by day."""


@dataclass(frozen=True)
class Judged:
    """Verdicts of the lake that hold, and the windows that they apply to.

    Attributes
    ----------
    spans
        As :func:`lake.verdicts.settled` gives them, with ``has_window``: whether a window of the vectors counts for it.
    table
        ``sound``, ``window`` and ``verdict``: what holds of each window and sound, see :func:`lake.heard.counted`.
    windows
        All windows of the vectors.
    """

    spans: pd.DataFrame
    table: pd.DataFrame
    windows: Windows


def read_judged(lake: Lake, sets: VectorSets, name: str) -> Judged:
    """Return the lake's verdicts with the windows of the vectors that they are of.

    Raises
    ------
    InputError
        If there are no verdicts, or none counts for a window of the vectors.
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
    spans = settled(verdicts)
    with open_embeddings(sets.urls[0]) as dataset:
        kept = counted(spans, sets.grid, list(sets.recorders), offsets_ms=offsets_ms_of(dataset))
    kept["window"] = _numbers(windows, kept, sets)
    kept = kept[kept["window"] >= 0]
    spans["has_window"] = np.isin(np.arange(len(spans)), kept["row"])
    if kept.empty:
        grid = sets.grid
        lengths = ", ".join(f"{s:g} s" for s in sorted(set(spans["duration_s"]))[:3])
        raise InputError(
            f"run {name!r}: none of {len(spans)} verdicts (on spans of {lengths}) is of a window of the vectors, which "
            f"have {len(windows)} windows of {grid.window_ms / 1000:g} s every {grid.hop_ms / 1000:g} s of "
            f"{', '.join(sets.recorders[:5])}. Name vectors of the windows that were judged."
        )
    return Judged(spans, decided(kept)[["sound", "window", "verdict"]], windows)


def _numbers(windows: Windows, kept: pd.DataFrame, sets: VectorSets) -> Ints:
    """Return the number of the window in each row's cell, -1 where the vectors have none there."""
    keys = windows.recorder.astype(np.int64) * sets.grid.n_cells + windows.cell
    wanted = kept["i_recorder"].to_numpy(np.int64) * sets.grid.n_cells + kept["cell"].to_numpy(np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


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
    """Groups in which windows are held out: numbers of recording and day, of day, and of file; arrays of shape (n,)."""

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
        Its rows of ``table`` in :class:`Judged`.
    numbers, groups
        Of the windows whose vectors were read, sorted.
    unlabelled
        The numbers of windows that nobody judged.
    """
    held = table[table["verdict"].isin(["yes", "no"])].sort_values("window")
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
