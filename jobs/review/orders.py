"""Orders of listening: which windows to hear next, and in which order. Pure functions on numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.constants import MS_PER_HOUR
from lake.counting.draws import draw
from lake.counting.periods import cells_per_window
from lake.grid import Grid
from lake.read import Windows
from lake.scaling import Vectors

Rows = NDArray[np.int64]
"""Numbers of windows in their population."""
SPAN_MS = 600_000
"""Windows of a recorder within one such span of the clock may be of one bout."""
LEAST_OF_RECORDER = 10
"""Windows that each recorder must get in a draw for counts to be a stratum of its own."""
POOL = 10
"""Of so many times the windows that are wanted, the best, those are taken that are spread most."""


@dataclass(frozen=True)
class Population:
    """The windows that may be asked, sorted by recorder and time, and their grid."""

    windows: Windows
    grid: Grid

    def __len__(self) -> int:
        return len(self.windows)

    def spans(self, rows: Rows) -> NDArray[np.int64]:
        """Return a number for the ten minutes of its recorder that each window begins in."""
        span = self.windows.cell[rows] * self.grid.hop_ms // SPAN_MS
        n_spans = self.grid.n_cells * self.grid.hop_ms // SPAN_MS + 1
        return np.asarray(self.windows.recorder[rows] * np.int64(n_spans) + span)

    def hours(self, rows: Rows) -> NDArray[np.int64]:
        """Return a number for the recorder and the hour of the day of each window."""
        hour = self.windows.cell[rows] * self.grid.hop_ms // MS_PER_HOUR % 24
        return np.asarray(self.windows.recorder[rows] * np.int64(24) + hour)

    def find(self, recorder: NDArray[np.integer], cell: NDArray[np.integer]) -> Rows:
        """Return the numbers of windows by recorder and cell; -1 of those that are not in the population."""
        n_cells = self.grid.n_cells
        mine = self.windows.recorder * np.int64(n_cells) + self.windows.cell
        wanted = np.where((recorder >= 0) & (cell >= 0) & (cell < n_cells), recorder * np.int64(n_cells) + cell, -1)
        at = np.searchsorted(mine, wanted)
        return np.where(np.append(mine, -2)[at] == wanted, at, -1)


@dataclass(frozen=True)
class Chosen:
    """Windows that were chosen, in the order in which they are to be heard.

    Attributes
    ----------
    rows
        Numbers in the population, each once.
    probability
        With which each window is among those chosen; ``None`` if the order is not random.
    score
        The number that decided, NaN where none did.
    stratum
        The group that each was chosen from; may be empty.
    facts
        What else the batch keeps, in JSON values.
    """

    rows: Rows
    probability: NDArray[np.float64] | None = None
    score: NDArray[np.float64] | None = None
    stratum: Sequence[str] = field(default=())
    facts: Mapping[str, Any] = field(default_factory=dict)


def at_random(population: Population, n: int, random: np.random.Generator) -> Chosen:
    """Draw windows uniformly, without replacement, in an order that is random.

    Notes
    -----
    A smaller ``n`` gives the beginning of a larger one, and any number of first draws is a simple random sample.
    """
    rows = random.permutation(len(population))[:n]
    return Chosen(rows, np.full(len(rows), len(rows) / len(population)))


def for_counts(population: Population, probability: NDArray[np.float64], n: int, random: np.random.Generator) -> Chosen:
    """Draw windows for counts: more often where a detector hears one of the sounds, a part evenly, in each recorder.

    Parameters
    ----------
    population
        Windows that may be asked. Of those that overlap every one is taken that begins where another ends.
    probability
        Of each window and sound, shape (n_windows, n_sounds); NaN where there is none.
    n
        How many to draw. Recorders are strata where each gets :data:`LEAST_OF_RECORDER` or more.
    random
        Draws them.

    Returns
    -------
    Chosen
        ``probability`` is that of the window to be in the batch; see :func:`lake.counting.draws.draw`.
    """
    whole = np.flatnonzero(without_overlap(population))
    recorders = population.windows.recorder[whole]
    names = [f"recorder {number}" for number in recorders]
    is_enough = n >= LEAST_OF_RECORDER * len(np.unique(recorders))
    seed = int(random.integers(2**63))
    drawn = draw(probability[whole], n, seed=seed, strata=names if is_enough else None)
    strata = [str(name) for name in drawn["stratum"]] if is_enough else []
    return Chosen(whole[drawn["window"].to_numpy()], drawn["probability"].to_numpy(np.float64), stratum=strata)


def without_overlap(population: Population) -> NDArray[np.bool_]:
    """Return which windows are counted: of those that overlap every one that begins where another ends."""
    return np.asarray(population.windows.cell % cells_per_window(population.grid) == 0)


def spread(population: Population, ranked: Rows, n: int) -> Rows:
    """Return n windows of those that are ranked, best first, spread over recorders, hours and ten-minute spans.

    Parameters
    ----------
    population, ranked
        Windows by number, the best first.
    n
        How many to choose.

    Notes
    -----
    The best window of every ten minutes of a recorder comes first; of the :data:`POOL` · n best of these, in turn, the
    best of every recorder and hour of the day, the second of each, and so on. Others follow where there are too few.
    """
    spans = population.spans(ranked)
    _, first = np.unique(spans, return_index=True)
    is_first = np.zeros(len(ranked), dtype=np.bool_)
    is_first[first] = True
    pool = ranked[is_first][: POOL * n]
    in_turn = pool[np.argsort(_places(population.hours(pool)), kind="stable")]
    return np.concatenate([in_turn, ranked[~is_first]])[:n]


def explore(population: Population, exemplars: Rows, sizes: NDArray[np.int64], n_heard: Rows, n: int) -> Chosen:
    """Choose exemplars of clusters: of the cluster that was heard least, of these of the largest, one after the other.

    Parameters
    ----------
    population
        Windows that may be asked.
    exemplars
        Their numbers, nearest to the centroid first, shape (n_clusters, n_exemplars); -1 for none.
    sizes, n_heard
        Windows of each cluster, and how many of them were heard before.
    n
        How many to choose.

    Notes
    -----
    Of a cluster's exemplars the nearest is taken whose ten minutes, then whose recorder and hour, were asked least.
    """
    left = [[int(row) for row in of_cluster if row >= 0] for of_cluster in exemplars]
    heard = n_heard.astype(np.int64).copy()
    rows: list[int] = []
    clusters: list[int] = []
    spans, hours = population.spans(np.maximum(exemplars, 0)), population.hours(np.maximum(exemplars, 0))
    place = {int(row): (int(s), int(h)) for row, s, h in zip(exemplars.flat, spans.flat, hours.flat, strict=True)}
    asked_span: dict[int, int] = {}
    asked_hour: dict[int, int] = {}
    while len(rows) < n and any(left):
        cluster = min((c for c, some in enumerate(left) if some), key=lambda c: (heard[c], -sizes[c], c))
        best = min(left[cluster], key=lambda r: (asked_span.get(place[r][0], 0), asked_hour.get(place[r][1], 0)))
        left[cluster].remove(best)
        heard[cluster] += 1
        for counts, key in zip((asked_span, asked_hour), place[best], strict=True):
            counts[key] = counts.get(key, 0) + 1
        rows.append(best)
        clusters.append(cluster)
    return Chosen(np.array(rows, dtype=np.int64), stratum=[f"cluster {cluster}" for cluster in clusters])


def farthest(population: Population, rows: Rows, vectors: Vectors, heard: Vectors, n: int) -> Chosen:
    """Choose windows that are far from each other and from those heard before.

    Parameters
    ----------
    population
        Windows that may be asked.
    rows, vectors
        Some of them, and their scaled vectors, shape (n_rows, n_scaled).
    heard
        Vectors of windows that were heard before, shape (n_heard, n_scaled).
    n
        How many to choose.

    Returns
    -------
    Chosen
        ``score`` is the distance to the nearest of those before. Where nothing was heard yet, the first is the window
        nearest to the mean.

    Notes
    -----
    Gonzalez 1985, "Clustering to minimize the maximum intercluster distance". No ten minutes of a recorder give a
    second window before all others have given one.
    """
    spans = population.spans(rows)
    squares = np.einsum("ij,ij->i", vectors, vectors)

    def squared_to(one: Vectors) -> NDArray[np.float32]:
        return np.asarray(np.maximum(squares - 2 * (vectors @ one) + one @ one, 0), dtype=np.float32)

    distance = np.full(len(rows), np.inf, dtype=np.float32)
    for one in heard:
        np.minimum(distance, squared_to(one), out=distance)
    is_free, is_left = np.ones((2, len(rows)), dtype=np.bool_)
    chosen: list[int] = []
    score: list[float] = []
    while len(chosen) < min(n, len(rows)):
        if not (is_free & is_left).any():
            is_free[:] = True
        can = is_free & is_left
        if chosen or len(heard):
            best = int(np.where(can, distance, -1).argmax())
            score.append(float(np.sqrt(distance[best])))
        else:
            best = int(squared_to(vectors.mean(axis=0)).argmin())
            score.append(float("nan"))
        chosen.append(best)
        is_left[best] = False
        is_free &= spans != spans[best]
        np.minimum(distance, squared_to(vectors[best]), out=distance)
    return Chosen(rows[chosen], score=np.array(score))


def ranked(
    population: Population,
    scores: Mapping[str, NDArray[np.float64]],
    n: int,
    *,
    key: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Chosen:
    """Choose the windows whose scores are best, sound by sound in turn.

    Parameters
    ----------
    population
        Windows that may be asked.
    scores
        Of each window, shape (n_windows,), by sound; NaN for those that are not to be chosen.
    n
        How many to choose.
    key
        Turns scores into numbers of which the largest is best.

    Returns
    -------
    Chosen
        ``score`` is the score, ``stratum`` the sound.
    """
    lists = {}
    for sound, values in scores.items():
        best_first = np.argsort(-key(values), kind="stable")  # NaN comes last
        lists[sound] = spread(population, best_first[: np.count_nonzero(~np.isnan(values))], n)
    return _in_turn(lists, scores, n)


def evenly(
    population: Population, scores: Mapping[str, NDArray[np.float64]], n: int, random: np.random.Generator
) -> Chosen:
    """Choose windows evenly over the score, sound by sound in turn: what a fit of precision over the score needs.

    Parameters
    ----------
    population, scores, n
        As for :func:`ranked`.
    random
        Decides within a step of the score.

    Notes
    -----
    From the lowest to the highest score there are n steps of the same width. Each in turn, from the top, gives a window
    that is drawn at random, of ten minutes that no higher score is of where there are such, until there are enough.
    """
    lists = {}
    for sound, values in scores.items():
        known = random.permutation(np.flatnonzero(~np.isnan(values)))
        low, high = (float(values[known].min()), float(values[known].max())) if len(known) else (0.0, 0.0)
        step = np.minimum((values[known] - low) / max(high - low, 1e-12) * n, n - 1).astype(np.int64)
        from_top = np.argsort(-step, kind="stable")
        known, step = known[from_top], step[from_top]
        is_again = _places(population.spans(known)) > 0
        in_step = np.lexsort((is_again, -step))
        lists[sound] = known[in_step][np.argsort(_places(step[in_step]), kind="stable")][:n]
    return _in_turn(lists, scores, n)


def _in_turn(lists: Mapping[str, Rows], values: Mapping[str, NDArray[np.float64]], n: int) -> Chosen:
    """Return the first n windows of several lists, one of each in turn, each window once."""
    sounds = list(lists)
    rows = np.concatenate([lists[sound] for sound in sounds])
    turn = np.concatenate([np.arange(len(lists[sound])) for sound in sounds])
    of = np.repeat(np.arange(len(sounds)), [len(lists[sound]) for sound in sounds])
    order = np.argsort(turn, kind="stable")
    _, first = np.unique(rows[order], return_index=True)
    kept = order[np.sort(first)][:n]
    score = np.array([values[sounds[of[i]]][rows[i]] for i in kept], dtype=np.float64)
    return Chosen(rows[kept], score=score, stratum=[sounds[of[i]] for i in kept])


def _places(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each element among those of its group, from 0, in their order."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    begins = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1)) if len(ordered) else np.empty(0, dtype=np.int64)
    out = np.empty(len(groups), dtype=np.int64)
    out[order] = np.arange(len(groups)) - np.repeat(begins, np.diff(begins, append=len(groups)))
    return out
