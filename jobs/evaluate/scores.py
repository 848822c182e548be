"""Everything that is measured of labelled intervals, as rows of a table."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.config import Config
from jobs.evaluate.measures import Measure, Weights, accuracies, agreements, with_intervals
from jobs.evaluate.probes import (
    Predict,
    Prepare,
    clusterings,
    commonest,
    held_out,
    held_out_clusters,
    linear,
    names_of,
    neighbours,
    standardised,
)
from jobs.evaluate.splits import LEAKY, grouped_folds, label_seen, leaky_folds
from jobs.evaluate.units import GROUPS, Units

Ints = NDArray[np.int64]
Who = tuple[str, str]
"""An input's role and its run."""
CHANCE = "chance"
ALL = "all"
"""The split of measures that use no label, on all intervals."""


@dataclass(frozen=True)
class Split:
    """One way to split intervals: its name, the rows that take part, their group and their fold."""

    name: str
    rows: Ints
    groups: Ints
    folds: Ints
    label_seen: float


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes
    ----------
    role, run
        What was measured: the input's role and its run; or ``chance``, with the run whose clusters were dealt
        by lot, if any.
    split
        ``leaky``, or what is never on both sides: ``recording``, ``day``, ``recorder``, ``group``.
    measure
        ``knn_accuracy``, ``linear_balanced_accuracy``, ``kmeans_ami`` and so on.
    value, low, high
        The figure, and the 2.5th and 97.5th percentile over resampled groups.
    n_intervals, n_groups, n_labels
        What took part.
    label_seen
        Share of the intervals whose label training has at all: no accuracy can be higher.
    """

    role: str
    run: str
    split: str
    measure: str
    value: float
    low: float
    high: float
    n_intervals: int
    n_groups: int
    n_labels: int
    label_seen: float


def make_splits(units: Units, labels: Ints, config: Config) -> list[Split]:
    """Return the leaky split and those by every group of which there are at least two.

    A split that leaves training without any of the labels it is asked for says nothing, and is left out.
    """
    everything = np.arange(len(units))
    folds = leaky_folds(labels, config.n_folds, config.seed)
    splits = [Split(LEAKY, everything, everything, folds, label_seen(folds, labels))]
    for kind in GROUPS:
        rows, groups = units.groups(kind)
        if len(rows) and groups.max() > 0:
            folds = grouped_folds(groups, labels[rows], config.n_folds, config.seed)
            splits.append(Split(kind, rows, groups, folds, label_seen(folds, labels[rows])))
    return [split for split in splits if split.label_seen > 0]


def of_vectors(
    who: Who,
    vectors: NDArray[np.float32],
    labels: Ints,
    split: Split,
    config: Config,
    *,
    prepare: Prepare = standardised,
) -> list[Row]:
    """Return k-NN, the linear probe and k-means (as many clusters as labels) of one split, all on what was held out."""
    x, y = vectors[split.rows], labels[split.rows]
    probes: Mapping[str, Predict] = {"knn": neighbours(config.n_neighbours, prepare), "linear": linear(prepare)}
    measured: dict[str, Measure] = {
        name: accuracies(held_out(probe, x, y, split.folds), y) for name, probe in probes.items()
    }
    n_labels = len(np.unique(y))
    clusters, named = held_out_clusters(x, y, split.folds, n_clusters=n_labels, seed=config.seed, prepare=prepare)
    measured["kmeans"] = agreements(clusters, y, split.folds, named)
    return [row for name, measure in measured.items() for row in _rows(who, name, measure, y, split, config)]


def of_all(who: Who, vectors: NDArray[np.float32], labels: Ints, config: Config, *, prepare: Prepare) -> list[Row]:
    """Return k-means (as many clusters as labels) of all intervals at once, the mean of five seeds.

    No label is used before the comparison, so nothing can leak; there is no purity, which needs names from training.
    """
    n, everything = len(labels), np.arange(len(labels))
    whole = np.zeros(n, dtype=np.int64)
    found = [
        agreements(clusters, labels, whole, labels)
        for clusters in clusterings(vectors, n_clusters=len(np.unique(labels)), seed=config.seed, prepare=prepare)
    ]

    def measure(weights: Weights) -> dict[str, float]:
        each = [one(weights) for one in found]
        return {key: float(np.mean([one[key] for one in each])) for key in ("ami", "ari", "nmi")}

    return _rows(who, "kmeans", measure, labels, Split(ALL, everything, everything, whole, 1.0), config)


def of_clusters(who: Who, clusters: Ints, labels: Ints, split: Split, config: Config) -> list[Row]:
    """Return how a clustering of everything agrees with labels; its purity by names that other folds gave."""
    c, y = clusters[split.rows], labels[split.rows]
    whole = np.zeros(len(y), dtype=np.int64)
    return _rows(who, "clusters", agreements(c, y, whole, _named(c, y, split)), y, split, config)


def of_chance(labels: Ints, split: Split, config: Config) -> list[Row]:
    """Return what the commonest label of training is right about, and clusters drawn at random, as many as labels."""
    y = labels[split.rows]
    found = held_out(commonest, np.zeros((len(y), 1), dtype=np.float32), y, split.folds)
    drawn = np.random.default_rng([config.seed, 5]).integers(len(np.unique(y)), size=len(y))
    lots = agreements(drawn, y, split.folds, _named(drawn, y, split))
    guessed = _rows((CHANCE, ""), "commonest", accuracies(found, y), y, split, config)
    return [*guessed, *_rows((CHANCE, ""), "kmeans", lots, y, split, config)]


def of_lots(run: str, clusters: Ints, labels: Ints, split: Split, config: Config) -> list[Row]:
    """Return how a clustering's own clusters agree with labels when they are assigned to intervals at random.

    NMI and purity grow with the number of clusters whatever these hold: this is what they grow to.
    """
    dealt = np.random.default_rng([config.seed, 6]).permutation(clusters)
    return of_clusters((CHANCE, run), dealt, labels, split, config)


def _named(clusters: Ints, labels: Ints, split: Split) -> Ints:
    """Return the commonest label that the other folds give to each interval's cluster."""
    named, n_clusters = np.empty(len(labels), dtype=np.int64), int(clusters.max()) + 1
    for fold in np.unique(split.folds):
        test = split.folds == fold
        named[test] = names_of(clusters[~test], labels[~test], n_clusters)[clusters[test]]
    return named


def _rows(who: Who, name: str, measure: Measure, labels: Ints, split: Split, config: Config) -> list[Row]:  # noqa: PLR0917
    halves = "accuracy" not in measure(np.ones(len(labels), dtype=np.int64))
    found = with_intervals(measure, split.groups, n_bootstrap=config.n_bootstrap, seed=config.seed, halves=halves)
    n_groups, n_labels = int(split.groups.max()) + 1, len(np.unique(labels))
    counts, seen = (len(labels), n_groups, n_labels), round(split.label_seen, 4)
    rows = []
    for key, numbers in found.items():
        value, low, high = (round(number, 4) for number in numbers)
        rows.append(Row(*who, split.name, f"{name}_{key}", value, low, high, *counts, seen))
    return rows
