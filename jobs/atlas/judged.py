"""Scores and verdicts of each sound in the clustered windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from jobs.atlas.choose import least
from jobs.atlas.config import Config
from jobs.atlas.shown import Kind, Pick
from jobs.atlas.study import Stores
from jobs.atlas.windows import Table
from jobs.common.counts import counts_of
from jobs.common.run import Run
from lake.digest import sha256
from lake.heard import shares_speech, windows_heard
from lake.query.across import cells_in, offsets_ms_of
from lake.query.events import thresholds_of
from lake.query.phenology import RULE
from lake.query.select import open_any
from lake.read import Windows, recorder_names, values_at
from lake.sounds import SPEECH
from lake.verdicts import read_verdicts, settled

VERDICTS: Final = ("", "yes", "no", "unsure")
"""Values of the column ``verdict``; the first is of windows that nobody heard."""
MOST_LISTED: Final = 20_000
"""Windows of one sound on its page: those that were heard, and of the others the most probable."""
LAST: Final = 1e30
"""Key of a window without a score: after all others."""

Scores = tuple[NDArray[np.float32], NDArray[np.float32], float]
"""Score and probability of each clustered window, NaN without one, and the threshold of best F1, NaN without one."""


@dataclass(frozen=True)
class Judged:
    """One sound in the clustered windows.

    Attributes
    ----------
    sound, key
        Its name, and the name of its files: the same for a name in every atlas.
    n_spans
        Spans that people answered yes, no and unsure, without those that share time with speech.
    rows
        Rows of its windows in the table, ascending, shape (n,): those that people heard for it, and those that score
        at or above the threshold.
    verdict, probability, is_found
        Of these windows, shape (n,): place in :data:`VERDICTS`; NaN without a score; whether they reach the threshold.
    best, verified
        Rows to be shown: by score, highest first; and of those that people answered yes.
    n_found
        Windows of the table that reach the threshold.
    """

    sound: str
    key: str
    n_spans: tuple[int, int, int]
    rows: NDArray[np.int64]
    verdict: NDArray[np.int8]
    probability: NDArray[np.float32]
    is_found: NDArray[np.bool_]
    best: Sequence[int]
    verified: Sequence[int]
    n_found: int

    @property
    def is_yes(self) -> NDArray[np.bool_]:
        """Return which of its windows people answered yes, shape (n,)."""
        return np.asarray(self.verdict == VERDICTS.index("yes"), dtype=np.bool_)

    def said_of(self, row: int) -> str:
        """Return in words what is known of a window that is shown."""
        at = np.searchsorted(self.rows, row)
        verdict, probability = VERDICTS[self.verdict[at]], float(self.probability[at])
        words = [f"probability {probability:.2g}"] if np.isfinite(probability) else []
        return ", ".join([*words, f"people said {verdict}" if verdict else "not heard yet"])


def key_of(sound: str) -> str:
    """Return the name of a sound's files: letters and digits alone, the same in every atlas."""
    return f"s{sha256(sound.encode('utf-8', 'surrogatepass'))[:16]}"


