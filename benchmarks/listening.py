"""The loop of hearing and learning in the demo study: what detectors are worth after some windows, by order.

The truth is the reviewer. Every other hour that was recorded is heard, by all recorders alike, and learnt from; average
precision and calibration are those in the hours between, of which no window is heard.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from jobs.learn.config import Config
from jobs.learn.core import Examples, Refused, learn_head
from jobs.learn.examples import N_DAYS
from jobs.learn.measures import ranking
from jobs.review.orders import Chosen, Population, at_random, evenly, explore, farthest, for_counts, ranked
from lake.scaling import Vectors

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Line = tuple[Floats, float, float, float]
"""Weights, intercept, slope and offset of a head."""

AFTER: Final = (10, 20, 40, 80, 160)
"""Numbers of windows heard; a batch goes from one to the next."""
BY_SCORE: Final = ("margin", "top", "precision", "count")
ORDERS: Final = ("random", "explore", "far", *BY_SCORE)
PLAIN: Final = {"plain margin": "margin", "plain top": "top"}
"""Orders after the recipe of perch-hoplite: a linear head of one penalty, nobody's windows as weak no, no probabilities
that were fitted, and no spread over recorders and hours."""
WEAK: Final = 0.05
LEAST: Final = 0.1


@dataclass(frozen=True)
class Study:
    """Windows that may be heard, sorted by recorder and time, and what is known of them.

    Attributes
    ----------
    population, vectors, truth
        The windows, their scaled vectors, and whether each kind is in each, shape (n_windows, n_kinds).
    days, hours
        The day and the hour of the study of each window.
    exemplars, cluster
        Of each cluster its exemplars among the windows, -1 for none; and the cluster of each window, -1 for none.
    unheard, unheard_truth
        Scaled vectors of windows that are never heard, and the kinds in them.
    """

    population: Population
    vectors: Vectors
    truth: Bools
    days: Rows
    hours: Rows
    exemplars: Rows
    cluster: Rows
    unheard: Vectors
    unheard_truth: Bools


@dataclass(frozen=True)
class Played:
    """Result of one order: the windows in the order in which they were heard, and macro AP after each batch."""

    heard: Rows
    average_precision: list[float]
    calibration: float
    """Mean distance of probability and truth over tenths, of unheard windows and kinds of probability .1 and more."""


def play(study: Study, order: str, seed: int) -> Played:
    """Hear windows in an order, batch by batch, and learn after each.

    Notes
    -----
    Orders by score begin with ``explore``, as `auto` does. A kind without a head scores all windows alike.
    """
    random = np.random.default_rng([seed, 1])
    heard = np.empty(0, dtype=np.int64)
    scored: dict[int, tuple[Floats, Floats]] = {}
    worth = []
    probable = np.zeros(study.unheard_truth.shape)
    for n in AFTER:
        heard = np.concatenate([heard, _next(study, order, heard, n - len(heard), scored, random)])
        scored, found = {}, []
        for kind in range(study.truth.shape[1]):
            head = (plain_head if order in PLAIN else own_head)(study, heard, kind)
            on_unheard = np.zeros(len(study.unheard))
            if head is not None:
                weights, intercept, slope, offset = head
                score = study.vectors @ weights + intercept
                scored[kind] = score, 1 / (1 + np.exp(-(slope * score + offset)))
                on_unheard = study.unheard @ weights + intercept
                probable[:, kind] = 1 / (1 + np.exp(-(slope * on_unheard + offset)))
            found.append(ranking(on_unheard, study.unheard_truth[:, kind], np.ones((1, len(on_unheard)))))
        worth.append(float(np.nanmean([one.average_precision[0] for one in found])))
    return Played(heard, worth, calibration_error(probable, study.unheard_truth))


def calibration_error(probability: Floats, truth: Bools) -> float:
    """Return the expected calibration error over tenths, of probabilities of :data:`LEAST` and more."""
    is_in = probability >= LEAST
    values, so = probability[is_in], truth[is_in]
    tenth = np.minimum(values * 10, 9).astype(np.int64)
    sums = np.bincount(tenth, weights=values - so, minlength=10)
    return float(np.abs(sums).sum() / max(len(values), 1))


def _next(  # noqa: PLR0917 (the state of one step, with one caller)
    study: Study,
    order: str,
    heard: Rows,
    n: int,
    scored: Mapping[int, tuple[Floats, Floats]],
    random: np.random.Generator,
) -> Rows:
    """Return the next n windows of an order."""
    left = np.setdiff1d(np.arange(len(study.population)), heard)
    there = Population(study.population.windows.take(left), study.population.grid)
    scores = {str(kind): score[left] for kind, (score, _) in scored.items()}
    probability = {str(kind): value[left] for kind, (_, value) in scored.items()}
    if order in PLAIN and scores:
        best = [-np.abs(one) if PLAIN[order] == "margin" else one for one in scores.values()]
        return left[_first([np.argsort(-one, kind="stable") for one in best], n)]
    chosen: Chosen
    if order == "random" or (order == "count" and not scores):
        chosen = at_random(there, n, random)
    elif order == "far":
        chosen = farthest(there, np.arange(len(there)), study.vectors[left], study.vectors[heard], n)
    elif order == "count":
        chosen = for_counts(there, np.stack(list(probability.values()), axis=1), n, random)
    elif order == "precision" and scores:
        chosen = evenly(there, scores, n, random)
    elif order == "margin" and scores:
        chosen = ranked(there, probability, n, key=lambda values: -np.abs(values - 0.5))
    elif order == "top" and scores:
        chosen = ranked(there, scores, n, key=lambda values: values)
    else:
        place = np.full(len(study.population) + 1, -1)
        place[left] = np.arange(len(left))
        n_clusters = len(study.exemplars)
        sizes = np.bincount(study.cluster[study.cluster >= 0], minlength=n_clusters)
        known = study.cluster[heard]
        chosen = explore(there, place[study.exemplars], sizes, np.bincount(known[known >= 0], minlength=n_clusters), n)
    found = left[chosen.rows]
    if len(found) < n:  # the exemplars are all heard, or a draw has fewer windows
        found = np.concatenate([found, random.permutation(np.setdiff1d(left, found))[: n - len(found)]])
    return found


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


def own_head(study: Study, heard: Rows, kind: int) -> Line | None:
    """Return the head of a kind after some windows, by the job `learn`; ``None`` where it refuses."""
    nobodys = np.setdiff1d(np.arange(len(study.population)), heard)
    rows = np.concatenate([heard, nobodys])
    is_heard = np.arange(len(rows)) < len(heard)
    is_yes = study.truth[rows, kind] & is_heard
    recordings = study.hours[rows] * 100 + study.population.windows.recorder[rows]
    n_days = min(len(set(study.days[heard][study.truth[heard, kind] == so].tolist())) for so in (True, False))
    held_out = study.days[rows] if n_days >= N_DAYS else recordings
    try:
        head = learn_head(study.vectors, Examples(rows, is_yes, is_heard, held_out, recordings), Config(n_bootstrap=10))
    except Refused:
        return None
    return head.weights, head.intercept, head.slope, head.offset


def plain_head(study: Study, heard: Rows, kind: int) -> Line | None:
    """Return a head of one penalty, nobody's windows as weak no."""
    if not study.truth[heard, kind].any():
        return None
    is_yes = np.zeros(len(study.population), dtype=np.bool_)
    is_yes[heard] = study.truth[heard, kind]
    weights = np.full(len(is_yes), WEAK)
    weights[heard] = 1
    model = LogisticRegression(C=1, max_iter=500).fit(study.vectors, is_yes, sample_weight=weights)
    return model.coef_[0], float(model.intercept_[0]), 1.0, 0.0
