"""Cost of clustering on Dask workers: one step of the fit, one task, one batch sent, and the whole job."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from distributed import Client

from benchmarks.cluster_bytes import count_sent, sent_bytes
from benchmarks.report import Figure
from jobs.cluster.config import Config
from jobs.cluster.kmeans import fit, schedule
from jobs.common.machines import local_client
from jobs.common.ordered import Team
from lake.scaling import Vectors

N_TASKS = 300


def whole_job(lake: Path, name: str, *, workers: int, epochs: int, normalise: str = "zscore_l2") -> dict[str, Any]:
    """Run the whole job in a process of its own: on so many workers of a local Dask cluster, in two threads with 0."""
    words = [sys.executable, "-m", "benchmarks.cluster_job", str(lake), name, str(workers), str(epochs), normalise]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def described(name: str, found: dict[str, Any]) -> list[Figure]:
    """Return the figures of a whole job."""
    sizes = ", ".join(f"{size / 1e9:.2f}" for size in found["workers"])
    note = f"workers {sizes} GB; starting them took {found['start']:.1f} s" if sizes else ""
    figures = [Figure(name, found["seconds"], "s"), Figure(f"{name}, this process", found["driver"] / 1e9, "GB", note)]
    if sizes:
        # A result is written twice: by the worker to the scheduler, by the scheduler to the command.
        own = found["sent"] - 2 * found["results"]
        rest = f"the rest, {own / 1e6:.1f} MB, are functions and the scheduler's own"
        note = f"results {found['results'] / 1e6:.0f} MB, twice; {rest}"
        figures.append(Figure(f"{name}, written to connections", found["sent"] / 1e6, "MB", note))
    return figures


def parts(n_workers: int = 2) -> list[Figure]:
    """Measure a step of the fit, and what it would cost to share it among workers."""
    figures = []
    for n_clusters in (100, 1000, 5000):
        ms = 1000 * step_s(n_clusters)
        figures.append(
            Figure(f"a step of the fit: a batch of {max(1024, n_clusters)} x 384, k = {n_clusters}", ms, "ms")
        )
    with local_client(n_workers) as client:
        list(Team(2, client).in_order(_nothing, range(20)))
        figures.append(Figure("a task that does nothing, one after the other", 1000 * median(_one(client)), "ms"))
        count_sent()
        client.run(count_sent)
        before = all_sent(client)
        seconds = timed(lambda: list(Team(2, client).in_order(_nothing, range(N_TASKS))))
        n_bytes = (all_sent(client) - before) / N_TASKS
        figures.append(Figure("bytes of a task that does nothing", n_bytes / 1000, "kB"))
        figures.append(Figure("a task that does nothing, many at a time", 1000 * seconds / N_TASKS, "ms"))
        for direct in (True, False):
            seconds = median(_batch(client, direct=direct))
            way = "straight from the worker" if direct else "through the scheduler"
            figures.append(Figure(f"2048 x 384 vectors, TLS, {way}", 1000 * seconds, "ms"))
    return figures


def step_s(n_clusters: int) -> float:
    """Return the seconds of a batch in the fit, one thread."""
    random = np.random.default_rng(0)
    config = Config(n_clusters=n_clusters, normalise="none", reassignment_ratio=0)
    size = max(1024, n_clusters)
    batch = random.normal(size=(size, 384)).astype(np.float32)
    first = random.normal(size=(n_clusters, 384)).astype(np.float32)
    n = 3 if n_clusters > 1000 else 20
    plan = schedule(n * size, n_clusters, 1024, 1, None)
    return timed(lambda: fit([batch] * n, first, config, plan)) / n


def timed(function: Callable[[], Any]) -> float:
    """Return the seconds that a function takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def all_sent(client: Client) -> int:
    """Return the bytes that this process and all workers have written."""
    return sent_bytes() + sum(int(n) for n in client.run(sent_bytes).values())


def _one(client: Client) -> list[float]:
    return [timed(client.submit(_nothing, i, pure=False).result) for i in range(50)]


def _batch(client: Client, *, direct: bool) -> list[float]:
    found = []
    for i in range(30):
        future = client.submit(_vectors, i, pure=False)
        while future.status == "pending":
            time.sleep(0.001)
        found.append(timed(partial(client.gather, [future], direct=direct)))
    return found


def _nothing(number: int) -> int:
    return number


def _vectors(seed: int) -> Vectors:
    return np.random.default_rng(seed).normal(size=(2048, 384)).astype(np.float32)
