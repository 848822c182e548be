"""The loop of hearing and learning in one study: what detectors are worth after some windows, by order.

The truth is the reviewer. Some of the windows may be heard and are learnt from; average precision and calibration are
those in the others, of which none is ever heard.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.hoplite import linear_heads
from jobs.learn.config import Config
from jobs.learn.measures import ranking
from jobs.review.ask import ENOUGH_YES
from jobs.review.orders import Chosen, Population, at_random, evenly, explore, farthest, for_counts, ranked
from jobs.review.typical import typical
from jobs.workflows.rehearsal import Rehearsed, head_after
from lake.scaling import Vectors

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

AFTER: Final = (10, 20, 40, 80, 160)
"""Numbers of windows heard; a batch goes from one to the next."""
BY_SCORE: Final = ("margin", "top", "precision", "count")
ORDERS: Final = ("random", "explore", "far", "typical", "auto", *BY_SCORE)
LEAST: Final = 0.1
N_DRAWN: Final = 20
CONFIG: Final = Config(n_bootstrap=10)
"""Of ``learn``; intervals are not looked at."""


@dataclass(frozen=True)
class Recipe:
    """One way of perch-hoplite: how the best windows are found, on which vectors, and what the first batch is.

    Attributes
    ----------
    by
        ``top`` score, or nearest to score 0, ``margin``.
    begin
        ``explore``, or ``examples``: windows that are most like an example of each kind, which is given.
    is_scaled
        Whether vectors are scaled as for our heads; otherwise as they are stored.
    """

    by: str
    begin: str = "explore"
    is_scaled: bool = True


HOPLITE: Final = {
    "hoplite top": Recipe("top"),
    "hoplite margin": Recipe("margin"),
    "hoplite top, examples given": Recipe("top", begin="examples"),
    "hoplite margin, examples given": Recipe("margin", begin="examples"),
    "hoplite top, vectors as stored": Recipe("top", is_scaled=False),
    "hoplite margin, vectors as stored": Recipe("margin", is_scaled=False),
}


@dataclass(frozen=True)
class Study:
    """Windows that may be heard, sorted by recorder and time, and what is known of them.

    Attributes
    ----------
    population, known
        The windows; their scaled vectors, what is in them, and what is held out together.
    stored
        Their vectors before scaling.
    exemplars, cluster
        Of each cluster its exemplars among the windows, -1 for none; and the cluster of each window, -1 for none.
    unheard, unheard_stored, unheard_truth
        Vectors of windows that are never heard, scaled and not, and the kinds in them.
    """

    population: Population
    known: Rehearsed
    stored: Vectors
    exemplars: Rows
    cluster: Rows
    unheard: Vectors
    unheard_stored: Vectors
    unheard_truth: Bools


@dataclass(frozen=True)
class Scores:
    """Scores and probabilities of one kind: of the windows that may be heard, and of those that are not."""

    score: Floats
    probability: Floats
    on_unheard: Floats
    unheard_probability: Floats


@dataclass(frozen=True)
class Played:
    """Result of one order: the windows in the order in which they were heard, and macro AP after each batch."""

    heard: Rows
    average_precision: list[float]
    calibration: float
    """Mean distance of probability and truth over tenths, of unheard windows and kinds of probability .1 and more."""
    chance: float
    """The same, were the truth drawn with these probabilities: few windows make an error of any probabilities."""


Learnt = dict[bytes, dict[int, Scores]]
"""Scores of ``learn``'s heads by the windows that were heard, so that orders with the same first batches share them."""


