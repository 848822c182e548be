"""Events: windows in which a detector scores high, joined where they are neighbours in time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.errors import InputError, UsageError
from lake.query.across import starts_of
from lake.query.places import RecordingsOf
from lake.read import grid_of, recorder_names, usable_windows, values_at
from lake.text import near_or_all

COLUMNS = (
    "recorder", "sound", "start_utc", "end_utc", "highest_probability", "mean_probability", "n_windows",
    "start_recording", "start_s", "end_recording", "end_s",
)  # fmt: skip
RULES = {"best-f1": "detector_best_f1", "precision": "detector_precision"}
"""Table of the store with the threshold that a rule takes."""


@dataclass(frozen=True)
class Joining:
    """Rules for joining windows: the longest silence within one event, and its least length, in seconds."""

    gap_s: float = 0.0
    min_length_s: float = 0.0


def thresholds_of(detections: xr.Dataset, rule: str, sounds: Sequence[str] = ()) -> tuple[dict[str, float], list[str]]:
    """Return the score from which on a window counts, by sound, and the sounds that have none.

    Parameters
    ----------
    detections
        A store of detections, opened as numbers.
    rule
        ``best-f1``, ``precision``, or a probability as text: then the threshold is a probability too.
    sounds
        Only these; all if empty.

    Raises
    ------
    UsageError
        If the rule is none of these.
    InputError
        If the store has no such sound.
    """
    known = [str(name) for name in detections["sound"].to_numpy()]
    unknown = [name for name in sounds if name not in known]
    if unknown:
        raise InputError(f"sound {unknown[0]!r} is not in the store; {near_or_all(unknown[0], known)}.")
    wanted = [*dict.fromkeys(sounds)] or known
    if rule in RULES:
        values = dict(zip(known, detections[RULES[rule]].to_numpy().tolist(), strict=True))
    else:
        values = dict.fromkeys(known, _probability(rule))
    found = {name: values[name] for name in wanted if np.isfinite(values[name])}
    return found, [name for name in wanted if name not in found]


def find_events(
    detections: xr.Dataset,
    cube: xr.Dataset | None,
    rule: str,
    *,
    sounds: Sequence[str] = (),
    joining: Joining | None = None,
) -> pd.DataFrame:
    """Return the events of a store of detections.

    Parameters
    ----------
    detections, cube
        Opened as numbers (:func:`lake.query.select.open_any`); without a cube recordings are empty.
    rule, sounds
        As for :func:`thresholds_of`.
    joining
        How windows are joined; without, those that touch or overlap.

    Returns
    -------
    pandas.DataFrame
        The columns :data:`COLUMNS`, by recorder, sound and start. The offsets ``start_s`` and ``end_s`` are in the
        recordings that the event begins and ends in, seconds after their start.
    """
    joining = joining or Joining()
    chosen, _ = thresholds_of(detections, rule, sounds)
    known = [str(name) for name in detections["sound"].to_numpy()]
    grid = grid_of(detections)
    windows = usable_windows(detections, status="detection_status")
    all_starts_ms = starts_of(detections, windows)
    by = "score" if rule in RULES else "probability"
    rows = []
    for i, recorder in enumerate(recorder_names(detections)):
        recordings = RecordingsOf(cube, recorder)
        is_mine = np.flatnonzero(windows.recorder == i)
        mine = windows.take(is_mine)
        for sound in sorted(chosen):
            of_sound = detections.isel(sound=known.index(sound))
            is_event = values_at(of_sound, by, mine.recorder, mine.cell) >= chosen[sound]
            if not is_event.any():
                continue
            cells = mine.cell[is_event]
            p = values_at(of_sound, "probability", mine.recorder[is_event], cells).astype(np.float64)
            starts_ms = all_starts_ms[is_mine][is_event]
            for first, last in joined(starts_ms, grid.window_ms, joining):
                begin_ms, end_ms = int(starts_ms[first]), int(starts_ms[last - 1]) + grid.window_ms
                part = p[first:last]
                rows.append((recorder, sound, begin_ms, end_ms, part.max(), part.mean(), last - first,
                             *recordings.ends(begin_ms, end_ms)))  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in ("start_utc", "end_utc"):
        table[name] = table[name].to_numpy(dtype=np.int64).astype("datetime64[ms]")
    return table


def joined(starts_ms: NDArray[np.int64], window_ms: int, joining: Joining) -> Iterator[tuple[int, int]]:
    """Yield the first and one past the last number of the windows of each event; starts are sorted."""
    if not len(starts_ms):
        return
    apart = np.diff(starts_ms) - window_ms > round(joining.gap_s * 1000)
    cuts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(starts_ms)]
    for first, last in pairwise(cuts):
        if starts_ms[last - 1] + window_ms - starts_ms[first] >= joining.min_length_s * 1000:
            yield first, last


def in_recordings(table: pd.DataFrame) -> pd.DataFrame:
    """Return events as rows of one recording each, for Raven and Audacity, without those of no recording.

    Parameters
    ----------
    table
        As :func:`find_events` returns it.

    Returns
    -------
    pandas.DataFrame
        With ``recording``, ``start_s``, ``end_s``, ``label`` and ``probability``, the highest of the event. An event
        across a join lasts, in the first recording, as long as it does in all.
    """
    length_s = (table["end_utc"] - table["start_utc"]).dt.total_seconds()
    same = table["start_recording"] == table["end_recording"]
    end_s = table["end_s"].where(same, table["start_s"] + length_s)
    rows = table.assign(
        recording=table["start_recording"], end_s=end_s, label=table["sound"], probability=table["highest_probability"]
    )
    return rows[table["start_recording"] != ""]


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise UsageError(f"--threshold {text!r}: expected best-f1, precision, or a probability from 0 to 1.")
    return value
