"""The cluster job against scikit-learn's MiniBatchKMeans: time, inertia, memory, in threads and on Dask workers."""

import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import dask.array
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from benchmarks.cluster_workers import described, parts, whole_job
from benchmarks.report import FOLDER, Figure, report
from benchmarks.studies import embedding_run
from jobs.cluster.batches import batches
from jobs.cluster.config import Config
from jobs.cluster.core import assign, first_centroids
from jobs.cluster.kmeans import fit, schedule
from jobs.cluster.source import Kept
from jobs.common.machines import local_client
from jobs.common.ordered import Team
from lake.scaling import Scale, Scaling, Vectors
from lake.vectors import open_vectors

N_WINDOWS, N_FEATURES, K, BATCH, EPOCHS = 230_259, 384, 100, 1024, 10
ROUNDS = 3
THREADS = 2
CONFIG = Config(n_clusters=K, batch_size=BATCH, n_epochs=EPOCHS, normalise="none")

SIZES = [int(size) for size in os.environ.get("DAWNCHORUS_BENCH_WINDOWS", "230259 2200000").split()]
"""Windows of the whole jobs that are measured: one epoch, ten of the smallest study."""
STREAMED = 10_000_000
"""From so many windows on, a study is of float16, and no day of it is a link to another."""
WORKERS = [int(n) for n in os.environ.get("DAWNCHORUS_BENCH_WORKERS", "0 1 2 4").split()]
"""Workers of a local Dask cluster that whole jobs are measured on; 0 are two threads."""


def ours(url: str) -> Vectors:
    """Read all vectors once, choose first centroids, fit."""
    team = Team(THREADS)
    kept = Kept(open_vectors([url]), N_FEATURES, team)
    spans, n_windows = kept.sets.spans, kept.sets.n_windows
    rows = np.sort(np.random.default_rng(0).permutation(n_windows)[: CONFIG.n_init_windows])
    sample = []
    for span, vectors in zip(spans, team.in_order(kept.read_raw, enumerate(spans)), strict=True):
        low, high = np.searchsorted(rows, [span.first_row, span.first_row + len(vectors)])
        sample.append(vectors[rows[low:high] - span.first_row])
    plan = schedule(n_windows, K, BATCH, EPOCHS, None)
    as_they_are = Scaling((Scale(np.zeros(N_FEATURES), np.ones(N_FEATURES), unit=False),))
    stream = batches(
        kept.pool_reader(as_they_are), [len(span.cells) for span in spans], plan, buffer_windows=CONFIG.buffer_windows,
        seed=0, threads=THREADS,
    )  # fmt: skip
    return fit(stream, first_centroids(np.concatenate(sample), K, 0), CONFIG, plan, threads=THREADS)


def theirs(vectors: Vectors, threads: int) -> Vectors:
    """Fit scikit-learn's on vectors in memory: as many batches of the same size, the same way to begin."""
    model = MiniBatchKMeans(
        K, batch_size=BATCH, max_iter=EPOCHS, n_init=1, init_size=CONFIG.n_init_windows, tol=0.0,
        max_no_improvement=None, compute_labels=False, random_state=0,
    )  # fmt: skip
    with threadpool_limits(threads):
        model.fit(vectors)
    n_batches = schedule(len(vectors), K, BATCH, EPOCHS, None).n_batches
    if model.n_steps_ != n_batches:
        raise RuntimeError(f"scikit-learn saw {model.n_steps_} batches, ours are {n_batches}: no comparison")
    return np.asarray(model.cluster_centers_, dtype=np.float32)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result."""
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def inertia(vectors: Vectors, centroids: Vectors) -> float:
    """Return the sum of squared distances to the nearest centroid."""
    return float(np.square(assign(vectors, centroids)[1], dtype=np.float64).sum())


def in_memory(url: str) -> Vectors:
    """Read the whole store with zarr, as one would before scikit-learn."""
    sets = open_vectors([url])
    days: list[NDArray[np.float32]] = []
    for i in range(len(sets.recorders)):
        n = sum(len(span.cells) for span in sets.spans if span.recorder == i)
        days.append(np.asarray(sets.arrays[0][i, :n]))
    return np.concatenate(days)


def in_dask_ml(vectors: Vectors) -> float | None:
    """Return the seconds of ``dask_ml.wrappers.Incremental`` around scikit-learn's, an epoch; ``None`` if not there."""
    try:
        from dask_ml.wrappers import Incremental  # noqa: PLC0415 (measured only where it is installed; no extra has it)
    except ImportError:
        return None
    model = Incremental(MiniBatchKMeans(K, batch_size=BATCH, n_init=1, random_state=0), assume_equal_chunks=True)
    with local_client(THREADS):
        return timed(partial(model.fit, dask.array.from_array(vectors, chunks=(BATCH, -1))))[0]


