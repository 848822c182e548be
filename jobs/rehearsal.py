"""The demo's loop of listening: the truth answers in place of a person, and the detectors are compared with it."""

from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.common.labels import Labels, read_labels
from jobs.common.run import Options, Run
from jobs.demo.reviewer import REVIEWER, answers_to, sounds_in
from jobs.learn.measures import ranking
from jobs.loop import Say, detector_runs, learn_and_detect, rows_of, summary
from jobs.manifest import Manifest
from jobs.review.ask import Request, choose_batch
from jobs.review.command import add
from jobs.review.deliver import Given
from jobs.review.windows import Windows, open_windows
from lake.errors import InputError
from lake.heard import windows_heard
from lake.layout import Lake
from lake.outputs import write_outputs
from lake.read import open_detections, usable_windows, values_at
from lake.sounds import FILE as SOUNDS_FILE
from lake.verdicts import SPAN, read_verdicts, settled

BATCHES: Final = (20, 20)
"""Windows of each batch that is heard."""
ORDER: Final = "far"
ANSWERS: Final = "answers"
"""Folder of the tables that a page would have given."""


def rehearse(manifest: Manifest, workers: int, say: Say) -> list[str]:
    """Hear :data:`BATCHES`, learn after each, and return lines on what came of it; what was heard is not heard again.

    Parameters
    ----------
    manifest
        The demo's, whose spectrograms, vectors and clusters are done, and whose labels are the truth.
    workers
        Processes that work side by side.
    say
        Called with one line for each step.
    """
    folder, runs = manifest.path.parent, detector_runs(manifest)
    truth = truth_of(runs[0])
    if not (folder / SOUNDS_FILE).exists():
        text = "\n".join(["sound", *truth.names, ""])
        write_outputs(folder, {SOUNDS_FILE: text.encode()}, option="--folder")
    windows, options = open_windows(manifest), Options(workers=workers)
    n_heard, until = n_heard_by_truth(windows.run.lake), np.cumsum(BATCHES).tolist()
    learnt = None
    for n_wanted in until:
        if n_heard < n_wanted:
            asked = choose_batch(manifest, Request(ORDER, n_wanted - n_heard), "dawnchorus demo")
            table = answers_to(asked.batch, truth, windows.recorders, windows.grid)
            key = f"{asked.batch.name}_{REVIEWER}.csv"
            write_outputs(folder / ANSWERS, {key: table}, option="--folder")
            done = add(manifest, [folder / ANSWERS / key], Given(now=datetime.now(UTC)))
            say(f"heard: {len(asked.batch.table)} windows ({ORDER}), {done.delivery.n_added} verdicts added")
            n_heard = n_wanted
            learnt = learn_and_detect(manifest, runs, options, say)
    learnt = learnt or learn_and_detect(manifest, runs, options, lambda _: None)
    rows = rows_of(learnt, truth.names, settled(read_verdicts(windows.run.lake)))
    value, n_rest = unheard_macro_ap(windows, runs[1], truth)
    n_sounds = sum(row["yes"] > 0 for row in rows)
    told = f"heard      {n_sounds} sounds from {n_heard} windows heard, macro AP {value:.2f} in {n_rest} others"
    return ["", *summary(learnt, rows), "", told]


def truth_of(run: Run) -> Labels:
    """Return the labels of a run's study, which say what is to be heard; ``InputError`` if it has none."""
    if run.labels is None:
        raise InputError(f"run {run.name!r}: expected a manifest with `labels`, the truth that answers; found none.")
    return read_labels(run.labels)


def n_heard_by_truth(lake: Lake) -> int:
    """Return how many windows the truth answered for."""
    verdicts = read_verdicts(lake)
    return len(verdicts[verdicts["reviewer"] == REVIEWER].drop_duplicates(SPAN))


def unheard_macro_ap(windows: Windows, detections: Run, truth: Labels) -> tuple[float, int]:
    """Return the macro average precision of detectors over the windows without a verdict, and their number.

    A sound without a detector scores all windows alike.
    """
    usable = usable_windows(windows.cube)
    heard = windows_heard(settled(read_verdicts(windows.run.lake)), windows.grid, windows.recorders)
    key = usable.recorder.astype(np.int64) * windows.grid.n_cells + usable.cell
    taken = heard["i_recorder"].to_numpy(np.int64) * windows.grid.n_cells + heard["cell"].to_numpy(np.int64)
    rest = usable.take(np.flatnonzero(~np.isin(key, taken)))
    present = sounds_in(truth, rest, windows.recorders, windows.grid)
    with open_detections(detections.output.url, times=False) as store:
        known = [str(sound) for sound in store["sound"].to_numpy()]
        found = []
        for i, sound in enumerate(truth.names):
            score = np.zeros(len(rest))
            if sound in known:
                one = store.isel(sound=known.index(sound))
                score = np.nan_to_num(values_at(one, "score", rest.recorder, rest.cell).astype(np.float64))
            found.append(average_precision(score, present[:, i]))
    return float(np.nanmean(found)), len(rest)


def average_precision(score: NDArray[np.float64], is_yes: NDArray[np.bool_]) -> float:
    """Return the average precision of scores; see :func:`jobs.learn.measures.ranking`."""
    return float(ranking(score, is_yes, np.ones((1, len(score)))).average_precision[0])
