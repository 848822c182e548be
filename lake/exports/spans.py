"""Spans of named sound, from verdicts and from detectors, and where each of them is."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.constants import OFFSET_UNKNOWN_S
from lake.heard import MIN_OVERLAP_MS
from lake.query.find import reached
from lake.query.places import RecordingsOf
from lake.read import Windows, grid_of, recorder_names
from lake.sounds import SPEECH
from lake.verdicts import SPAN, last_decisions, settled

NAMED = ("sound", "recorder", "start_utc", "end_utc", "probability", "verdict", "reviewers", "decided_at")
"""Columns of a span before its place is joined."""
COLUMNS = (
    "sound", "recorder", "start_utc", "end_utc", "start_local", "recording", "start_s", "end_s", "deployment", "site",
    "latitude", "longitude", "probability", "verdict", "reviewers", "decided_at",
)  # fmt: skip
"""Columns of a table of spans, and of its CSV; times are UTC but for ``start_local``."""


def verified_spans(verdicts: pd.DataFrame, sounds: Sequence[str] = ()) -> pd.DataFrame:
    """Return the spans that people verified: all reviewers say ``yes``.

    Parameters
    ----------
    verdicts
        As :func:`lake.verdicts.read_verdicts` gives them.
    sounds
        Only these; all if empty. Speech is never among them.

    Returns
    -------
    pandas.DataFrame
        The columns :data:`NAMED`, by sound, recorder and start; ``reviewers`` are joined by ``; ``, and ``decided_at``
        is the last of their decisions.
    """
    holds = settled(verdicts)
    holds = holds[(holds["verdict"] == "yes") & (holds["sound"] != SPEECH)]
    if sounds:
        holds = holds[holds["sound"].isin(sounds)]
    last = last_decisions(verdicts)
    groups = last[last["verdict"] == "yes"].groupby([*SPAN, "sound"], sort=False)
    who = pd.DataFrame({"reviewers": groups["reviewer"].agg("; ".join), "decided_at": groups["decided_at"].max()})
    found = holds.merge(who.reset_index(), on=[*SPAN, "sound"], how="left", validate="one_to_one")
    length = pd.to_timedelta(found["duration_s"], unit="s")
    table = found.rename(columns={"time_utc": "start_utc"}).assign(
        end_utc=(found["time_utc"] + length).astype("datetime64[ms]"), probability=np.nan
    )
    return table.sort_values(["sound", "recorder", "start_utc"], kind="stable", ignore_index=True)[list(NAMED)]


def negative_spans(verdicts: pd.DataFrame, sounds: Sequence[str] = ()) -> pd.DataFrame:
    """Return the spans in which people heard none of the sounds that they were asked about.

    Parameters
    ----------
    verdicts, sounds
        As for :func:`verified_spans`. With sounds, what people said of others does not matter.

    Returns
    -------
    pandas.DataFrame
        The columns :data:`NAMED`, by recorder and start; ``sound`` is empty, ``verdict`` is ``no``. Every answer that
        holds for a span is ``no``: a span with a ``yes`` or an ``unsure`` is not here.
    """
    last = last_decisions(verdicts)
    last = last[(last["sound"] != SPEECH) & (last["sound"].isin(sounds) if sounds else True)]
    groups = last.groupby(SPAN, sort=True)
    found = pd.DataFrame({
        "is_no": groups["verdict"].agg(lambda said: bool((said == "no").all())),
        "reviewers": groups["reviewer"].agg(lambda who: "; ".join(sorted(set(who)))),
        "decided_at": groups["decided_at"].max(),
    }).reset_index()  # fmt: skip
    found = found[found["is_no"].astype(bool)].rename(columns={"time_utc": "start_utc"}).reset_index(drop=True)
    end = (found["start_utc"] + pd.to_timedelta(found["duration_s"], unit="s")).astype("datetime64[ms]")
    return found.assign(sound="", end_utc=end, probability=np.nan, verdict="no")[list(NAMED)]


def detected_spans(events: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the events of detectors with what people said of them.

    Parameters
    ----------
    events
        As :func:`lake.query.events.find_events` gives them.
    verdicts
        As :func:`lake.verdicts.read_verdicts` gives them.

    Returns
    -------
    pandas.DataFrame
        The columns :data:`NAMED`. ``verdict`` is ``yes`` where a ``yes`` of the sound shares half a second with the
        event, else ``unsure`` where an ``unsure`` does, ``no`` where verdicts of ``no`` cover the whole event, and
        empty where nobody said enough of it. ``probability`` is the highest of its windows.
    """
    table = events.rename(columns={"highest_probability": "probability"})[list(NAMED[:5])]
    table = table.assign(verdict="", reviewers="", decided_at=pd.Series(pd.NaT, table.index, dtype="datetime64[ms]"))
    last = last_decisions(verdicts)
    holds = settled(verdicts)
    said = dict(iter(holds.groupby(["recorder", "sound"])))
    who = dict(iter(last.groupby(["recorder", "sound"])))
    for key, mine in table.groupby(["recorder", "sound"]):
        if key not in said:
            continue
        for i, begin, end in zip(mine.index, mine["start_utc"], mine["end_utc"], strict=True):
            verdict = _verdict(said[key], begin, end)
            near = _overlapping(who[key], begin, end)
            near = near[near["verdict"] == verdict]
            table.loc[i, "verdict"] = verdict
            if len(near):
                table.loc[i, "reviewers"] = "; ".join(sorted(set(near["reviewer"])))
                table.loc[i, "decided_at"] = near["decided_at"].max()
    return table.sort_values(["sound", "recorder", "start_utc"], kind="stable", ignore_index=True)


