"""Choose a batch of windows to ask people about, and keep it in the lake before anyone sees it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from jobs.common.run import Run
from jobs.review.cells import milliseconds
from jobs.review.listed import read_list
from jobs.review.orders import (
    Chosen,
    Population,
    Rows,
    at_random,
    evenly,
    explore,
    farthest,
    for_counts,
    ranked,
    spread,
    without_overlap,
)
from jobs.review.sources import Sources, finished_runs, scored_sounds
from jobs.review.typical import typical
from jobs.review.windows import Windows, open_windows, windows_of_batch
from jobs.runner.manifest import Manifest
from jobs.runner.state import finished
from lake import read
from lake.batches import COLUMNS, VECTORS_ROLE, Batch, keep_batch, read_batch
from lake.counting.predictions import KEY, kept_predictions, sites_of
from lake.deliveries import deliveries
from lake.digest import cell_digest, sha256, sha256_of
from lake.errors import InputError
from lake.heard import windows_heard, windows_of_speech
from lake.identity import canonical
from lake.scaling import Vectors
from lake.sounds import SPEECH, Sounds, read_sounds
from lake.tables import make_table
from lake.verdicts import read_verdicts, settled

N_SAMPLE: Final = 20_000
"""Windows that `far` and `typical` look at."""
MOST_HEARD: Final = 2_000
"""Windows heard before that these keep away from."""
ENOUGH_YES: Final = 20
"""Of each sound, for `auto` to go by detectors where all sounds are asked about."""
AUTO, LISTED = "auto", "listed"

Order = Callable[[Sources, int, np.random.Generator], Chosen]


def _explore(known: Sources, n: int, _random: np.random.Generator) -> Chosen:
    exemplars, sizes, n_heard = known.exemplars()
    if (exemplars < 0).all():
        raise InputError("every exemplar of the clusters was heard. Go on with --order far, or margin with a detector.")
    return explore(known.population, exemplars, sizes, n_heard, n)


def _far(known: Sources, n: int, random: np.random.Generator) -> Chosen:
    rows, vectors, heard = _sampled(known, random)
    return farthest(known.population, rows, vectors, heard, n)


def _typical(known: Sources, n: int, random: np.random.Generator) -> Chosen:
    rows, vectors, heard = _sampled(known, random)
    return typical(known.population, rows, vectors, heard, n, random=random)


def _sampled(known: Sources, random: np.random.Generator) -> tuple[Rows, Vectors, Vectors]:
    """Return some windows that may be asked, their scaled vectors, and those of windows that were heard."""
    rows = np.sort(spread(known.population, random.permutation(len(known.population)), N_SAMPLE))
    return known.vectors(rows, MOST_HEARD, random)


def _margin(known: Sources, n: int, _random: np.random.Generator) -> Chosen:
    return ranked(known.population, known.scores("probability"), n, key=lambda values: -np.abs(values - 0.5))


def _top(known: Sources, n: int, _random: np.random.Generator) -> Chosen:
    return ranked(known.population, known.scores("score"), n, key=lambda values: values)


def _count(known: Sources, n: int, random: np.random.Generator) -> Chosen:
    probability = known.probabilities()
    chosen = for_counts(known.population, probability, n, random)
    if np.isnan(probability).all():
        return chosen
    whole = np.flatnonzero(without_overlap(known.population))
    windows = known.population.windows.take(whole)
    with read.open_cube(known.reads["spectrograms"].output.url) as cube:
        sites = sites_of(cube, windows)
    drawn = np.searchsorted(whole, chosen.rows)
    return replace(chosen, facts={KEY: kept_predictions(known.sounds, sites, probability[whole], drawn)})


ORDERS: Final[Mapping[str, Order]] = {
    "typical": _typical,
    "explore": _explore,
    "far": _far,
    "margin": _margin,
    "top": _top,
    "precision": lambda known, n, random: evenly(known.population, known.scores("score"), n, random),
    "count": _count,
    "random": lambda known, n, random: at_random(known.population, n, random),
}
"""An order takes what is known, how many windows are wanted and a generator, and returns windows of the population."""
RANDOM: Final = {"random", "count"}
"""Orders whose draws have probabilities: there each window is to be answered for every sound."""


@dataclass(frozen=True)
class Request:
    """The request of a user.

    Attributes
    ----------
    order, n, seed
        One of :data:`ORDERS`, or ``auto``; how many windows; and what random choices begin from.
    sounds
        Names of sounds; all of the study's if empty.
    listed
        A file with the only windows that may be asked.
    cube, clusters, vectors, detections
        Names of runs, where the study has several.
    """

    order: str = AUTO
    n: int = 100
    seed: int = 0
    sounds: Sequence[str] = ()
    listed: Path | None = None
    cube: str | None = None
    clusters: str | None = None
    vectors: str | None = None
    detections: str | None = None


@dataclass(frozen=True)
class Asked:
    """A batch, the windows and sounds of its study, why this order was taken, and notes."""

    batch: Batch
    windows: Windows
    sounds: Sounds
    why: str = ""
    notes: Sequence[str] = ()


def choose_batch(manifest: Manifest, request: Request, command: str) -> Asked:
    """Choose windows, and keep them as a batch in the lake. The same lake, request and seed give the same batch.

    Raises
    ------
    InputError
        If the request names what is not there, or nothing is left to hear.
    StoreError
        If verdicts or a store are damaged.
    """
    sounds, windows = read_sounds(manifest.path), open_windows(manifest, request.cube)
    asked = _asked_sounds(sounds, request.sounds)
    named = {"clusters": request.clusters, "embeddings": request.vectors, "detections": request.detections}
    runs, vectors = finished_runs(manifest, windows.run, named)
    if vectors is not None:
        windows = open_windows(manifest, request.cube, vectors)
    lake = windows.run.lake
    verdicts = read_verdicts(lake)
    order, why = _order_of(request, runs, asked, verdicts)
    if vectors is not None and order == "count":
        raise InputError(
            f"--order count: counts are of the cube's windows, and these are those of the vectors {vectors.name!r}. "
            "Take another --order, or --vectors of the cube's own windows."
        )
    usable = windows.all_usable()
    wanted, notes = (usable, []) if request.listed is None else read_list(request.listed, windows)
    every, heard, speech = _heard(verdicts, asked, windows, needs_all=order in RANDOM or bool(request.sounds))
    population, left_out = _left(wanted, [speech] if order == LISTED else [speech, heard], windows)
    facts = {
        "order": order, "seed": request.seed, "sounds": list(asked), "every_sound": order in RANDOM,
        "n_population": len(population), "n_speech": left_out[0], "n_heard": sum(left_out[1:]),
        "population": cell_digest([population.windows.recorder, population.windows.cell]),
        "deliveries": deliveries(lake),
        "windows_sha256": None if request.listed is None else sha256_of(request.listed),
    }  # fmt: skip
    reads = {"spectrograms": windows.run} | ({} if vectors is None else {VECTORS_ROLE: vectors})
    if vectors is not None:
        notes.append(f"the windows are those of the vectors {vectors.name!r}, {windows.grid.window_ms / 1000:g} s each")
    known = Sources(population, every, asked, runs, request.vectors is None, reads, notes)
    random = np.random.default_rng(int(sha256(canonical(facts))[:32], 16))
    if order == LISTED:
        rows = population.find(wanted.recorder, wanted.cell)
        chosen = Chosen(rows[rows >= 0][: request.n])
    else:
        chosen = ORDERS[order](known, request.n, random)
    table = _table(chosen, known, windows)
    if len(table) < request.n:
        notes.append(f"{request.n} windows were asked for, {len(table)} are left; all of them are in the batch.")
    facts |= {"n": request.n, "reads": known.record(), **chosen.facts}
    made = {"created_at": datetime.now(UTC).isoformat(timespec="seconds"), "command": command}
    return Asked(keep_batch(lake, table, facts, made), windows, sounds, why, known.notes)


def kept_batch(manifest: Manifest, name: str, cube: str | None) -> Asked:
    """Return a batch that the lake has, with notes on what changed since it was made.

    Raises
    ------
    InputError
        If the lake has no such batch, or the cube no longer has its windows.
    """
    windows = open_windows(manifest, cube)
    batch = read_batch(windows.run.lake, name)
    windows = windows_of_batch(manifest, cube, batch) or windows
    gone = []
    for row in batch.table.itertuples(index=False):
        try:
            windows.cell_of(windows.recorder_of(str(row.recorder)), milliseconds(row.time_utc))
        except ValueError as error:
            gone.append(str(error))
    if gone:
        raise InputError(f"batch {name!r}: {len(gone)} of its windows are not in {windows.run.name!r}: {gone[0]}.")
    notes = []
    for role, then in batch.asked.get("reads", {}).items():
        run = manifest.runs.get(then["run"])
        now = finished(run) if run is not None and run.output.exists("") else None
        if now is None:
            notes.append(f"{role} {then['run']!r}, which chose these windows, is gone; they are as they were.")
        elif now.get("content_id") != then["content_id"]:
            notes.append(f"{role} {then['run']!r} changed since these windows were chosen; they are as they were.")
    return Asked(batch, windows, read_sounds(manifest.path), notes=notes)


def _asked_sounds(sounds: Sounds, names: Sequence[str]) -> list[str]:
    """Return the sounds of these names, all if there are none; refuse unknown ones, all at once."""
    found, problems = [], []
    for name in names:
        try:
            found.append(sounds.resolve(name))
        except ValueError as error:
            problems.append(f"--sound: {error}")
    if SPEECH in found:
        problems.append(f"--sound {SPEECH}: it is not asked about; mark it where you hear it")
    if problems:
        raise InputError(".\n".join([*problems, ""]).strip())
    return list(dict.fromkeys(found)) or list(sounds.names)


def _order_of(
    request: Request, runs: Mapping[str, Sequence[Run]], sounds: Sequence[str], verdicts: pd.DataFrame
) -> tuple[str, str]:
    """Return the order to take, and why; the user's own if it is one."""
    if request.order != AUTO:
        return request.order, ""
    if request.listed is not None:
        return LISTED, "the windows of the list, in its order"
    scored = scored_sounds(runs["detections"][0]) if len(verdicts) and runs.get("detections") else []
    without = [sound for sound in sounds if sound not in scored]
    n_yes = verdicts.loc[verdicts["verdict"] == "yes", "sound"].value_counts()
    few = [] if request.sounds else [sound for sound in sounds if n_yes.get(sound, 0) < ENOUGH_YES]
    if not without and not few:
        return "margin", "all sounds have a detector; these are the windows that it is least sure of"
    why = f"no detector of {', '.join(without)} yet" if without else f"fewer than {ENOUGH_YES} yes of {', '.join(few)}"
    why = why if len(verdicts) else "nothing was heard yet"
    if runs.get("embeddings"):
        return "typical", f"{why}; these are typical of the kinds of windows that were heard least, the largest first"
    if runs.get("clusters"):
        return "explore", f"{why}; these are typical of the clusters that were heard least, the largest first"
    return "random", f"{why}, and there are neither clusters nor vectors"


