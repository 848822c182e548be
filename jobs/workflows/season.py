"""The demo's season table: windows drawn for a count, the truth answers, and the table is compared with it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.common.labels.intervals import Labels
from jobs.common.run import Options
from jobs.demo.reviewer import REVIEWER, answers_to, sounds_in
from jobs.review.ask import Request, choose_batch
from jobs.review.command import add
from jobs.review.deliver import Given
from jobs.review.windows import open_windows
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import Manifest
from jobs.runner.state import finished
from jobs.workflows.loop import detector_runs, learn_and_detect
from jobs.workflows.rehearsal import ANSWERS, n_heard_by_truth, truth_of
from lake.batch_files import batch_names
from lake.counting.periods import SEASON
from lake.counting.study import Windows, windows_of
from lake.outputs import write_outputs
from lake.query.select import open_any
from lake.read import Windows as Places

Say = Callable[[str], None]
RUN: Final = "counts"
ORDER: Final = "count"
N_DRAWN: Final = 160
"""Windows heard for the count, besides those that the detectors learnt from."""
LEAST: Final = 20
"""True windows from which on a cell is compared."""


def count_season(manifest: Manifest, workers: int, say: Say) -> list[str]:
    """Answer a draw for a count from the truth, count, and return lines that compare the table with the truth.

    Parameters
    ----------
    manifest
        The demo's, whose detectors are done, and whose labels are the truth. A draw that was heard is not drawn again.
    workers
        Processes that work side by side.
    say
        Called with one line for each step.
    """
    run, options = manifest.runs[RUN], Options(workers=workers)
    runs, truth = detector_runs(manifest), truth_of(run)
    if finished(runs[1]) is None:
        return ["counted    nothing: there are no detections"]
    is_heard = any(name.startswith(f"{ORDER}-") for name in batch_names(run.lake))
    if not is_heard:
        say(_hear(manifest, truth))
        learn_and_detect(manifest, runs, options, say)
    execute_runs(manifest, [RUN], options, (lambda _: None) if is_heard else say)  # said with the others before
    table = Path(run.output.url) / "counts.csv"
    true = true_counts(run.inputs["spectrograms"].output.url, truth)
    return [compared(pd.read_csv(table), true), f"table      {table}"]


def _hear(manifest: Manifest, truth: Labels) -> str:
    """Draw windows for a count and let the truth answer; at most half of those that nobody heard."""
    windows = open_windows(manifest)
    n_usable = sum(len(windows.usable(i)) for i in range(len(windows.recorders)))
    n_left = n_usable - n_heard_by_truth(windows.run.lake)
    batch = choose_batch(manifest, Request(ORDER, min(N_DRAWN, n_left // 2)), "dawnchorus demo").batch
    key = f"{batch.name}_{REVIEWER}.csv"
    answers = {key: answers_to(batch, truth, windows.recorders, windows.grid)}
    write_outputs(manifest.path.parent / ANSWERS, answers, option="--folder")
    done = add(manifest, [manifest.path.parent / ANSWERS / key], Given(now=datetime.now(UTC)))
    return f"heard: {len(batch.table)} windows ({ORDER}), {done.delivery.n_added} verdicts added"


def true_counts(cube_url: str, truth: Labels) -> pd.Series:
    """Return how many windows of each sound and site hold it, by the truth."""
    with open_any(cube_url) as cube:
        windows = windows_of(cube)
    present = present_in(windows, truth)
    site = windows.table["site"].to_numpy()
    found: pd.Series = pd.concat(
        {sound: pd.Series(present[:, i]).groupby(site).sum() for i, sound in enumerate(truth.names)}
    )
    return found


def present_in(windows: Windows, truth: Labels) -> NDArray[np.bool_]:
    """Return whether each sound is in each window that is counted."""
    places = Places(windows.table["i_recorder"].to_numpy(np.int32), windows.table["cell"].to_numpy(np.int64))
    return sounds_in(truth, places, windows.recorders, windows.grid)


def compared(counts: pd.DataFrame, true: pd.Series) -> str:
    """Return a line on how many intervals hold the truth, of sounds and sites with windows enough."""
    season = counts[counts["kind"] == SEASON].set_index(["sound", "site"])
    n_true = true.reindex(season.index).fillna(0)
    some, n_some = season[n_true >= LEAST], n_true[n_true >= LEAST]
    n_heard = int(season["n_heard"].groupby("sound").sum().max())
    said = f"counted    {len(season)} cells of sound and site from {n_heard} windows heard"
    if some.empty:
        return said
    n_held = int(((some["low"] <= n_some) & (n_some <= some["high"])).sum())
    width = float(((some["high"] - some["low"]) / 2 / n_some).median())
    return f"{said}; {n_held} of {len(some)} intervals hold the truth, median half-width {width:.2f} of it"
