"""Agreement of clusters with labels, accuracy, and bootstrap intervals over groups."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.cluster import expected_mutual_information

Ints = NDArray[np.int64]
Weights = NDArray[np.int64]
Measure = Callable[[Weights], dict[str, float]]
"""From how often each interval counts to the value of each measure."""
TINY = 1e-12
HALVES_ARE_SLOW = 4
"""Halves are drawn this many times less often than whole resamples: chance agreement takes long to compute."""


def table_of(clusters: Ints, labels: Ints, weights: Weights) -> Ints:
    """Return how often each cluster and label meet, shape (n_clusters, n_labels)."""
    n_clusters, n_labels = int(clusters.max()) + 1, int(labels.max()) + 1
    flat = np.bincount(clusters * n_labels + labels, weights=weights, minlength=n_clusters * n_labels)
    return np.rint(flat).astype(np.int64).reshape(n_clusters, n_labels)


def agreement(table: Ints) -> dict[str, float]:
    """Return AMI, ARI and NMI of a table of clusters by labels.

    Notes
    -----
    Vinh, Epps and Bailey 2010 (mutual information adjusted for chance and normalised by the arithmetic mean of
    both entropies); Hubert and Arabie 1985 (adjusted Rand index). All are 1 where there is nothing to separate.
    """
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    n, rows, columns = int(table.sum()), table.sum(axis=1), table.sum(axis=0)
    if len(rows) == len(columns) == 1 or n < 2:
        return {"ami": 1.0, "ari": 1.0, "nmi": 1.0}
    shared, either = information(table), (entropy(rows) + entropy(columns)) / 2
    expected = float(expected_mutual_information(table, n)) if len(rows) > 1 and len(columns) > 1 else 0.0
    room = either - expected
    pairs = np.square(table).sum() - n
    own, other = np.square(rows).sum() - n, np.square(columns).sum() - n
    by_chance = own * other / (n * (n - 1))
    spread = (own + other) / 2 - by_chance
    same = float(either - shared <= TINY)
    return {
        "ami": float((shared - expected) / room) if abs(room) > TINY else same,
        "ari": float((pairs - by_chance) / spread) if abs(spread) > TINY else same,
        "nmi": float(shared / either) if either > TINY else 0.0,
    }


def explained(table: Ints) -> float:
    """Return the share of the entropy of a table's rows that its columns explain, less what chance would."""
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    if min(table.shape) < 2:
        return 0.0
    expected = float(expected_mutual_information(table, int(table.sum())))
    room = entropy(table.sum(axis=1)) - expected
    return float((information(table) - expected) / room) if room > TINY else 0.0


def entropy(counts: Ints) -> float:
    """Return the entropy of counts, nats."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def information(table: Ints) -> float:
    """Return the mutual information of a table's rows and columns, nats."""
    return entropy(table.sum(axis=1)) + entropy(table.sum(axis=0)) - entropy(table.ravel())


def accuracies(found: Ints, labels: Ints) -> Measure:
    """Return the measure of predictions: the share that is right, and its mean over labels."""
    right, n_labels = (found == labels).astype(np.float64), int(labels.max()) + 1

    def measure(weights: Weights) -> dict[str, float]:
        hits = np.bincount(labels, weights=weights * right, minlength=n_labels)
        total = np.bincount(labels, weights=weights, minlength=n_labels)
        there = total > 0
        balanced = float((hits[there] / total[there]).mean())
        return {"accuracy": float(hits.sum() / total.sum()), "balanced_accuracy": balanced}

    return measure


def agreements(clusters: Ints, labels: Ints, folds: Ints, named: Ints) -> Measure:
    """Return the measure of clusters, fold by fold where each fold has clusters of its own.

    Parameters
    ----------
    clusters, labels
        Of each interval.
    folds
        Intervals that are compared with each other; all 0 for one clustering of all.
    named
        The label that training gave to the interval's cluster, for the purity of what was held out.
    """
    parts = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]

    def measure(weights: Weights) -> dict[str, float]:
        out = {"ami": 0.0, "ari": 0.0, "nmi": 0.0}
        for rows in parts:
            size = int(weights[rows].sum())
            if size:
                found = agreement(table_of(clusters[rows], labels[rows], weights[rows]))
                out = {key: value + found[key] * size for key, value in out.items()}
        total = float(weights.sum())
        purity = float((weights * (named == labels)).sum() / total)
        return {**{key: value / total for key, value in out.items()}, "purity": purity}

    return measure


def with_intervals(
    measure: Measure, groups: Ints, *, n_bootstrap: int, seed: int, halves: bool = False
) -> dict[str, tuple[float, float, float]]:
    """Return value, and the 2.5th and 97.5th percentile over resampled groups, of each measure.

    Parameters
    ----------
    groups
        Number of the group of each interval, from 0: what is resampled as a whole.
    halves
        Draw half of the groups, none twice, in place of as many as there are with some twice: what agreement of
        clusters with labels needs, because an interval that counts twice agrees with itself. Halves of groups
        spread as whole resamples do (Politis and Romano 1994); the percentiles are taken about the value.
    """
    n_groups = int(groups.max()) + 1
    n_half = n_groups // 2
    random = np.random.default_rng([seed, 3])
    value = measure(np.ones(len(groups), dtype=np.int64))
    drawn: dict[str, list[float]] = {key: [] for key in value}
    for _ in range(n_bootstrap // HALVES_ARE_SLOW if halves else n_bootstrap):
        chosen = random.permutation(n_groups)[:n_half] if halves else random.integers(n_groups, size=n_groups)
        times = np.bincount(chosen, minlength=n_groups)
        for key, one in measure(times[groups]).items():
            drawn[key].append(one)
    out = {}
    for key, found in drawn.items():
        low, high = np.percentile(found, [2.5, 97.5])
        if halves:
            spread = np.sqrt(n_half / (n_groups - n_half))
            low, high = (min(1.0, value[key] + spread * (edge - np.mean(found))) for edge in (low, high))
        out[key] = value[key], float(low), float(high)
    return out
