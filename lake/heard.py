"""Match verdicts to the windows of a cube: spans that equal a window, or cover it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lake.grid import Grid
from lake.sounds import SPEECH
from lake.verdicts import last_decisions

OffsetsMs = Callable[[NDArray[np.integer[Any]], NDArray[np.integer[Any]]], NDArray[np.int64]]
"""From recorder numbers and cells, shape (n,), to the start of each one's sound after the start of its cell."""
MIN_OVERLAP_MS = 500
"""Milliseconds that a span of ``yes`` must share with a window to count for it."""
TOLERANCE_MS = 1
"""A span equals a window that begins, and is as long, within so much: times are rounded to milliseconds."""
_EQUAL = -1
_RANK = {"yes": 0, "unsure": 1, "no": 2}


def windows_heard(
    found: pd.DataFrame,
    grid: Grid,
    recorders: list[str],
    *,
    min_overlap_ms: int = MIN_OVERLAP_MS,
    offsets_ms: OffsetsMs | None = None,
) -> pd.DataFrame:
    """Return what holds of each window and sound.

    Parameters
    ----------
    found
        As :func:`lake.verdicts.settled` gives them.
    grid, recorders
        Of the cube.
    min_overlap_ms
        See :data:`MIN_OVERLAP_MS`.
    offsets_ms
        Of windows that do not begin with their cells: those of imported vectors, half a hop away at most.

    Returns
    -------
    DataFrame
        ``i_recorder``, ``cell``, ``sound`` and ``verdict``, one row for each window and sound, by recorder and time;
        see :func:`counted` and :func:`decided`.
    """
    kept = counted(found, grid, recorders, min_overlap_ms=min_overlap_ms, offsets_ms=offsets_ms)
    return decided(kept)[["i_recorder", "cell", "sound", "verdict"]]


