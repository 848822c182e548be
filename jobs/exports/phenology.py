"""When the sounds of a study are heard: by a detector above a threshold, or by what people answered."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from jobs.common.counts import COUNTS_FILE, counts_of
from jobs.exports.choice import Choice
from jobs.exports.command import Study
from lake.counting.study import Windows, windows_of
from lake.heard import shares_speech
from lake.query.phenology import RULE, Marks, Phenology, answered, phenologies, scored, wanted_windows


@dataclass(frozen=True)
class Pictured:
    """The phenology of each sound by site, and what the shares are of."""

    by_sound: dict[str, list[Phenology]]
    of: str


def phenology_of(study: Study, choice: Choice) -> Pictured:
    """Return when each sound is heard at each site.

    With detections and without ``--verified``, a window holds the sound if it scores at or above the threshold; else it
    does if people say yes, of the windows that they answered yes or no. Windows of speech have no part.
    """
    windows = windows_of(study.cube)
    table = windows.table
    start_ms = table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    is_speech = shares_speech(study.verdicts, table["recorder"], start_ms, start_ms + windows.grid.window_ms)
    there = wanted_windows(windows, choice.wanted) & ~is_speech
    counts = _counts(study)
    by_sound: dict[str, list[Phenology]] = {}
    is_scored = study.detections is not None and not choice.is_verified
    for sound, (has, is_effort) in _each(study, choice, windows, is_scored=is_scored).items():
        found = list(phenologies(sound, windows, has=has, is_there=is_effort & there, cube=study.cube, counts=counts))
        if any(one.found.any() for one in found):
            by_sound[sound] = found
        else:
            study.notes.append(f"{sound!r} has no picture: no window of it was found")
    return Pictured(by_sound, "windows recorded" if is_scored else "windows heard")


def _each(study: Study, choice: Choice, windows: Windows, *, is_scored: bool) -> Marks:
    scores = study.scores()
    if not is_scored or scores is None:
        return answered(study.verdicts, windows, choice.sounds)
    rule = choice.threshold or RULE
    each, without = scored(scores, windows, rule, choice.sounds)
    if without:
        study.notes.append(f"no threshold {rule!r} for {', '.join(without)}: they have no picture")
    return each


def _counts(study: Study) -> pd.DataFrame | None:
    """Return the table of the study's only finished run of counts, if there is one."""
    runs = [run for run in study.manifest.runs.values() if run.job == "count" and run.output.exists(COUNTS_FILE)]
    if len(runs) != 1:
        if runs:
            study.notes.append(f"pictures show no intervals: the manifest has {len(runs)} runs of counts")
        return None
    return counts_of(runs[0])