def whole_jobs(lake: Path, size: int) -> list[Figure]:
    """Measure the whole job on a study of some size, in threads and on workers; remove the study."""
    name, is_first, is_streamed = f"windows-{size}", size == N_WINDOWS, size >= STREAMED
    embedding_run(
        lake, name, n_windows=size, n_features=N_FEATURES, n_recorders=8,
        n_base=None if is_first or is_streamed else 4, dtype="float16" if is_streamed else "float32",
    )  # fmt: skip
    figures: list[Figure] = []
    for normalise in ("zscore_l2", "whiten") if is_first else ("zscore_l2",):
        for workers in WORKERS:
            found = whole_job(lake, name, workers=workers, epochs=EPOCHS if is_first else 1, normalise=normalise)
            who = f"{workers} workers" if workers else f"{THREADS} threads"
            figures += described(f"whole job, {size} windows, {normalise}, {who}", found)
            print(*figures[-3:], sep="\n", flush=True)
    shutil.rmtree(lake / "embeddings" / f"{name}.zarr")
    return figures


def main() -> None:
    """Measure and report."""
    lake = FOLDER / "cluster-lake"
    shutil.rmtree(lake, ignore_errors=True)
    small = embedding_run(lake, "small", n_windows=N_WINDOWS, n_features=N_FEATURES, n_recorders=8)
    url = small.output.url
    mine, alone, together, reading = [], [], [], []
    with threadpool_limits(1):
        for _ in range(ROUNDS):
            seconds, vectors = timed(partial(in_memory, url))
            reading.append(seconds)
            seconds, their_centroids = timed(partial(theirs, vectors, 1))
            alone.append(seconds)
            together.append(timed(partial(theirs, vectors, THREADS))[0])
            seconds, our_centroids = timed(partial(ours, url))
            mine.append(seconds)
        our_inertia, their_inertia = inertia(vectors, our_centroids), inertia(vectors, their_centroids)
    peer = in_dask_ml(vectors)
    del vectors
    took, read = median(mine), median(reading)
    figures = [
        Figure(
            "read and fit",
            took,
            "s",
            f"scikit-learn's fit{after}, {n} of {THREADS} threads, {theirs_s:.1f} s",
            theirs_s / took,
        )
        for n, fitted in ((1, median(alone)), (THREADS, median(together)))
        for after, theirs_s in ((" of data in memory", fitted), (" after reading", fitted + read))
    ]
    figures.append(
        Figure("inertia", our_inertia, "", f"scikit-learn, {their_inertia:.6g}", their_inertia / our_inertia)
    )
    if peer is not None:
        figures.append(Figure("dask_ml's Incremental, one epoch", peer, "s"))
    with threadpool_limits(1):
        figures += parts()
    report("cluster", figures)
    for size in SIZES:
        figures += whole_jobs(lake, size)
        report("cluster", figures)
    shutil.rmtree(lake)


if __name__ == "__main__":
    main()