def _heard(
    verdicts: pd.DataFrame, sounds: Sequence[str], windows: Windows, *, needs_all: bool
) -> tuple[read.Windows, read.Windows, read.Windows]:
    """Return windows with any verdict, those that need not be asked again, and those that hold speech.

    Nothing is asked again once it has a verdict: on all sounds that are asked about if ``needs_all``, or on any.
    """
    found = windows_heard(settled(verdicts), windows.grid, windows.recorders, offsets_ms=windows.offsets_ms)
    found = found[found["sound"] != SPEECH]
    every = found.drop_duplicates(["i_recorder", "cell"])
    done = every
    if needs_all:
        n_sounds = found[found["sound"].isin(sounds)].groupby(["i_recorder", "cell"]).size()
        done = n_sounds[n_sounds == len(sounds)].reset_index()
    speech = windows_of_speech(verdicts, windows.grid, windows.recorders, windows.offsets_ms)
    return _windows(every), _windows(done), _windows(speech)


def _left(wanted: read.Windows, out: Sequence[read.Windows], windows: Windows) -> tuple[Population, list[int]]:
    """Return the windows that are left to hear, and how many each of some others took out of them."""
    population = Population(_sorted(wanted), windows.grid)
    is_left = np.ones(len(population), dtype=np.bool_)
    n_out = []
    for some in out:
        rows = population.find(some.recorder, some.cell)
        n_out.append(int(is_left[rows[rows >= 0]].sum()))
        is_left[rows[rows >= 0]] = False
    if not is_left.any():
        raise InputError(
            f"nothing is left to hear: of {len(is_left)} windows {n_out[0]} are of speech and {sum(n_out[1:])} were "
            "heard. Ask for another sound with --sound, or list windows with --windows."
        )
    return Population(population.windows.take(np.flatnonzero(is_left)), windows.grid), n_out


