"""The demo's loop of listening: the truth answers in place of a person, and the detectors are compared with it."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from jobs.common.heads import read_heads
from jobs.common.labels.intervals import Labels, read_labels
from jobs.common.run import Options, Run
from jobs.demo.reviewer import REVIEWER, answers_to, sounds_in
from jobs.learn.config import Config
from jobs.learn.core import Examples, Head, Refused, learn_head
from jobs.learn.examples import held_out_by
from jobs.learn.measures import ranking
from jobs.review.ask import Request, choose_batch
from jobs.review.command import add
from jobs.review.deliver import Given
from jobs.review.sources import read_windows, windows_of
from jobs.review.windows import Windows, open_windows
from jobs.runner.manifest import Manifest
from jobs.workflows.loop import Say, detector_runs, learn_and_detect, rows_of, summary
from lake.constants import MS_PER_HOUR
from lake.errors import InputError
from lake.heard import windows_heard
from lake.layout import Lake
from lake.outputs import write_outputs
from lake.read import open_detections, usable_windows, values_at
from lake.scaling import Vectors, scaled
from lake.sounds import FILE as SOUNDS_FILE
from lake.vectors import open_vectors
from lake.verdicts import SPAN, read_verdicts, settled

BATCHES: Final = (20, 20)
"""Windows of each batch that is heard."""
ORDER: Final = "far"
N_ORDERS: Final = 3
SIZES: Final = (20, 30, 40, 60, 80, 100, 120, 160, 200, 240, 320, 480, 640)
"""Numbers of windows in random order that are tried."""
ANSWERS: Final = "answers"
"""Folder of the tables that a page would have given."""


def rehearse(manifest: Manifest, workers: int, say: Say) -> list[str]:
    """Answer :data:`BATCHES` from the truth, learn after each, and return lines on the result; nothing is heard twice.

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
    needed = random_needs(value, rehearsed(runs[0], truth), cast("Config", runs[0].config))
    told = f"{n_sounds} sounds from {n_heard} windows heard, macro AP {value:.2f} in {n_rest} others"
    return ["", *summary(learnt, rows), "", f"{told}; random order would have needed {needed}"]


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


@dataclass(frozen=True)
class Rehearsed:
    """Windows that may be heard, and what is in them.

    Attributes
    ----------
    vectors
        Scaled as the heads have them, shape (n_windows, n_scaled).
    truth
        Whether each sound is in each window, shape (n_windows, n_sounds).
    days, recordings
        Number of the day, and of the recorder and hour, of each window: what is held out together.
    """

    vectors: Vectors
    truth: NDArray[np.bool_]
    days: NDArray[np.int64]
    recordings: NDArray[np.int64]


def rehearsed(heads: Run, truth: Labels) -> Rehearsed:
    """Return all windows of a study that have vectors, scaled as its heads have them."""
    sets = open_vectors([run.output.url for run in heads.sources("embeddings")])
    there = windows_of(sets)
    hours = there.cell * sets.grid.hop_ms // MS_PER_HOUR
    return Rehearsed(
        scaled(read_windows(sets, there), read_heads(heads.output.url).scaling),
        sounds_in(truth, there, list(sets.recorders), sets.grid),
        there.cell // sets.grid.cells_per_day,
        hours * len(sets.recorders) + there.recorder,
    )


def head_after(known: Rehearsed, heard: NDArray[np.int64], sound: int, config: Config) -> Head | None:
    """Return the head of a sound after some windows were heard, as ``learn`` makes it; ``None`` if refused."""
    rows = np.concatenate([heard, np.setdiff1d(np.arange(len(known.truth)), heard)])
    is_heard = np.arange(len(rows)) < len(heard)
    is_yes = known.truth[rows, sound] & is_heard
    is_by_day = held_out_by(known.days[rows], is_yes, is_heard, config.group) == "day"
    groups = (known.days if is_by_day else known.recordings)[rows]
    try:
        return learn_head(known.vectors, Examples(rows, is_yes, is_heard, groups, known.recordings[rows]), config)
    except Refused:
        return None


def random_needs(wanted: float, known: Rehearsed, config: Config) -> str:
    """Return how many windows random order needs for a macro average precision in all others, as a text.

    It is the mean of :data:`N_ORDERS` orders, each searched by halves among :data:`SIZES`.
    """
    sizes = [n for n in SIZES if n <= len(known.truth) // 2]
    found = []
    for i in range(N_ORDERS):
        order = np.random.default_rng(i).permutation(len(known.truth))

        def after(n: int, order: NDArray[np.int64] = order) -> float:
            return macro_ap_after(known, order[:n], config)

        with threadpool_limits(1):
            at = bisect_left(sizes, wanted, key=after)
        found.append(sizes[at] if at < len(sizes) else np.inf)
    return f"about {np.mean(found):.0f}" if np.isfinite(found).all() else f"more than {sizes[-1]}"


def macro_ap_after(known: Rehearsed, heard: NDArray[np.int64], config: Config) -> float:
    """Return the macro average precision, in the windows that were not heard, of heads learnt from those that were."""
    rest = np.setdiff1d(np.arange(len(known.truth)), heard)
    found = []
    for sound in range(known.truth.shape[1]):
        head = head_after(known, heard, sound, config.model_copy(update={"n_bootstrap": 10}))
        score = np.zeros(len(rest)) if head is None else known.vectors[rest] @ head.weights
        found.append(average_precision(score, known.truth[rest, sound]))
    return float(np.nanmean(found))


def average_precision(score: NDArray[np.float64], is_yes: NDArray[np.bool_]) -> float:
    """Return the average precision of scores; see :func:`jobs.learn.measures.ranking`."""
    return float(ranking(score, is_yes, np.ones((1, len(score)))).average_precision[0])
