"""Facts of the page of a sound: figures of its detector, counts, clusters, and pictures of when it is heard."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.atlas.config import Config
from jobs.atlas.describe import put
from jobs.atlas.facts import Figures, Members, Sound
from jobs.atlas.judged import Judged, key_of
from jobs.atlas.shown import Shown
from jobs.atlas.windows import Table
from jobs.common.counts import counts_of
from jobs.common.heads import TABLE_FILE
from jobs.common.phenology import pictures
from jobs.common.run import Run
from lake.counting.study import Windows, windows_of
from lake.escapes import as_written
from lake.heard import shares_speech
from lake.held import read_held
from lake.query.phenology import RULE, Marks, answered, phenologies, scored
from lake.query.select import open_any
from lake.verdicts import read_verdicts

SEASON: Final = "season"
"""Kind of the counts that a sound's page lists."""

Pictures = Mapping[str, tuple[Sequence[str], str]]
"""Files and what they show, by sound."""


def sound_facts(
    run: Run[Config], pages: Iterable[tuple[Judged, Sequence[Shown], Mapping[str, float]]], folder: Path, *,
    table: Table, ids: Sequence[int], members: Members,
) -> list[Sound]:  # fmt: skip
    """Return what is said of each sound, and write its pictures of local hour by date.

    Parameters
    ----------
    run
        Of the atlas. Its detections and counts may be missing.
    pages
        For each sound what is known of its windows, those that are shown, and the gain of each one's sound by tag.
    folder
        Pictures are put below ``sounds`` in it.
    table, ids, members
        The windows, the number of each cluster, and the columns of all windows.
    """
    drawn = sound_pictures(run, folder)
    figures, counts = dict(_figures(run)), counts_of(run.inputs["counts"]) if "counts" in run.inputs else None
    made = []
    for one, shown, clips in pages:
        keys, found_in = drawn.get(one.sound, ((), ""))
        cluster = np.asarray(ids)[table.cluster[one.rows]]
        columns = {name: values[one.rows] for name, values in members.columns.items()}
        columns |= {"cluster": cluster, "probability": one.probability, "verdict": one.verdict.astype(np.int64)}
        made.append(
            Sound(
                sound=one.sound, key=one.key, n_spans=one.n_spans, found_in=found_in, pictures=keys,
                figures=figures.get(one.sound), counts=_by_site(counts, one.sound), clusters=_clusters(one, cluster),
                shown=shown, clips=clips, columns=columns, n_found=one.n_found,
            )
        )  # fmt: skip
    return made


def sound_pictures(run: Run[Config], folder: Path) -> Pictures:
    """Draw each sound that a detector finds, or that people heard where the atlas reads no detections.

    Parameters
    ----------
    run, folder
        As for :func:`sound_facts`.

    Returns
    -------
    Mapping
        Nothing if there are neither detections nor verdicts, or no window has a local time.
    """
    verdicts = read_verdicts(run.lake)
    if "detections" not in run.inputs and verdicts.empty:
        return {}
    cube = open_any(run.inputs["spectrograms"].output.url)
    windows = windows_of(cube)
    start_ms = windows.table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    is_open = ~shares_speech(verdicts, windows.table["recorder"], start_ms, start_ms + windows.grid.window_ms)
    counts = counts_of(run.inputs["counts"]) if "counts" in run.inputs else None
    marks, of = _marks(run, windows), "windows recorded" if "detections" in run.inputs else "windows heard"
    made = {}
    for sound, (has, is_there) in marks.items():
        found = list(
            phenologies(sound, windows, has=has & is_open, is_there=is_there & is_open, cube=cube, counts=counts)
        )
        if not any(one.found.any() for one in found):
            continue
        keys = []
        for number, data in enumerate(pictures(found, of), 1):
            keys.append(f"sounds/{key_of(sound)}-{number}.png")
            put(folder, keys[-1], data)
        n, n_all = sum(int(one.found.sum()) for one in found), sum(int(one.effort.sum()) for one in found)
        made[sound] = (tuple(keys), f"{n} of {n_all} {of}")
    return made


def _marks(run: Run[Config], windows: Windows) -> Marks:
    if "detections" not in run.inputs:
        return answered(read_verdicts(run.lake), windows)
    with open_any(run.inputs["detections"].output.url) as scores:
        return scored(scores, windows, RULE)[0]


def _clusters(one: Judged, cluster: NDArray[Any]) -> list[tuple[int, int, int]]:
    """Return the clusters that have windows with a sound, most first."""
    has = one.is_found | one.is_yes
    found = [
        (int(number), int((one.is_found & (cluster == number)).sum()), int((one.is_yes & (cluster == number)).sum()))
        for number in np.unique(cluster[has])
    ]
    return sorted(found, key=lambda row: (-row[1], -row[2], row[0]))


def _by_site(counts: pd.DataFrame | None, sound: str) -> list[Mapping[str, Any]]:
    if counts is None:
        return []
    mine = counts[(counts["sound"] == sound) & (counts["kind"] == SEASON)]
    return [{str(name): value for name, value in row.items()} for row in mine.to_dict("records")]


def _figures(run: Run[Config]) -> Iterator[tuple[str, Figures]]:
    """Yield what each detector is like; the intervals are those of its heads, unless they were learnt again since."""
    if "detections" not in run.inputs:
        return
    detections = run.inputs["detections"]
    heads = detections.inputs.get("heads")
    data = None if heads is None else read_held(heads.output.url, TABLE_FILE)
    table = pd.DataFrame(columns=["sound"]) if data is None else pd.read_csv(io.BytesIO(data), dtype={"sound": str})
    rows = {as_written(row["sound"]): row for row in table.to_dict("records")}
    with open_any(detections.output.url) as scores:
        for i, sound in enumerate(scores["sound"].to_numpy()):
            threshold, precise, average = (
                float(scores[f"detector_{name}"].to_numpy()[i])
                for name in ("best_f1", "precision", "average_precision")
            )
            row = rows.get(str(sound), {})
            if not np.isclose(float(row.get("threshold_best_f1", np.nan)), threshold, rtol=1e-4, equal_nan=True):
                row = {}
            flags = row.get("flags")
            yield str(sound), Figures(
                threshold, float(row.get("best_f1", np.nan)), _between(row, "threshold_precision", precise),
                float(row.get("precision", np.nan)), _between(row, "average_precision", average),
                flags.replace("_", " ") if isinstance(flags, str) else "",
            )  # fmt: skip


def _between(row: Mapping[Any, Any], name: str, value: float) -> tuple[float, float, float]:
    return value, float(row.get(f"{name}_low", np.nan)), float(row.get(f"{name}_high", np.nan))
