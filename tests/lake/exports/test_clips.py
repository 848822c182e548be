"""Sounds that are present and absent in the table of clips."""

from pathlib import Path

import pandas as pd
import pytest
from exports import collection_of
from judging import judge

from lake.exports.clips import BACKGROUND, clips_of
from lake.layout import Lake
from lake.sounds import SPEECH
from lake.verdicts import read_verdicts

START = pd.Timestamp("2021-06-01")


def clip_of(lake: Path, start_s: float, length_s: float, sound: str = "wren") -> dict[str, object]:
    """Return the row of a clip of the recorder ``north``."""
    begin = START + pd.Timedelta(start_s, "s")
    row = {"sound": sound, "recorder": "north", "start_utc": begin, "end_utc": begin + pd.Timedelta(length_s, "s")}
    (found,) = clips_of(collection_of([row]), read_verdicts(Lake(str(lake)))).to_dict("records")
    return {str(key): value for key, value in found.items()}


@pytest.mark.parametrize(
    ("start_s", "length_s", "present", "absent"),
    [
        (0, 6, "frog; wren", "owl"),
        (0, 12, "frog; wren", "owl"),  # two windows, of which the owl is in neither
        (6, 6, "", "owl; wren"),
        (3, 6, "", "owl"),  # the half of a window with a frog may be without it
        (12, 6, "", ""),  # nobody is sure
        (18, 6, "", ""),  # nobody heard it
        (6, 8, "", ""),
    ],
)
def test_sounds_are_present_or_absent_or_not_known(
    tmp_path: Path, start_s: float, length_s: float, present: str, absent: str
) -> None:
    judge(tmp_path, [("north", 0, "wren", "yes"), ("north", 0, "frog", "yes"), ("north", 0, "owl", "no"),
                     ("north", 6000, "owl", "no"), ("north", 6000, "wren", "no"), ("north", 12_000, "owl", "unsure"),
                     ("north", 0, SPEECH, "no"), ("south", 18_000, "owl", "no")])  # fmt: skip
    clip = clip_of(tmp_path, start_s, length_s)
    assert (clip["present"], clip["absent"]) == (present, absent)


def test_where_reviewers_differ_a_sound_is_neither(tmp_path: Path) -> None:
    for reviewer, verdict in (("Ana", "yes"), ("Ben", "no")):
        judge(tmp_path, [("north", 0, "wren", verdict)], reviewer=reviewer)
    assert [clip_of(tmp_path, 0, 6)[key] for key in ("present", "absent")] == ["", ""]


def test_a_span_without_a_sound_goes_to_the_background(tmp_path: Path) -> None:
    clip = clip_of(tmp_path, 0, 6, sound="")
    assert str(clip["file"]).split("/")[0] == BACKGROUND
    assert clip["label"] == clip["scientific_name"] == ""