def judge(run: Run[Config], stores: Stores, table: Table, withheld: NDArray[np.bool_]) -> list[Judged]:
    """Return the sounds that have verdicts, detections or counts, by name; never speech, nor a window of it.

    Parameters
    ----------
    run
        Of the atlas. Its detections and counts may be missing.
    stores, table
        The clustering and its windows.
    withheld
        Which windows share time with speech, shape (n_windows,).
    """
    verdicts = read_verdicts(run.lake)
    spans = settled(verdicts)
    begin_ms = spans["time_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    end_ms = begin_ms + np.rint(spans["duration_s"].to_numpy(np.float64) * 1000).astype(np.int64)
    spans = spans[~shares_speech(verdicts, spans["recorder"], begin_ms, end_ms)]
    heard = windows_heard(spans, stores.grid, list(stores.recorders), offsets_ms=offsets_ms_of(stores.clusters))
    place = table.recorder.astype(np.int64) * stores.grid.n_cells + table.cell
    at = heard["i_recorder"].to_numpy(np.int64) * stores.grid.n_cells + heard["cell"].to_numpy(np.int64)
    row = np.minimum(np.searchsorted(place, at), len(place) - 1)
    heard = heard.assign(row=row)[place[row] == at]
    scores = open_any(run.inputs["detections"].output.url) if "detections" in run.inputs else None
    scored = set() if scores is None else {str(name) for name in scores["sound"].to_numpy()}
    where = None if scores is None else _in_scores(stores, table, scores)
    return [
        _judged(
            sound,
            spans[spans["sound"] == sound],
            heard[heard["sound"] == sound],
            _scores(scores if sound in scored else None, where, sound, len(table)),
            table=table,
            withheld=withheld,
            hop_ms=stores.grid.hop_ms,
            n=run.config.n_exemplars,
        )
        for sound in sounds_of(run, spans)
    ]


def sounds_of(run: Run[Config], verdicts: pd.DataFrame) -> list[str]:
    """Return the sounds that have verdicts, detections or counts, by name; never speech."""
    named = set(verdicts["sound"])
    if "detections" in run.inputs:
        named |= {str(name) for name in open_any(run.inputs["detections"].output.url)["sound"].to_numpy()}
    if "counts" in run.inputs:
        named |= set(counts_of(run.inputs["counts"])["sound"])
    return sorted(named - {SPEECH})


def picks_of(judged: Judged, table: Table) -> list[Pick]:
    """Return the windows to show on a sound's page."""
    shown: tuple[tuple[Kind, Sequence[int]], ...] = (("best", judged.best), ("verified", judged.verified))
    return [
        Pick(
            kind, int(table.cluster[row]), place, int(table.recorder[row]), int(table.cell[row]),
            said=judged.said_of(row),
        )
        for kind, rows in shown
        for place, row in enumerate(rows)
    ]  # fmt: skip


def _judged(
    sound: str, spans: pd.DataFrame, heard: pd.DataFrame, scores: Scores, *, table: Table,
    withheld: NDArray[np.bool_], hop_ms: int, n: int,
) -> Judged:  # fmt: skip
    score, probability, threshold = scores
    verdict = np.zeros(len(table), dtype=np.int8)
    verdict[heard["row"]] = [VERDICTS.index(one) for one in heard["verdict"]]
    with np.errstate(invalid="ignore"):
        is_found = (score >= threshold) & ~withheld
    key = np.where(np.isfinite(score), -score, LAST)
    is_scored = np.isfinite(score) & ~withheld
    best = least(key, np.flatnonzero(is_scored), table, hop_ms=hop_ms, n=n)
    is_yes = (verdict == VERDICTS.index("yes")) & ~withheld
    verified = least(key, np.flatnonzero(is_yes), table, hop_ms=hop_ms, n=n, taken=best)
    rows = np.flatnonzero(((verdict > 0) | is_found) & ~withheld)
    order = np.lexsort((key[rows], verdict[rows] == 0))
    rows = np.union1d(rows[order[:MOST_LISTED]], [*best, *verified]).astype(np.int64)
    n_spans = [int((spans["verdict"] == one).sum()) for one in VERDICTS[1:]]
    return Judged(
        sound, key_of(sound), (n_spans[0], n_spans[1], n_spans[2]), rows, verdict[rows], probability[rows],
        is_found[rows], best, verified, int(is_found.sum()),
    )  # fmt: skip


def _in_scores(stores: Stores, table: Table, scores: xr.Dataset) -> Windows:
    """Return where the scores of the clustered windows are; cell -1 where there are none."""
    windows, names = Windows(table.recorder, table.cell), recorder_names(scores)
    rows = np.array([names.index(name) if name in names else -1 for name in stores.recorders])[table.recorder]
    cells = np.full(len(table), -1, dtype=np.int64)
    known = np.flatnonzero(rows >= 0)
    starts_ms = stores.starts_ms(windows)[known]
    cells[known] = cells_in(scores, rows[known], starts_ms, stores.grid.window_ms)
    return Windows(rows.astype(np.int32), cells)


def _scores(scores: xr.Dataset | None, where: Windows | None, sound: str, n: int) -> Scores:
    none = np.full(n, np.nan, dtype=np.float32)
    if scores is None or where is None:
        return none, none, np.nan
    threshold, _ = thresholds_of(scores, RULE, [sound])
    mine = scores.isel(sound=[str(name) for name in scores["sound"].to_numpy()].index(sound))
    score, probability = (
        values_at(mine, name, where.recorder, where.cell, np.nan) for name in ("score", "probability")
    )
    return score, probability, threshold.get(sound, np.nan)