def _overlapping(spans: pd.DataFrame, begin: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    stop = spans["time_utc"] + pd.to_timedelta(spans["duration_s"], unit="s")
    begins = spans["time_utc"]
    shared = stop.where(stop < end, end) - begins.where(begins > begin, begin)
    near: pd.DataFrame = spans.assign(shared=shared, stop=stop)[shared > pd.Timedelta(0)]
    return near


def _verdict(holds: pd.DataFrame, begin: pd.Timestamp, end: pd.Timestamp) -> str:
    near = _overlapping(holds, begin, end)
    enough = near[near["shared"] >= pd.Timedelta(MIN_OVERLAP_MS, "ms")]
    for verdict in ("yes", "unsure"):
        if (enough["verdict"] == verdict).any():
            return verdict
    reached_to = begin
    for row in near[near["verdict"] == "no"].sort_values("time_utc").to_dict("records"):
        if row["time_utc"] > reached_to:
            break
        reached_to = max(reached_to, row["stop"])
    return "no" if reached_to >= end else ""


def placed(spans: pd.DataFrame, cube: xr.Dataset) -> pd.DataFrame:
    """Return spans with their recording, local time, deployment and position.

    Parameters
    ----------
    spans
        With the columns :data:`NAMED`.
    cube
        Opened as numbers (:func:`lake.query.select.open_any`).

    Returns
    -------
    pandas.DataFrame
        The columns :data:`COLUMNS`. ``start_s`` and ``end_s`` are seconds in the recording that the span begins in; a
        span across a join lasts, there, as long as it does in all. What is not known is empty, NaN or NaT: the
        recording where the cube has none of that time.
    """
    grid, names = grid_of(cube), recorder_names(cube)
    start_ms, end_ms = (
        spans[name].to_numpy().astype("datetime64[ms]").astype(np.int64) for name in ("start_utc", "end_utc")
    )
    numbers = {name: i for i, name in enumerate(names)}
    recorder = np.array([numbers.get(name, -1) for name in spans["recorder"]], dtype=np.int32)
    windows = Windows(recorder, (start_ms - grid.origin_ms) // grid.hop_ms)
    recordings = {name: RecordingsOf(cube, name) for name in spans["recorder"].unique()}
    places = [
        recordings[name].ends(int(begin), int(end))
        for name, begin, end in zip(spans["recorder"], start_ms, end_ms, strict=True)
    ]
    begins = np.array([place[1] for place in places], dtype=np.float64)
    in_one = np.array([place[0] == place[2] for place in places], dtype=np.bool_)
    offset_s = reached(cube, "utc_offset_s", windows, OFFSET_UNKNOWN_S)
    local = (start_ms + offset_s * 1000).astype("datetime64[ms]")
    deployment = reached(cube, "deployment", windows, -1)

    def of_deployment(name: str, missing: object) -> NDArray[np.object_]:
        values = np.array([*cube.variables[name].to_numpy().tolist(), missing], dtype=object)
        return np.asarray(values[deployment])

    table = spans.assign(
        start_local=np.where(offset_s == OFFSET_UNKNOWN_S, np.datetime64("NaT", "ms"), local),
        recording=[place[0] for place in places],
        start_s=begins,
        end_s=np.where(in_one, [place[3] for place in places], np.round(begins + (end_ms - start_ms) / 1000, 6)),
        deployment=of_deployment("deployment_name", ""),
        site=of_deployment("site", ""),
        latitude=of_deployment("latitude", np.nan).astype(np.float64),
        longitude=of_deployment("longitude", np.nan).astype(np.float64),
    )
    return table[list(COLUMNS)].reset_index(drop=True)


def rounded(table: pd.DataFrame, decimals: int | None) -> pd.DataFrame:
    """Return a table whose latitudes and longitudes have so many decimals; ``None`` leaves them as they are."""
    if decimals is None:
        return table
    return table.assign(**{name: table[name].round(decimals) for name in ("latitude", "longitude")})