def counted(
    found: pd.DataFrame, grid: Grid, recorders: list[str], *, min_overlap_ms: int = MIN_OVERLAP_MS,
    offsets_ms: OffsetsMs | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return for which windows each verdict counts.

    Parameters
    ----------
    found, grid, recorders, min_overlap_ms, offsets_ms
        As for :func:`windows_heard`.

    Returns
    -------
    DataFrame
        ``row`` of the verdict, ``i_recorder``, ``cell``, ``sound``, ``verdict``, and ``is_equal``: whether the span is
        the window. A span that equals a window is of that window alone, since the sound may be anywhere in it. Of other
        spans ``yes`` counts for windows that it shares enough with, ``no`` and ``unsure`` for those that lie wholly
        within.
    """
    near = _touched(found, grid, recorders, offsets_ms)
    near["verdict"] = found["verdict"].to_numpy()[near["row"]]
    near["sound"] = found["sound"].to_numpy()[near["row"]]
    is_window = near["is_equal"].groupby(near["row"]).transform("any")
    is_yes = (near["verdict"] == "yes") & (near["shared_ms"] >= min_overlap_ms)
    kept = near["is_equal"] | (~is_window & (is_yes | (near["shared_ms"] == grid.window_ms)))
    return near.loc[kept, ["row", "i_recorder", "cell", "sound", "verdict", "is_equal"]]


def decided(kept: pd.DataFrame) -> pd.DataFrame:
    """Return one row of :func:`counted` for each window and sound, by recorder and time.

    The verdict on the window itself decides; of several on other spans ``yes`` is first and ``no`` is last.
    """
    rank = kept["verdict"].map(_RANK).astype("int64").where(~kept["is_equal"], _EQUAL)
    ordered = kept.assign(rank=rank).sort_values(["i_recorder", "cell", "sound", "rank"], kind="stable")
    best = ordered.drop_duplicates(["i_recorder", "cell", "sound"])
    return best.drop(columns="rank").reset_index(drop=True)


def windows_touching(
    spans: pd.DataFrame, grid: Grid, recorders: list[str], offsets_ms: OffsetsMs | None = None
) -> pd.DataFrame:
    """Return ``i_recorder`` and ``cell`` of the windows that share any time with spans, each window once."""
    return _touched(spans, grid, recorders, offsets_ms)[["i_recorder", "cell"]].drop_duplicates(ignore_index=True)


def windows_of_speech(
    verdicts: pd.DataFrame, grid: Grid, recorders: list[str], offsets_ms: OffsetsMs | None = None
) -> pd.DataFrame:
    """Return ``i_recorder`` and ``cell`` of the windows that share time with what any reviewer last said is speech.

    Parameters
    ----------
    verdicts
        As :func:`lake.verdicts.read_verdicts` gives them.
    grid, recorders
        Of the cube.
    offsets_ms
        See :func:`windows_heard`.
    """
    last = last_decisions(verdicts)
    speech = last[(last["sound"] == SPEECH) & (last["verdict"] == "yes")]
    return windows_touching(speech, grid, recorders, offsets_ms)


def speech_note(n: int) -> str:
    """Return what to say of windows that are left out."""
    return f"windows that people marked as speech are left out: {n}."


def shares_speech(
    verdicts: pd.DataFrame, recorder: pd.Series, start_ms: NDArray[np.int64], end_ms: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which spans share time with what any reviewer last said is speech.

    Parameters
    ----------
    verdicts
        As :func:`lake.verdicts.read_verdicts` gives them.
    recorder, start_ms, end_ms
        The spans, milliseconds since 1970, shape (n,).
    """
    last = last_decisions(verdicts)
    speech = last[(last["sound"] == SPEECH) & (last["verdict"] == "yes")]
    begins_ms = speech["time_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    ends_ms = begins_ms + np.rint(speech["duration_s"].to_numpy(dtype=np.float64) * 1000).astype(np.int64)
    shares = np.zeros(len(start_ms), dtype=np.bool_)
    for name, begin_ms, until_ms in zip(speech["recorder"], begins_ms, ends_ms, strict=True):
        shares |= (recorder == name).to_numpy() & (start_ms < until_ms) & (end_ms > begin_ms)
    return shares


def _touched(spans: pd.DataFrame, grid: Grid, recorders: list[str], offsets_ms: OffsetsMs | None) -> pd.DataFrame:
    """Return the cells that each span shares time with, how much, and whether it equals the cell's window."""
    places = {name: i for i, name in enumerate(recorders)}
    numbers = np.asarray(spans["recorder"].map(places).fillna(-1).to_numpy(), dtype=np.int64)
    start_ms = spans["time_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64) - grid.origin_ms
    end_ms = start_ms + np.rint(spans["duration_s"].to_numpy(dtype=np.float64) * 1000).astype(np.int64)
    reach = 0 if offsets_ms is None else 1
    first = np.maximum((start_ms - grid.window_ms) // grid.hop_ms + 1 - reach, 0)
    last = np.minimum(-(-end_ms // grid.hop_ms) + reach, grid.n_cells)
    n = np.where(numbers >= 0, np.maximum(last - first, 0), 0)
    row = np.repeat(np.arange(len(n)), n)
    cell = np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n) + first[row]
    begin_ms = cell * grid.hop_ms
    if offsets_ms is not None:
        begin_ms = begin_ms + offsets_ms(numbers[row], cell)
    shared_ms = np.minimum(begin_ms + grid.window_ms, end_ms[row]) - np.maximum(begin_ms, start_ms[row])
    length_ms = end_ms[row] - start_ms[row]
    is_equal = (np.abs(begin_ms - start_ms[row]) <= TOLERANCE_MS) & (np.abs(length_ms - grid.window_ms) <= TOLERANCE_MS)
    shared_ms = np.where(is_equal, grid.window_ms, shared_ms)
    found = {"row": row, "i_recorder": numbers[row], "cell": cell, "shared_ms": shared_ms, "is_equal": is_equal}
    kept = shared_ms > 0
    return pd.DataFrame({name: values[kept] for name, values in found.items()})
