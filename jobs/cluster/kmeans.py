"""The fit: mini-batch k-means, one matrix product a batch."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from jobs.cluster.config import Config
from jobs.cluster.core import assign, first_centroids
from lake.scaling import Vectors

ROWS_OF_A_PRODUCT = 512
"""Windows whose nearest centroids one matrix product finds, whatever the number of threads."""


@dataclass(frozen=True)
class Schedule:
    """The number and size of the batches that a fit sees.

    Attributes
    ----------
    batch_size
        Windows in a batch: as configured, but not fewer than clusters nor more than windows.
    n_batches
        Batches in all.
    n_settling
        Batches of an epoch: in those of the first and of the last no cluster starts anew.
    """

    batch_size: int
    n_batches: int
    n_settling: int


def schedule(n_windows: int, n_clusters: int, batch_size: int, n_epochs: int, max_batches: int | None) -> Schedule:
    """Return the schedule of a fit; windows left over by an epoch go into the next one's batches."""
    size = min(n_windows, max(batch_size, n_clusters))
    total = max(1, n_epochs * n_windows // size)
    total = total if max_batches is None else min(total, max_batches)
    return Schedule(size, total, min(total, max(1, n_windows // size)))


@dataclass
class State:
    """State of a fit after some batches.

    Attributes
    ----------
    centroids
        float32, shape (n_clusters, n_features).
    taken
        Windows that each centroid is the mean of, float64, shape (n_clusters,).
    n_since
        Windows since small clusters were looked for.
    n_batches
        Batches that were taken.
    random
        Draws the windows that small clusters start anew on.
    """

    centroids: Vectors
    taken: NDArray[np.float64]
    n_since: int
    n_batches: int
    random: np.random.Generator


def begun(first: Vectors, seed: int) -> State:
    """Return the state before the first batch, with centroids to begin with, shape (n_clusters, n_features)."""
    return State(np.array(first, dtype=np.float32), np.zeros(len(first)), 0, 0, np.random.default_rng([seed, 1]))


def fit(batches: Iterable[Vectors], first: Vectors, config: Config, plan: Schedule, *, threads: int = 1) -> Vectors:
    """Return the centroids, float32, shape (n_clusters, n_features), after all batches; see :func:`steps`."""
    state = begun(first, config.seed)
    for _ in steps(batches, state, config, plan, threads=threads):
        pass
    return state.centroids


def steps(
    batches: Iterable[Vectors], state: State, config: Config, plan: Schedule, *, threads: int = 1
) -> Iterator[None]:
    """Move centroids, batch by batch; yield after each one.

    Parameters
    ----------
    batches
        Scaled vectors, each shape (n, n_features) with n at least the number of clusters; the first of them is the
        one after ``state.n_batches`` others.
    state
        Where the fit stands; it is changed in place.
    config
        The job's configuration.
    plan
        How many batches there are, and how many of the first and of the last ones start no cluster anew:
        k-means++ put a centroid on a window, which shall have been seen before it is given up; and one that
        was put on a window by chance shall not end there.
    threads
        That share the products of a batch; they change no byte.

    Notes
    -----
    Sculley 2010, "Web-scale k-means clustering", a batch at a time: a centroid is the mean of all windows it
    has taken. Small clusters start anew as in scikit-learn's ``MiniBatchKMeans``: after every ten windows a
    cluster, or while one has none, those below ``reassignment_ratio`` of the largest, and of a batch's
    windows half at most. Same batches and no restarts give scikit-learn's centroids up to rounding.
    """
    centroids, taken = state.centroids, state.taken
    with ThreadPoolExecutor(max(1, threads - 1)) as others:
        for batch in batches:
            _move(centroids, taken, batch, _nearest(batch, centroids, others if threads > 1 else None))
            state.n_since += len(batch)
            is_due = state.n_since >= 10 * len(centroids) or not taken.all()
            is_time = plan.n_settling <= state.n_batches < plan.n_batches - plan.n_settling
            if is_due and is_time and config.reassignment_ratio > 0:
                state.n_since = 0
                _restart(centroids, taken, batch, config.reassignment_ratio, state.random)
            state.n_batches += 1
            yield


def fit_sample(sample: Vectors, n_clusters: int, config: Config, *, seed: int) -> Vectors:
    """Return the centroids of a sample that is in memory, each epoch in an order of its own."""
    plan = schedule(len(sample), n_clusters, config.batch_size, config.n_epochs, config.max_batches)
    random = np.random.default_rng([seed, 5])
    start = first_centroids(sample, n_clusters, seed)

    def stream() -> Iterable[Vectors]:
        order = np.empty(0, dtype=np.int64)
        for _ in range(plan.n_batches):
            if len(order) < plan.batch_size:
                order = np.concatenate([order, random.permutation(len(sample))])
            yield sample[order[: plan.batch_size]]
            order = order[plan.batch_size :]

    return fit(stream(), start, config, plan)


def labels_of(sample: Vectors, centroids: Vectors) -> NDArray[np.int16]:
    """Return the nearest centroid of each vector."""
    return assign(sample, centroids)[0]


def _nearest(batch: Vectors, centroids: Vectors, others: ThreadPoolExecutor | None) -> NDArray[np.intp]:
    """Return the nearest centroid of each vector; threads, if there are others, share the products."""
    half = np.einsum("ij,ij->i", centroids, centroids) / 2

    def of(first: int) -> NDArray[np.intp]:
        nearness = batch[first : first + ROWS_OF_A_PRODUCT] @ centroids.T
        nearness -= half
        return np.asarray(nearness.argmax(axis=1))

    begins = range(0, len(batch), ROWS_OF_A_PRODUCT)
    if others is None or len(begins) == 1:
        return np.concatenate([of(first) for first in begins])
    running = [others.submit(of, first) for first in begins[1:]]
    return np.concatenate([of(0), *(part.result() for part in running)])


def _move(centroids: Vectors, taken: NDArray[np.float64], batch: Vectors, nearest: NDArray[np.intp]) -> None:
    """Take a batch into the means of its nearest centroids, in place."""
    counts = np.bincount(nearest, minlength=len(centroids))
    begins = np.concatenate([[0], np.cumsum(counts)])
    order = np.argsort(nearest, kind="stable")
    sums = csr_array((np.ones(len(batch), np.float32), order, begins), shape=(len(centroids), len(batch))) @ batch
    hit = counts > 0
    total = taken[hit] + counts[hit]
    centroids[hit] *= (taken[hit] / total).astype(np.float32)[:, None]
    centroids[hit] += sums[hit] * (1 / total).astype(np.float32)[:, None]
    taken[hit] = total


def _restart(
    centroids: Vectors, taken: NDArray[np.float64], batch: Vectors, ratio: float, random: np.random.Generator
) -> None:
    """Move the centroids of small clusters onto windows of a batch, in place."""
    small = np.flatnonzero(taken < ratio * taken.max())
    most = len(batch) // 2
    if len(small) > most:
        small = small[np.argsort(taken[small], kind="stable")[:most]]
    if not len(small):
        return
    centroids[small] = batch[random.choice(len(batch), size=len(small), replace=False)]
    taken[small] = np.delete(taken, small).min()
