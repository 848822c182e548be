"""Clips to train other programs with: names of their files, and the table that says what is in them."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lake.exports.collection import Collection
from lake.heard import TOLERANCE_MS
from lake.layout import safe_name
from lake.sounds import SPEECH
from lake.verdicts import settled

TABLE: Final = "clips.csv"
SUFFIX: Final = ".wav"
COLUMNS = (
    "file", "start_time", "end_time", "label", "scientific_name", "recorder", "start_utc", "site", "recording",
    "offset_s", "probability", "verdict", "present", "absent",
)  # fmt: skip
"""Of the table. ``start_time`` and ``end_time`` are seconds in the clip, which is all of the span; ``present`` and
``absent`` are the sounds that people heard in it, and did not hear though they were asked, joined by ``; ``."""
BACKGROUND: Final = "background"
"""Folder of clips without a sound: BirdNET-Analyzer takes it for one of no class."""
JOINT: Final = "; "


def clips_of(collection: Collection, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each span whose recording is known, with the name of its clip in ``file``.

    The name is ``<sound>/<recorder>_<start>_<seconds>.wav``: programs that take a folder a class find the classes so.
    Spans without a sound are in :data:`BACKGROUND`.

    Parameters
    ----------
    collection
        What is exported.
    verdicts
        As :func:`lake.verdicts.read_verdicts` gives them, for ``present`` and ``absent``.
    """
    spans = collection.in_recordings()
    length_s = (spans["end_utc"] - spans["start_utc"]).dt.total_seconds()
    times = spans["start_utc"].dt.strftime("%Y%m%dT%H%M%S%f").str[:-3] + "Z"
    files = [
        f"{_folder(sound)}/{safe_name(recorder, 200)}_{time}_{length:g}{SUFFIX}"
        for sound, recorder, time, length in zip(spans["sound"], spans["recorder"], times, length_s, strict=True)
    ]
    return spans.assign(
        file=files, start_time=0.0, end_time=length_s, label=spans["sound"], offset_s=spans["start_s"],
        scientific_name=spans["sound"].map(collection.scientific_name), **_answers(spans, verdicts),
    )  # fmt: skip


def _folder(sound: str) -> str:
    return safe_name(sound, 200).replace("%20", " ") if sound else BACKGROUND


def _answers(spans: pd.DataFrame, verdicts: pd.DataFrame) -> dict[str, list[str]]:
    """Return what people said of all sounds in each span, as the columns ``present`` and ``absent``.

    A sound is present if a span of ``yes`` lies within, and absent if spans of ``no`` cover the whole and none of
    ``yes`` lies within. Where reviewers differ it is neither.
    """
    holds = settled(verdicts)
    holds = holds[holds["sound"] != SPEECH]
    begin = _ms(holds["time_utc"])
    holds = holds.assign(begin=begin, end=begin + np.rint(holds["duration_s"].to_numpy(np.float64) * 1000))
    by_recorder = dict(iter(holds.sort_values("begin", kind="stable").groupby("recorder")))
    heard: dict[str, list[str]] = {"present": [], "absent": []}
    for recorder, first, last in zip(spans["recorder"], _ms(spans["start_utc"]), _ms(spans["end_utc"]), strict=True):
        present, absent = set[str](), set[str]()
        if recorder in by_recorder:
            near = _sharing(by_recorder[recorder], first, last)
            is_within = (near["begin"] >= first - TOLERANCE_MS) & (near["end"] <= last + TOLERANCE_MS)
            present = set(near.loc[is_within & (near["verdict"] == "yes"), "sound"])
            absent = set(_covering(near[near["verdict"] == "no"], first, last)) - present
        heard["present"].append(JOINT.join(sorted(present)))
        heard["absent"].append(JOINT.join(sorted(absent)))
    return heard


def _sharing(mine: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """Return the spans of a recorder, which are sorted by their beginning, that share time with a span."""
    begin, end = mine["begin"].to_numpy(), mine["end"].to_numpy()
    longest = float((end - begin).max())
    among = slice(int(np.searchsorted(begin, first - longest)), int(np.searchsorted(begin, last)))
    near = mine.iloc[among]
    return near[near["end"] > first]


def _covering(said_no: pd.DataFrame, first: int, last: int) -> Iterator[str]:
    """Yield the sounds whose spans, sorted by their beginning, leave no gap from the first to the last millisecond."""
    for sound, mine in said_no.groupby("sound"):
        reached = first
        for begin, end in zip(mine["begin"], mine["end"], strict=True):
            if begin <= reached + TOLERANCE_MS:
                reached = max(reached, end)
        if reached >= last - TOLERANCE_MS:
            yield str(sound)


def _ms(times: "pd.Series[pd.Timestamp]") -> NDArray[np.int64]:
    return times.to_numpy().astype("datetime64[ms]").astype(np.int64)
