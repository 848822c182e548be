"""The recipe of perch-hoplite for its linear heads, written anew from its published notebook and classifier.

Google Research, perch-hoplite, ``agile/02_agile_modeling.ipynb`` and ``agile/classifier.py`` (2026): one linear layer
for all sounds, cross-entropy of each, 128 steps of Adam; batches of 128 windows that were judged and 128 that were not,
which count as no with weight .05. It keeps a tenth of the judged windows to measure with; here all are learnt from.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lake.scaling import Vectors

LEARNING_RATE: Final = 1e-3
N_STEPS: Final = 128
BATCH: Final = 128
WEAK_BATCH: Final = 128
WEAK_WEIGHT: Final = 0.05
DECAY: Final = (0.9, 0.999)
EPSILON: Final = 1e-7
"""These two are Adam's in Keras."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def linear_heads(vectors: Vectors, heard: Rows, truth: Bools, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the weights and the biases of the heads of all sounds.

    Parameters
    ----------
    vectors
        Of all windows, shape (n_windows, n_features).
    heard
        Rows of the windows that were judged, each for every sound.
    truth
        Whether each sound is in each window, shape (n_windows, n_sounds); only that of ``heard`` is read.
    random
        Draws the first weights and the batches.

    Returns
    -------
    tuple
        Weights, shape (n_features, n_sounds), and biases, shape (n_sounds,).
    """
    n_features, n_sounds = vectors.shape[1], truth.shape[1]
    bound = np.sqrt(6 / (n_features + n_sounds))
    layer = np.zeros((n_features + 1, n_sounds))
    layer[:-1] = random.uniform(-bound, bound, (n_features, n_sounds))
    first, second = np.zeros((2, *layer.shape))
    judged = _stream(heard, random)
    others = np.setdiff1d(np.arange(len(vectors)), heard)
    unjudged = _stream(others, random) if len(others) else None
    for step in range(1, N_STEPS + 1):
        rows = [next(judged) for _ in range(BATCH)]
        weak = [next(unjudged) for _ in range(WEAK_BATCH)] if unjudged else []
        x = np.ones((len(rows) + len(weak), n_features + 1))
        x[:, :-1] = vectors[rows + weak]
        is_yes = np.zeros((len(x), n_sounds))
        is_yes[: len(rows)] = truth[rows]
        weight = np.where(np.arange(len(x)) < len(rows), 1.0, WEAK_WEIGHT)[:, None]
        error = weight * (_sigmoid(x @ layer) - is_yes) / is_yes.size
        gradient = x.T @ error
        first = DECAY[0] * first + (1 - DECAY[0]) * gradient
        second = DECAY[1] * second + (1 - DECAY[1]) * np.square(gradient)
        rate = LEARNING_RATE * np.sqrt(1 - DECAY[1] ** step) / (1 - DECAY[0] ** step)
        layer -= rate * first / (np.sqrt(second) + EPSILON)
    return layer[:-1], layer[-1]


def _stream(rows: Rows, random: np.random.Generator) -> Iterator[int]:
    """Yield rows without end, each once in a random order before any comes again."""
    while True:
        yield from random.permutation(rows).tolist()


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -500, 500))))
