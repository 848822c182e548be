"""Pictures of when each sound of a study is heard, beside its clusters."""

from pathlib import Path

import numpy as np

from jobs.atlas.config import Config
from jobs.atlas.describe import put
from jobs.atlas.facts import SoundPictures
from jobs.common.counts import counts_of
from jobs.common.phenology import pictures
from jobs.common.run import Run
from lake.counting.study import Windows, windows_of
from lake.heard import shares_speech
from lake.layout import safe_name
from lake.query.phenology import RULE, Marks, answered, phenologies, scored
from lake.query.select import open_any
from lake.verdicts import read_verdicts


def sound_pictures(run: Run[Config], folder: Path) -> list[SoundPictures]:
    """Draw each sound that a detector finds, or that people heard where the atlas reads no detections.

    Parameters
    ----------
    run
        Of the atlas. Its detections and counts may be missing.
    folder
        Pictures are put below ``sounds`` in it.

    Returns
    -------
    list
        The sounds by name; none if there are neither detections nor verdicts, or no window has a local time.
    """
    verdicts = read_verdicts(run.lake)
    if "detections" not in run.inputs and verdicts.empty:
        return []
    cube = open_any(run.inputs["spectrograms"].output.url)
    windows = windows_of(cube)
    start_ms = windows.table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    is_open = ~shares_speech(verdicts, windows.table["recorder"], start_ms, start_ms + windows.grid.window_ms)
    counts = counts_of(run.inputs["counts"]) if "counts" in run.inputs else None
    marks, of = _marks(run, windows), "windows recorded" if "detections" in run.inputs else "windows heard"
    made = []
    for sound, (has, is_there) in marks.items():
        found = list(
            phenologies(sound, windows, has=has & is_open, is_there=is_there & is_open, cube=cube, counts=counts)
        )
        if not any(one.found.any() for one in found):
            continue
        keys = []
        for number, data in enumerate(pictures(found, of), 1):
            keys.append(f"sounds/{safe_name(sound, 200)}-{number}.png")
            put(folder, keys[-1], data)
        n, n_all = sum(int(one.found.sum()) for one in found), sum(int(one.effort.sum()) for one in found)
        made.append(SoundPictures(sound, tuple(keys), f"{n} of {n_all} {of}"))
    return made


def _marks(run: Run[Config], windows: Windows) -> Marks:
    if "detections" not in run.inputs:
        return answered(read_verdicts(run.lake), windows)
    with open_any(run.inputs["detections"].output.url) as scores:
        return scored(scores, windows, RULE)[0]
