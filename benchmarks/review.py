"""Windows that a person hears until every kind of sound was heard, by order of listening, over seeds.

    make bench-review           # in the demo study, once `make demo` was run, and in studies of random vectors

The truth is the reviewer: a verdict is one window heard, answered for every sound that is asked about. A kind was heard
once a window shares half a second with a sound of it; *plainly*, once it is what the window has most of. The seed of a
round decides the dictionary, the clusters and every draw; random order is the mean of a thousand.
"""

import argparse
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import tomli_w
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks import listening, review_large
from benchmarks.quality import ROOT, seeded
from benchmarks.report import Figure, report
from jobs.common.labels import Labels, read_labels
from jobs.common.run import Options, Run
from jobs.demo.reviewer import sounds_in
from jobs.evaluate.core import NONE, dominant_labels
from jobs.manifest import Manifest, read_manifest
from jobs.quickstart import prepare_study
from jobs.review.ask import ORDERS
from jobs.review.orders import Population
from jobs.review.sources import Sources, clusters_of
from jobs.runner import execute_runs
from lake.constants import MS_PER_HOUR
from lake.grid import Grid
from lake.read import Windows, grid_of, open_clusters, open_cube, recorder_names, usable_windows

WITHOUT_SCORES: Final = ("explore", "far")
"""Orders that need no detector."""
NEEDED: Final = ("mels", "atoms", "dictionary", "statistics", "clusters")
"""Runs of the demo that these orders read."""
N_ORDERS: Final = 1000
AFTER: Final = (10, 20, 40)
MIN_OVERLAP_MS: Final = 500
HOURS_A_DAY: Final = 6
"""In which the demo records; every other day begins with the other half."""

Heard = NDArray[np.bool_]
"""Whether each kind is in each window, shape (n_windows, n_kinds)."""


def main() -> None:
    """Run what is missing, measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--demo", type=Path, default=ROOT / "data" / "demo", help="folder of the demo study")
    parser.add_argument("--without-large", action="store_true", help="leave the time that choosing takes out")
    asked = parser.parse_args()
    prepare_study(asked.demo, asked.workers, print)
    figures = of_demo(asked.demo, asked.seeds, asked.workers) + of_loop(asked.demo, asked.seeds)
    if not asked.without_large:
        sys.path.insert(0, str(ROOT / "tests"))
        figures += review_large.figures()
    report("review", figures)


def of_demo(folder: Path, n_seeds: int, workers: int) -> list[Figure]:
    """Return how many windows each order needs, in the demo study."""
    until: dict[str, list[float]] = {}
    kinds: dict[str, list[list[float]]] = {}
    for seed in range(n_seeds):
        manifest = _with_seed(folder, seed)
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


def of_loop(folder: Path, n_seeds: int) -> list[Figure]:
    """Return what detectors are worth after some windows heard, by order; the runs of :func:`of_demo` are done."""
    played: dict[str, list[listening.Played]] = {}
    until: dict[str, list[float]] = {}
    for seed in range(n_seeds):
        study = _study(folder, seed)
        for order in (*listening.ORDERS, *listening.PLAIN):
            with threadpool_limits(1):
                found = listening.play(study, order, seed)
            played.setdefault(order, []).append(found)
            until.setdefault(order, []).append(until_all(study.truth[found.heard]))
            print(f"seed {seed}, {order}: {until[order][-1]}", *np.round(found.average_precision, 3), flush=True)
    figures = []
    for order, several in played.items():
        by_seed = ", ".join(f"{value:.0f}" for value in until[order])
        figures.append(Figure(f"loop, windows until every kind, {order}", float(np.mean(until[order])), by_seed))
        figures.append(
            Figure(f"loop, calibration error, {order}", float(np.mean([p.calibration for p in several])), "")
        )
        for i, n in enumerate(listening.AFTER):
            values = [one.average_precision[i] for one in several]
            chance = float(np.mean([one.average_precision[i] for one in played["random"]]))
            spread = " ".join(f"{value:.3f}" for value in values)
            figures.append(
                Figure(
                    f"loop, macro AP after {n}, {order}", float(np.mean(values)), "", f"{spread}; random {chance:.3f}"
                )
            )
    return figures


def _study(folder: Path, seed: int) -> listening.Study:
    """Return the demo study in two halves: every other hour that was recorded, and the hours between."""
    manifest = _with_seed(folder, seed)
    with open_cube(manifest.runs["mels"].output.url) as opened:
        grid, recorders, windows = grid_of(opened), recorder_names(opened), usable_windows(opened)
    truth = read_labels(folder / "study" / "truth.csv")
    present, _ = heard_in(truth, windows, recorders, grid)
    known = _sources(manifest, Population(windows, grid), truth, f"clusters-{seed}" if seed else "clusters")
    rows, vectors, _ = known.vectors(np.arange(len(windows)), 0, np.random.default_rng(seed))
    windows, present = windows.take(rows), present[rows]
    hours = windows.cell * grid.hop_ms // MS_PER_HOUR
    numbers = np.unique(hours, return_inverse=True)[1]
    is_heard = (numbers + numbers // HOURS_A_DAY) % 2 == 0
    mine = np.flatnonzero(is_heard)
    population = Population(windows.take(mine), grid)
    with open_clusters(known.clustering().output.url) as store:
        exemplars = population.find(store["exemplar_recorder"].to_numpy(), store["exemplar_cell"].to_numpy())
    return listening.Study(
        population, vectors[mine], present[mine], hours[mine] // 24, hours[mine], exemplars,
        clusters_of(known.clustering(), population.windows), vectors[~is_heard], present[~is_heard],
    )  # fmt: skip


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


def _with_seed(folder: Path, seed: int) -> Manifest:
    """Write the demo's manifest with a seed, of the runs that are needed, and read it."""
    template = tomllib.loads((ROOT / "manifests" / "demo.toml").read_text(encoding="utf-8"))
    template["lake"] = "."
    template["recordings"] = {key: path.removeprefix("../data/demo/") for key, path in template["recordings"].items()}
    template.pop("labels")
    template["runs"] = {name: template["runs"][name] for name in NEEDED}
    path = folder / f"review-seed-{seed}.toml"
    path.write_text(tomli_w.dumps(seeded(template, seed)), encoding="utf-8")
    return read_manifest(path)


def _sources(manifest: Manifest, population: Population, truth: Labels, clusters: str) -> Sources:
    nothing = Windows(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))
    runs: Mapping[str, list[Run]] = {"clusters": [manifest.runs[clusters]]}
    return Sources(population, nothing, truth.names, runs)


if __name__ == "__main__":
    main()
