"""Clips to train other programs with: names of their files, and the table that says what is in them."""

from typing import Final

import pandas as pd

from lake.exports.collection import Collection
from lake.layout import safe_name

TABLE: Final = "clips.csv"
SUFFIX: Final = ".wav"
COLUMNS = (
    "file", "start_time", "end_time", "label", "scientific_name", "recorder", "start_utc", "site", "recording",
    "offset_s", "probability", "verdict",
)  # fmt: skip
"""Of the table. ``start_time`` and ``end_time`` are seconds in the clip, which is all of the span."""


def clips_of(collection: Collection) -> pd.DataFrame:
    """Return one row for each span whose recording is known, with the name of its clip in ``file``.

    The name is ``<sound>/<recorder>_<start>_<seconds>.wav``: programs that take a folder a class find the classes so.
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
        scientific_name=spans["sound"].map(collection.scientific_name),
    )  # fmt: skip


def _folder(sound: str) -> str:
    return safe_name(sound, 200).replace("%20", " ")
