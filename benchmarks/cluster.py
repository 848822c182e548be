"""The cluster job beside scikit-learn's MiniBatchKMeans: time, inertia, memory."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from benchmarks.report import FOLDER, Figure, report
from benchmarks.studies import embedding_run
from jobs.cluster.batches import batches
from jobs.cluster.config import Config
from jobs.cluster.core import assign, first_centroids
from jobs.cluster.kmeans import fit, schedule
from jobs.cluster.source import Kept, in_threads
from lake.scaling import Scale, Scaling, Vectors
from lake.vectors import open_vectors

N_WINDOWS, N_FEATURES, K, BATCH, EPOCHS = 230_259, 384, 100, 1024, 10
N_LARGE = 2_200_000
ROUNDS = 3
THREADS = 2
CONFIG = Config(n_clusters=K, batch_size=BATCH, n_epochs=EPOCHS, normalise="none")

LARGE = """
import json, sys, time
from pathlib import Path
from jobs.cluster import command
from jobs.cluster.config import Config
from jobs.common.run import Options, Run
from jobs.embed.config import Config as EmbedConfig
from lake.layout import Lake
lake, workers, epochs = Lake(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
vectors = Run(lake, sys.argv[4], "embed", "embeddings", EmbedConfig(features="logmel"), 1, "x", {})
inputs, config = {"embeddings": vectors}, Config(n_epochs=epochs)
run = Run(lake, "clusters-" + sys.argv[4], "cluster", "clusters", config, 2, "y", inputs)
began = time.perf_counter()
outcome = command.execute(run, Options(workers=workers))
seconds = time.perf_counter() - began
# Not ru_maxrss, which begins with what the parent had.
kilobytes = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(json.dumps({"seconds": seconds, "kilobytes": kilobytes, **outcome.counts}))
"""


def ours(url: str) -> Vectors:
    """Read all vectors once, choose first centroids, fit."""
    kept = Kept(open_vectors([url]), N_FEATURES)
    spans, n_windows = kept.sets.spans, kept.sets.n_windows
    rows = np.sort(np.random.default_rng(0).permutation(n_windows)[: CONFIG.n_init_windows])
    sample = []
    for span, vectors in zip(spans, in_threads(kept.read_raw, range(len(spans)), THREADS), strict=True):
        low, high = np.searchsorted(rows, [span.first_row, span.first_row + len(vectors)])
        sample.append(vectors[rows[low:high] - span.first_row])
    plan = schedule(n_windows, K, BATCH, EPOCHS, None)
    as_they_are = Scaling((Scale(np.zeros(N_FEATURES), np.ones(N_FEATURES), unit=False),))
    stream = batches(
        kept.scaled_by(as_they_are), [len(span.cells) for span in spans], plan, buffer_windows=CONFIG.buffer_windows,
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


def whole_job(lake: Path, name: str, *, epochs: int) -> dict[str, Any]:
    """Run the whole job in a process of its own."""
    words = [sys.executable, "-c", LARGE, str(lake), str(THREADS), str(epochs), name]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and report."""
    lake = FOLDER / "cluster-lake"
    shutil.rmtree(lake, ignore_errors=True)
    small = embedding_run(lake, "small", n_windows=N_WINDOWS, n_features=N_FEATURES, n_recorders=8, n_base=99)
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
    del vectors
    job = whole_job(lake, "small", epochs=EPOCHS)
    embedding_run(lake, "large", n_windows=N_LARGE, n_features=N_FEATURES, n_recorders=9, n_base=4)
    large = whole_job(lake, "large", epochs=1)
    shutil.rmtree(lake)
    took, read = median(mine), median(reading)
    beside = [
        Figure(
            "read and fit", took, "s", f"scikit-learn's fit{after}, {n} of {THREADS} threads, {peer:.1f} s", peer / took
        )
        for n, fitted in ((1, median(alone)), (THREADS, median(together)))
        for after, peer in ((" of data in memory", fitted), (" after reading", fitted + read))
    ]
    report(
        "cluster",
        [
            *beside,
            Figure("inertia", our_inertia, "", f"scikit-learn, {their_inertia:.6g}", their_inertia / our_inertia),
            Figure("whole job: scale, fit, labels, exemplars, stability", job["seconds"], "s"),
            Figure("whole job, largest resident size", job["kilobytes"] / 1e6, "GB"),
            Figure("2.2 million windows, 1 epoch, whole job", large["seconds"], "s"),
            Figure(
                "2.2 million windows, largest resident size",
                large["kilobytes"] / 1e6,
                "GB",
                "1 GB",
                1e6 / large["kilobytes"],
            ),
        ],
    )


if __name__ == "__main__":
    main()
