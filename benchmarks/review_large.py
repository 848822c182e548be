"""Time to choose a batch of 100 among 230,259 windows, and among 2.2 million."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.atlas_large import N_WINDOWS, study
from benchmarks.report import Figure
from benchmarks.studies import embedding_run
from jobs.review.ask import MOST_HEARD, N_SAMPLE, Request, choose_batch
from jobs.review.orders import Population, at_random, evenly, farthest, ranked, spread
from jobs.review.sources import Sources, windows_of
from jobs.runner.manifest import Manifest
from lake.read import Windows, open_embeddings, usable_windows
from lake.receipts import write_receipt
from lake.vectors import open_vectors

N_LARGE, N_FEATURES, N_BATCH = 2_200_000, 384, 100
SOUNDS = 10


def figures() -> list[Figure]:
    """Measure both studies."""
    with tempfile.TemporaryDirectory(prefix="bench-review-") as name:
        found = of_study(Path(name))
    with tempfile.TemporaryDirectory(prefix="bench-review-") as name:
        return [*found, *of_large(Path(name))]


def of_study(lake: Path) -> list[Figure]:
    """Measure whole batches, from verdicts to the file in the lake, of a study with a cube, vectors and clusters."""
    atlas = study(lake)
    runs = {run.name: run for run in [*atlas.above()][::-1] if run.kind != "atlas"}
    for run in runs.values():
        write_receipt(run.lake, run.name, (0, 1), {"state": "done", "config_id": run.config_id, "content_id": ""})
    (lake / "sounds.csv").write_text("sound\n" + "".join(f"kind {i}\n" for i in range(SOUNDS)), encoding="utf-8")
    manifest = Manifest(lake / "study.toml", runs)

    def choose(order: str, seed: int) -> Callable[[], object]:
        return lambda: choose_batch(manifest, Request(order, N_BATCH, seed), "bench")

    return [
        Figure(
            f"a batch of {N_BATCH} of {N_WINDOWS:,} windows, {order}",
            median(timed(choose(order, seed)) for seed in range(3)), "s", "2 s wanted at most",
        )
        for order in ("explore", "far", "random")
    ]  # fmt: skip


def of_large(lake: Path) -> list[Figure]:
    """Measure the parts that grow with the number of windows: those left to hear, draws, vectors, scores."""
    run = embedding_run(lake, "vectors", n_windows=N_LARGE, n_features=N_FEATURES, n_recorders=9, n_base=3)
    sets = open_vectors([run.output.url])
    with open_embeddings(run.output.url) as store:
        read_s = timed(lambda: usable_windows(store, status="embedding_status"))
    population = Population(windows_of(sets), sets.grid)
    none = Windows(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))
    known = Sources(population, none, [], {"embeddings": [run]}, as_clustered=False)
    scores = {"wren": np.random.default_rng(0).normal(size=N_LARGE)}

    def far() -> None:
        random = np.random.default_rng(0)
        rows = np.sort(spread(population, random.permutation(len(population)), N_SAMPLE))
        rows, vectors, heard = known.vectors(rows, MOST_HEARD, random)
        farthest(population, rows, vectors, heard, N_BATCH)

    ways: dict[str, Callable[[], object]] = {
        "far": far,
        "random": lambda: at_random(population, N_BATCH, np.random.default_rng(0)),
        "margin and top, once scores are read": lambda: ranked(population, scores, N_BATCH, key=_same),
        "precision, once scores are read": lambda: evenly(population, scores, N_BATCH, np.random.default_rng(0)),
    }
    named = f"of {N_LARGE:,} windows"
    found = [Figure(f"the windows {named}, read", read_s, "s")]
    return [*found, *(Figure(f"{N_BATCH} {named}, {way}", timed(do), "s", "30 s wanted") for way, do in ways.items())]


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that a function takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _same(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values
