"""Windows that a person hears until every kind of sound was heard, by order of listening, over seeds.

    make bench-review                       # in the demo study, and in studies of random vectors
    make bench-review AUDIO=/some/folder    # and with labelled recordings, as `make bench-quality` takes them
    AUDIO=/some/folder python -m benchmarks.review --only insects BirdNET "demo, log-mel" --draw

The truth is the reviewer: a verdict is one window heard, answered for every sound that is asked about. A kind was heard
once a window shares half a second with a sound of it; *plainly*, once it is what the window has most of. The seed of a
round decides the dictionary, the clusters and every draw; random order is the mean of a thousand. Then the curves of
learning, see :mod:`benchmarks.review_curves`: there the seed decides what may be heard, clusters and draws.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import review_curves, review_large
from benchmarks.quality import ROOT
from benchmarks.report import Figure, report
from benchmarks.review_studies import manifest_of, studies
from jobs.common.labels.intervals import Labels, read_labels
from jobs.common.run import Options, Run
from jobs.demo.reviewer import sounds_in
from jobs.evaluate.core import NONE, dominant_labels
from jobs.review.ask import ORDERS
from jobs.review.orders import Population
from jobs.review.sources import Sources
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import Manifest
from jobs.workflows.quickstart import prepare_study
from lake.grid import Grid
from lake.read import Windows, grid_of, open_cube, recorder_names, usable_windows

WITHOUT_SCORES: Final = ("explore", "far")
"""Orders that need no detector."""
NEEDED: Final = ("mels", "atoms", "dictionary", "statistics", "clusters")
"""Runs of the demo that these orders read."""
N_ORDERS: Final = 1000
AFTER: Final = (10, 20, 40)
MIN_OVERLAP_MS: Final = 500

Heard = NDArray[np.bool_]
"""Whether each kind is in each window, shape (n_windows, n_kinds)."""


def main() -> None:
    """Run what is missing, measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--demo", type=Path, default=ROOT / "data" / "demo", help="folder of the demo study")
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "quality", help="where their study goes")
    parser.add_argument("--only", nargs="*", default=[], help="studies, vector sets, or STUDY, SET")
    parser.add_argument(
        "--brief", action="store_true", help="the orders of the picture alone, in less than half the time"
    )
    parser.add_argument("--draw", action="store_true", help="draw the curves into docs/review-curves.webp")
    parser.add_argument("--without-large", action="store_true", help="leave the time that choosing takes out")
    asked = parser.parse_args()
    prepare_study(asked.demo, asked.workers, print)
    audio = os.environ.get("AUDIO", "")
    if not audio:
        print("labelled recordings: left out; name their folder with AUDIO=")
    wanted = [
        one for one in studies(asked.demo, Path(audio) if audio else None, asked.folder, asked.workers)
        if not asked.only or set(asked.only) & {*one[:2], ", ".join(one[:2])}
    ]  # fmt: skip
    orders = review_curves.BRIEF if asked.brief else review_curves.ALL
    cells = review_curves.measure(wanted, asked.seeds, orders=orders)
    print(review_curves.tables(cells))
    if asked.draw:
        review_curves.draw(cells)
    figures = review_curves.figures(cells)
    if not asked.only:
        figures = of_demo(asked.demo, asked.seeds, asked.workers) + figures
    if not asked.without_large and not asked.only:
        sys.path.insert(0, str(ROOT / "tests"))
        figures += review_large.figures()
    report("review", figures)


def of_demo(folder: Path, n_seeds: int, workers: int) -> list[Figure]:
    """Return how many windows each order needs, in the demo study."""
    until: dict[str, list[float]] = {}
    kinds: dict[str, list[list[float]]] = {}
    for seed in range(n_seeds):
        manifest = manifest_of(folder, "demo", NEEDED, seed)
        execute_runs(manifest, [run.name for run in manifest.runs.values()], Options(workers=workers), print)
        cube = manifest.runs["mels"]
        with open_cube(cube.output.url) as opened:
            grid, recorders, windows = grid_of(opened), recorder_names(opened), usable_windows(opened)
        truth = read_labels(folder / "study" / "truth.csv")
        present, plain = heard_in(truth, windows, recorders, grid)
        known = _sources(manifest, Population(windows, grid), truth, f"clusters-{seed}" if seed else "clusters")
        random = np.random.default_rng(seed)
        orders = {name: [ORDERS[name](known, 200, random).rows] for name in WITHOUT_SCORES}
        orders["random"] = [random.permutation(len(windows)) for _ in range(N_ORDERS)]
        for name, rows in orders.items():
            until.setdefault(name, []).append(float(np.mean([until_all(present[row]) for row in rows])))
            until.setdefault(f"{name}, plainly", []).append(float(np.mean([until_all(plain[row]) for row in rows])))
            counts = [[int(present[row[:n]].any(axis=0).sum()) for n in AFTER] for row in rows]
            kinds.setdefault(name, []).append(np.mean(counts, axis=0).tolist())
    figures = [
        Figure(f"windows until every kind was heard, {name}", float(np.mean(values)), "windows",
               f"{', '.join(f'{value:.0f}' for value in values)} by seed; random {np.mean(until[_random(name)]):.0f}",
               float(np.mean(until[_random(name)]) / np.mean(values)))
        for name, values in until.items()
    ]  # fmt: skip
    for name, found in kinds.items():
        means = np.mean(found, axis=0)
        figures += [
            Figure(f"kinds heard in {n} windows, {name}", float(m), "kinds") for n, m in zip(AFTER, means, strict=True)
        ]
    return figures


def heard_in(truth: Labels, windows: Windows, recorders: list[str], grid: Grid) -> tuple[Heard, Heard]:
    """Return which kinds are in each window, and which is what the window has most of."""
    present = sounds_in(truth, windows, recorders, grid)
    plain = np.zeros_like(present)
    for i, recorder in enumerate(recorders):
        if recorder not in truth.by_recorder:
            continue
        rows = np.flatnonzero(windows.recorder == i)
        found = truth.by_recorder[recorder]
        most = dominant_labels(found, windows.cell[rows], grid, min_overlap_ms=MIN_OVERLAP_MS)
        plain[rows[most != NONE], most[most != NONE]] = True
    return present, plain


def until_all(heard: Heard) -> int:
    """Return how many windows come until each kind came once; all of them and one more if one never comes."""
    ever = heard.any(axis=0)
    return int(heard.argmax(axis=0).max()) + 1 if ever.all() else len(heard) + 1


def _random(name: str) -> str:
    return "random, plainly" if name.endswith("plainly") else "random"


def _sources(manifest: Manifest, population: Population, truth: Labels, clusters: str) -> Sources:
    nothing = Windows(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))
    runs: Mapping[str, list[Run]] = {"clusters": [manifest.runs[clusters]]}
    return Sources(population, nothing, truth.names, runs)


if __name__ == "__main__":
    main()