def _windows(table: pd.DataFrame) -> read.Windows:
    numbers, cells = (table[name].to_numpy(dtype=np.int64) for name in ("i_recorder", "cell"))
    return _sorted(read.Windows(numbers.astype(np.int32), cells))


def _sorted(windows: read.Windows) -> read.Windows:
    return windows.take(np.lexsort((windows.cell, windows.recorder)))


def _table(chosen: Chosen, known: Sources, windows: Windows) -> pd.DataFrame:
    """Return chosen windows as the table of a batch."""
    places = known.population.windows.take(chosen.rows)
    proposals, n = known.proposals(places), len(chosen.rows)
    probability, score = (np.full(n, np.nan) if one is None else one for one in (chosen.probability, chosen.score))
    stratum = chosen.stratum or [""] * n
    rows = [
        {
            "draw": draw, "recorder": windows.recorders[int(places.recorder[draw])],
            "time_utc": pd.Timestamp(windows.start_ms(int(places.recorder[draw]), int(places.cell[draw])), unit="ms"),
            "duration_s": windows.grid.window_ms / 1000, "probability": probability[draw], "stratum": stratum[draw],
            "score": score[draw], "proposal": proposals[draw],
        }
        for draw in range(n)
    ]  # fmt: skip
    return make_table(rows, COLUMNS)