def play(study: Study, order: str, seed: int, after: Sequence[int] = AFTER, *, learnt: Learnt | None = None) -> Played:
    """Hear windows in an order, batch by batch, and learn after each.

    Parameters
    ----------
    study, order, seed, after
        What is heard: windows of a study, in an order with a seed, in batches that end after so many windows.
    learnt
        Filled with what is learnt, and read, in one study.

    Notes
    -----
    Orders by score begin with ``explore``; ``auto`` is ``typical`` until every kind has a head and enough yes, then
    ``margin``. A kind without a head scores all windows alike.
    """
    random = np.random.default_rng([seed, 1])
    n_kinds = study.known.truth.shape[1]
    learnt = {} if learnt is None else learnt
    heard = np.empty(0, dtype=np.int64)
    scored: dict[int, Scores] = {}
    worth = []
    for n in after:
        heard = np.concatenate([heard, _next(study, order, heard, n - len(heard), scored, random)])
        if order in HOPLITE:
            scored = recipe_scores(study, HOPLITE[order], heard, random)
        else:
            key = heard.tobytes()
            if key not in learnt:
                learnt[key] = own_scores(study, heard)
            scored = learnt[key]
        worth.append(macro_ap({kind: one.on_unheard for kind, one in scored.items()}, study.unheard_truth))
    probability = np.zeros(study.unheard_truth.shape)
    for kind in range(n_kinds):
        if kind in scored:
            probability[:, kind] = scored[kind].unheard_probability
    drawn = [calibration_error(probability, random.random(probability.shape) < probability) for _ in range(N_DRAWN)]
    return Played(heard, worth, calibration_error(probability, study.unheard_truth), float(np.mean(drawn)))


def macro_ap(scores: Mapping[int, Floats], truth: Bools) -> float:
    """Return the mean over the kinds of the average precision; a kind without scores has all windows alike."""
    n = len(truth)
    found = [
        ranking(scores.get(kind, np.zeros(n)), truth[:, kind], np.ones((1, n))).average_precision[0]
        for kind in range(truth.shape[1])
    ]
    return float(np.nanmean(found))


def calibration_error(probability: Floats, truth: Bools) -> float:
    """Return the expected calibration error over tenths, of probabilities of :data:`LEAST` and more."""
    is_in = probability >= LEAST
    values, so = probability[is_in], truth[is_in]
    tenth = np.minimum(values * 10, 9).astype(np.int64)
    sums = np.bincount(tenth, weights=values - so, minlength=10)
    return float(np.abs(sums).sum() / max(len(values), 1))


def own_scores(study: Study, heard: Rows) -> dict[int, Scores]:
    """Return the scores of the kinds that ``learn`` makes a head for."""
    found = {}
    for kind in range(study.known.truth.shape[1]):
        head = head_after(study.known, heard, kind, CONFIG)
        if head is not None:
            score, on_unheard = (some @ head.weights + head.intercept for some in (study.known.vectors, study.unheard))
            here, there = (_sigmoid(head.slope * some + head.offset) for some in (score, on_unheard))
            found[kind] = Scores(score, here, on_unheard, there)
    return found


def recipe_scores(study: Study, recipe: Recipe, heard: Rows, random: np.random.Generator) -> dict[int, Scores]:
    """Return the scores of perch-hoplite's heads of the kinds with a yes; nothing calibrates them."""
    own, others = (study.known.vectors, study.unheard) if recipe.is_scaled else (study.stored, study.unheard_stored)
    weights, bias = linear_heads(own, heard, study.known.truth, random)
    score, on_unheard = own @ weights + bias, others @ weights + bias
    return {
        kind: Scores(score[:, kind], _sigmoid(score[:, kind]), on_unheard[:, kind], _sigmoid(on_unheard[:, kind]))
        for kind in np.flatnonzero(study.known.truth[heard].any(axis=0)).tolist()
    }


def _next(  # noqa: PLR0917 (the state of one step, with one caller)
    study: Study, order: str, heard: Rows, n: int, scored: Mapping[int, Scores], random: np.random.Generator
) -> Rows:
    """Return the next n windows of an order."""
    left = np.setdiff1d(np.arange(len(study.population)), heard)
    if order in HOPLITE:
        found = _recipe_next(study, HOPLITE[order], left, n, scored, random)
    else:
        there = Population(study.population.windows.take(left), study.population.grid)
        found = left[_own_next(study, order, there, left, heard, n, scored, random).rows]
    if len(found) < n:  # the exemplars are all heard, or a draw has fewer windows
        found = np.concatenate([found, random.permutation(np.setdiff1d(left, found))[: n - len(found)]])
    return found


