"""Windows that are heard until every kind of sound was, exemplars of clusters first or in random order."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.integrate import quad

from jobs.common.labels.intervals import Labels
from jobs.evaluate.core import NONE, dominant_labels
from lake.read import Windows, grid_of, usable_windows

MIN_OVERLAP_MS = 500

Ints = NDArray[np.int64]


def windows_until_all_kinds(clusters: xr.Dataset, truth: Labels) -> dict[str, float]:
    """Return how many windows are heard on average until labelled kinds were, by order.

    Parameters
    ----------
    clusters
        A cluster store.
    truth
        Labelled intervals; a window's kind is the label that covers most of it.

    Returns
    -------
    dict
        ``every kind``: until the last of the kinds came; ``a kind``: until a kind came, the mean over the kinds.
        ``exemplars first``: the first exemplar of each cluster, the largest cluster first, then the second ones, and
        so on, then all others at random; ``random order``: all at random. Windows without a label are heard as well.
    """
    windows = usable_windows(clusters, status="cluster_status")
    label = _labels_of_windows(clusters, windows, truth)
    row_of = {place: row for row, place in enumerate(zip(windows.recorder, windows.cell, strict=True))}
    order = np.argsort(-clusters["n_windows"].to_numpy(), kind="stable")
    recorder, cell = (clusters[f"exemplar_{part}"].to_numpy()[order].T.ravel() for part in ("recorder", "cell"))
    there = cell >= 0
    first = [row_of[place] for place in zip(recorder[there], cell[there], strict=True)]
    return {
        "every kind, exemplars first": mean_until_all(label, first),
        "every kind, random order": mean_until_all(label, []),
        "a kind, exemplars first": mean_until_each(label, first),
        "a kind, random order": mean_until_each(label, []),
    }


def mean_until_all(label: Ints, first: Sequence[int]) -> float:
    """Return the mean number of windows until every label came once, some windows first and the others at random.

    Parameters
    ----------
    label
        Of each window; -1 is no label.
    first
        Numbers of the windows that come first, in order.
    """
    opened = label[np.asarray(first, dtype=np.int64)]
    missing = np.setdiff1d(label[label != NONE], opened)
    if len(missing):
        rest = np.delete(label, np.asarray(first, dtype=np.int64))
        return len(opened) + mean_in_random_order(len(rest), [int(np.sum(rest == kind)) for kind in missing])
    kinds, at = np.unique(opened, return_index=True)
    return float(at[kinds != NONE].max(initial=-1) + 1)


def mean_until_each(label: Ints, first: Sequence[int]) -> float:
    """Return the mean number of windows until a label came, the mean over the labels; see :func:`mean_until_all`."""
    opened, rest = label[np.asarray(first, dtype=np.int64)], np.delete(label, np.asarray(first, dtype=np.int64))
    until = []
    for kind in np.unique(label[label != NONE]):
        at = np.flatnonzero(opened == kind)
        until.append(at[0] + 1 if len(at) else len(opened) + (len(rest) + 1) / (np.sum(rest == kind) + 1))
    return float(np.mean(until)) if until else 0.0


def mean_in_random_order(n_windows: int, n_of_kind: Sequence[int]) -> float:
    """Return the mean number of windows until one of each kind came, all orders being equally likely.

    Parameters
    ----------
    n_windows
        In all, others included.
    n_of_kind
        Windows of each kind.

    Notes
    -----
    The first of s windows comes at (n + 1) / (s + 1) on average. The last of all kinds to begin follows from the first
    of each set of kinds by inclusion and exclusion; with 1 / (s + 1) = ∫ x^s dx from 0 to 1 the sum over all sets is
    (n + 1) ∫ 1 - Π (1 - x^n_k) dx.
    """
    counts = np.asarray(n_of_kind, dtype=np.float64)
    bends = 1 - 1 / (counts + 1)
    integral, _ = quad(lambda x: 1 - np.prod(1 - x**counts), 0, 1, points=np.unique(bends), limit=500)
    return float((n_windows + 1) * integral)


def _labels_of_windows(clusters: xr.Dataset, windows: Windows, truth: Labels) -> Ints:
    grid = grid_of(clusters)
    label = np.full(len(windows), NONE, dtype=np.int64)
    for i, recorder in enumerate(clusters["recorder"].to_numpy().tolist()):
        own = windows.recorder == i
        if recorder in truth.by_recorder:
            found = dominant_labels(truth.by_recorder[recorder], windows.cell[own], grid, min_overlap_ms=MIN_OVERLAP_MS)
            label[own] = found
    return label
