"""What can be read off vectors: by neighbours, by a linear probe, by k-means; always on what was held out."""

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


def standardised(train: Vectors, test: Vectors) -> tuple[Vectors, Vectors]:
    """Return both with mean 0 and deviation 1 of each feature over the training vectors."""
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    deviation = np.where(deviation > 1e-6 * np.abs(mean), deviation, 1)
    first, second = ((part - mean) / deviation for part in (train, test))
    return first.astype(np.float32), second.astype(np.float32)


def neighbours(n: int) -> Predict:
    """Return the prediction by the n nearest training vectors by cosine; of a tie, the nearer ones decide."""

    def predict(train: Vectors, labels: Ints, test: Vectors) -> Ints:
        a, b = (_unit(part) for part in standardised(train, test))
        likeness = b @ a.T
        near = np.argsort(-likeness, axis=1, kind="stable")[:, : min(n, len(train))]
        votes = np.zeros((len(test), int(labels.max()) + 1))
        weight = 1 + 1e-3 * np.take_along_axis(likeness, near, axis=1)
        np.add.at(votes, (np.arange(len(test))[:, None], labels[near]), weight)
        return np.asarray(votes.argmax(axis=1), dtype=np.int64)

    return predict


def linear(train: Vectors, labels: Ints, test: Vectors) -> Ints:
    """Return the prediction of a logistic regression on standardised features (ridge penalty 1)."""
    if len(np.unique(labels)) < 2:
        return np.full(len(test), labels[0], dtype=np.int64)
    a, b = standardised(train, test)
    with warnings.catch_warnings():
        # After 300 steps the last digits of the weights change no label.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(max_iter=300, tol=1e-3).fit(a, labels)
    return np.asarray(model.predict(b), dtype=np.int64)


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


def held_out_clusters(vectors: Vectors, labels: Ints, folds: Ints, *, n_clusters: int, seed: int) -> tuple[Ints, Ints]:
    """Return cluster and, by the other folds, the label of the cluster of each interval.

    K-means is fitted to the other folds' vectors (standardised, length 1), four starts, the best.
    """
    clusters, named = np.empty(len(labels), dtype=np.int64), np.empty(len(labels), dtype=np.int64)
    for fold in np.unique(folds):
        test = folds == fold
        a, b = (_unit(part) for part in standardised(vectors[~test], vectors[test]))
        model = KMeans(min(n_clusters, len(np.unique(a, axis=0))), n_init=4, random_state=seed).fit(a)
        clusters[test] = model.predict(b)
        named[test] = names_of(model.labels_.astype(np.int64), labels[~test])[clusters[test]]
    return clusters, named


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