def _own_next(  # noqa: PLR0917 (the state of one step, with one caller)
    study: Study,
    order: str,
    there: Population,
    left: Rows,
    heard: Rows,
    n: int,
    scored: Mapping[int, Scores],
    random: np.random.Generator,
) -> Chosen:
    """Return the next windows of an order of ``dawnchorus review`` among those that are left."""
    if order == "random" or (order == "count" and not scored):
        return at_random(there, n, random)
    if order == "auto":
        has_enough = study.known.truth[heard].sum(axis=0).min() >= ENOUGH_YES
        order = "margin" if has_enough and len(scored) == study.known.truth.shape[1] else "typical"
    if order == "far":
        vectors = study.known.vectors
        return farthest(there, np.arange(len(there)), vectors[left], vectors[heard], n)
    if order == "typical":
        vectors = study.known.vectors
        return typical(there, np.arange(len(there)), vectors[left], vectors[heard], n, random=random)
    if order == "explore" or not scored:
        return _explore(study, left, heard, n)
    probability = {str(kind): one.probability[left] for kind, one in scored.items()}
    scores = {str(kind): one.score[left] for kind, one in scored.items()}
    own: Mapping[str, Callable[[], Chosen]] = {
        "count": lambda: for_counts(there, np.stack(list(probability.values()), axis=1), n, random),
        "precision": lambda: evenly(there, scores, n, random),
        "margin": lambda: ranked(there, probability, n, key=lambda values: -np.abs(values - 0.5)),
        "top": lambda: ranked(there, scores, n, key=lambda values: values),
    }
    return own[order]()


def _explore(study: Study, left: Rows, heard: Rows, n: int) -> Chosen:
    n_clusters = len(study.exemplars)
    place = np.full(len(study.population) + 1, -1)
    place[left] = np.arange(len(left))
    sizes, n_heard = (
        np.bincount(some[some >= 0], minlength=n_clusters) for some in (study.cluster, study.cluster[heard])
    )
    there = Population(study.population.windows.take(left), study.population.grid)
    return explore(there, place[study.exemplars], sizes, n_heard, n)


def _recipe_next(  # noqa: PLR0917 (the state of one step, with one caller)
    study: Study, recipe: Recipe, left: Rows, n: int, scored: Mapping[int, Scores], random: np.random.Generator
) -> Rows:
    """Return the next windows of a recipe: of each kind in turn, without a look at recorders or hours."""
    vectors = study.known.vectors if recipe.is_scaled else study.stored
    if scored and recipe.by == "margin":
        lists = [-np.abs(one.score[left]) for one in scored.values()]
    elif scored:
        lists = [one.score[left] for one in scored.values()]
    elif recipe.begin == "examples":
        kinds = [np.flatnonzero(of_kind) for of_kind in study.known.truth.T]
        lists = [vectors[left] @ vectors[random.choice(rows)] for rows in kinds if len(rows)]
    else:
        return left[_explore(study, left, np.empty(0, dtype=np.int64), n).rows]
    return left[_first([np.argsort(-one, kind="stable") for one in lists], n)]


def _first(lists: list[Rows], n: int) -> Rows:
    """Return the first n of several lists, one of each in turn, each once."""
    found: dict[int, None] = {}
    for row in _turns(lists):
        if len(found) == n:
            break
        found.setdefault(row)
    return np.array(list(found), dtype=np.int64)


def _turns(lists: list[Rows]) -> Iterator[int]:
    for turn in zip(*lists, strict=True):
        yield from map(int, turn)


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -500, 500))))
