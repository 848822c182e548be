"""Probe vectors by neighbours, a linear classifier and k-means, always on held-out windows."""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]
Predict = Callable[[Vectors, Ints, Vectors], Ints]
"""From training vectors and labels and test vectors to the labels of those."""
Prepare = Callable[[Vectors, Vectors], tuple[Vectors, Vectors]]
"""From training and test vectors to both scaled, by what the training vectors are."""


def standardised(train: Vectors, test: Vectors) -> tuple[Vectors, Vectors]:
    """Return both with mean 0 and deviation 1 of each feature over the training vectors."""
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    deviation = np.where(deviation > 1e-6 * np.abs(mean), deviation, 1)
    first, second = ((part - mean) / deviation for part in (train, test))
    return first.astype(np.float32), second.astype(np.float32)


def one_scale(train: Vectors, test: Vectors) -> tuple[Vectors, Vectors]:
    """Return both over one deviation, that of all numbers of the training vectors: whitened axes keep their weight."""
    deviation = float(train.std(dtype=np.float64)) or 1.0
    return np.asarray(train / np.float32(deviation)), np.asarray(test / np.float32(deviation))


def neighbours(n: int, prepare: Prepare = standardised) -> Predict:
    """Return the prediction by the n nearest training vectors by cosine; of a tie, the nearer ones decide."""

    def predict(train: Vectors, labels: Ints, test: Vectors) -> Ints:
        a, b = (_unit(part) for part in prepare(train, test))
        likeness = b @ a.T
        near = np.argsort(-likeness, axis=1, kind="stable")[:, : min(n, len(train))]
        votes = np.zeros((len(test), int(labels.max()) + 1))
        weight = 1 + 1e-3 * np.take_along_axis(likeness, near, axis=1)
        np.add.at(votes, (np.arange(len(test))[:, None], labels[near]), weight)
        return np.asarray(votes.argmax(axis=1), dtype=np.int64)

    return predict


def linear(prepare: Prepare = standardised) -> Predict:
    """Return the prediction of a logistic regression (ridge penalty 1)."""

    def predict(train: Vectors, labels: Ints, test: Vectors) -> Ints:
        if len(np.unique(labels)) < 2:
            return np.full(len(test), labels[0], dtype=np.int64)
        a, b = prepare(train, test)
        with warnings.catch_warnings():
            # After 300 steps the last digits of the weights change no label.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(max_iter=300, tol=1e-3).fit(a, labels)
        return np.asarray(model.predict(b), dtype=np.int64)

    return predict


def commonest(train: Vectors, labels: Ints, test: Vectors) -> Ints:  # noqa: ARG001 (it is a prediction like the others)
    """Return the commonest training label for all: what can be had without listening."""
    return np.full(len(test), np.bincount(labels).argmax(), dtype=np.int64)


def held_out(predict: Predict, vectors: Vectors, labels: Ints, folds: Ints) -> Ints:
    """Return the prediction for each interval by what the other folds teach, shape (n,)."""
    out = np.empty(len(labels), dtype=np.int64)
    for fold in np.unique(folds):
        test = folds == fold
        out[test] = predict(vectors[~test], labels[~test], vectors[test])
    return out


def held_out_clusters(
    vectors: Vectors, labels: Ints, folds: Ints, *, n_clusters: int, seed: int, prepare: Prepare = standardised
) -> tuple[Ints, Ints]:
    """Return cluster and, by the other folds, the label of the cluster of each interval.

    K-means is fitted to the other folds' vectors (prepared, length 1), four starts, the best.
    """
    clusters, named = np.empty(len(labels), dtype=np.int64), np.empty(len(labels), dtype=np.int64)
    for fold in np.unique(folds):
        test = folds == fold
        a, b = (_unit(part) for part in prepare(vectors[~test], vectors[test]))
        model = KMeans(min(n_clusters, len(np.unique(a, axis=0))), n_init=4, random_state=seed).fit(a)
        clusters[test] = model.predict(b)
        named[test] = names_of(model.labels_.astype(np.int64), labels[~test])[clusters[test]]
    return clusters, named


def clusterings(vectors: Vectors, *, n_clusters: int, seed: int, prepare: Prepare, n: int = 5) -> list[Ints]:
    """Return the clusters of all vectors (prepared, length 1) by k-means from ``n`` single starts."""
    x = _unit(prepare(vectors, vectors)[0])
    n_clusters = min(n_clusters, len(np.unique(x, axis=0)))
    starts = range(n * seed, n * (seed + 1))
    return [KMeans(n_clusters, n_init=1, random_state=start).fit(x).labels_.astype(np.int64) for start in starts]


def names_of(clusters: Ints, labels: Ints, n_clusters: int | None = None) -> Ints:
    """Return the commonest label of each cluster; of a cluster without windows, the commonest of all."""
    n, n_labels = int(clusters.max()) + 1 if n_clusters is None else n_clusters, int(labels.max()) + 1
    table = np.bincount(clusters * n_labels + labels, minlength=n * n_labels).reshape(n, n_labels)
    names = table.argmax(axis=1)
    names[~table.any(axis=1)] = np.bincount(labels).argmax()
    return np.asarray(names, dtype=np.int64)


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), dtype=np.float32)
