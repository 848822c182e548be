"""Training and test: splits that keep what belongs together on one side, and the leaky one for comparison."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
LEAKY = "leaky"


def leaky_folds(labels: Ints, n_folds: int, seed: int) -> Ints:
    """Return a fold for each interval, drawn label by label as if intervals were independent, shape (n,)."""
    random = np.random.default_rng([seed, 1])
    folds = np.empty(len(labels), dtype=np.int64)
    begin = 0
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        folds[rows] = (begin + np.arange(len(rows))) % n_folds
        begin += len(rows)  # the next label goes on where this one ended, so that folds are even
    return folds


def grouped_folds(groups: Ints, labels: Ints, n_folds: int, seed: int) -> Ints:
    """Return a fold for each interval so that no group is in two, shape (n,).

    Parameters
    ----------
    groups
        Number of the group of each interval, from 0.
    labels
        Number of its label, from 0.
    n_folds
        As many folds, or one a group if there are fewer.

    Notes
    -----
    Largest group first, each to the fold where its labels are rarest so far, so that labels are spread as well
    as the groups allow.
    """
    n_groups, n_labels = int(groups.max()) + 1, int(labels.max()) + 1
    counts = np.bincount(groups * n_labels + labels, minlength=n_groups * n_labels).reshape(n_groups, n_labels)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    filled = np.zeros((min(n_folds, n_groups), n_labels))
    fold_of = np.empty(n_groups, dtype=np.int64)
    order = np.random.default_rng([seed, 2]).permutation(n_groups)
    for group in order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]:
        crowded = filled @ shares[group]
        fold = np.lexsort((filled.sum(axis=1), np.round(crowded, 12)))[0]
        filled[fold] += shares[group]
        fold_of[group] = fold
    return fold_of[groups]


def label_seen(folds: Ints, labels: Ints) -> float:
    """Return the share of intervals whose label is also in another fold: the most that anything can learn."""
    known = {(int(fold), int(label)) for fold, label in zip(folds, labels, strict=True)}
    elsewhere = {label: sum(1 for _, other in known if other == label) for _, label in known}
    return float(np.mean([elsewhere[int(label)] > 1 for label in labels]))
