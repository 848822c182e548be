"""The season table of the demo study, over seeds: coverage and width of counts by sound and site, and of nights.

    make bench-counts_season         # once `make demo` was run

The truth is the reviewer. 200 windows are heard in all: some with ``far``, which the first detectors learn from, the
others in draws of the order ``count``, each with detectors that learnt from all that was heard before. Counts are those
of the job ``count``, by its own functions. Only cells with 20 true windows or more are reported (nights: 5 or more).
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.listening import CONFIG
from benchmarks.quality import ROOT
from benchmarks.report import Figure, report
from benchmarks.review import heard_in
from jobs.common.labels.intervals import read_labels
from jobs.review.orders import Chosen, Population, farthest, for_counts
from jobs.review.sources import Sources
from jobs.runner.manifest import read_manifest
from jobs.workflows.rehearsal import Rehearsed, head_after
from lake.batches import COLUMNS as BATCH_COLUMNS
from lake.batches import Batch
from lake.constants import MS_PER_HOUR
from lake.counting.periods import period_of
from lake.counting.predictions import KEY, kept_predictions
from lake.counting.study import Windows, answers_on, count_sound, windows_of
from lake.read import Windows as Places
from lake.read import grid_of, open_cube, usable_windows
from lake.tables import make_table
from lake.verdicts import COLUMNS

PLANS: Final[Mapping[str, tuple[int, ...]]] = {"40 + 160": (40, 160), "40 + 80 + 80": (40, 80, 80)}
"""Windows heard with ``far``, then in each draw for counts."""
LEAST: Final = {"season": 20, "night": 5}

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Demo:
    """The demo study in memory: what the counts need, what detectors need, and the sounds in each window."""

    windows: Windows
    population: Population
    known: Rehearsed
    sounds: Sequence[str]


def load(folder: Path) -> Demo:
    """Return the demo study; its spectrograms and two vector sets are done."""
    manifest = read_manifest(folder / "manifest.toml")
    with open_cube(manifest.runs["mels"].output.url) as cube:
        grid, places, windows = grid_of(cube), usable_windows(cube), windows_of(cube)
    truth = read_labels(folder / "study" / "truth.csv")
    present, _ = heard_in(truth, places, windows.recorders, grid)
    population = Population(places, grid)
    nothing = Places(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))
    known = Sources(population, nothing, truth.names, {"clusters": [manifest.runs["clusters"]]})
    rows, vectors, _ = known.vectors(np.arange(len(places)), 0, np.random.default_rng(0))
    if len(rows) != len(windows.table):
        raise SystemExit("expected vectors of every window")
    hours = places.cell * grid.hop_ms // MS_PER_HOUR
    recordings = hours * len(windows.recorders) + places.recorder
    return Demo(windows, population, Rehearsed(vectors, present, hours // 24, recordings), list(truth.names))


def play(demo: Demo, plan: Sequence[int], seed: int) -> pd.DataFrame:
    """Hear windows as a plan says, and return the counts with the column ``truth``."""
    random = np.random.default_rng(seed)
    population, vectors = demo.population, demo.known.vectors
    every = np.arange(len(population))
    batches: list[Batch] = []
    heard = farthest(population, random.permutation(every), vectors, vectors[:0], plan[0]).rows
    said = verdicts(demo, heard, "", "0")
    for number, n in enumerate(plan[1:], start=1):
        probability, left = probabilities(demo, heard), np.setdiff1d(every, heard)
        there = Population(population.windows.take(left), population.grid)
        drawn = for_counts(there, probability[left], n, random)
        batch = batch_of(demo, drawn, left, probability, f"count-{number}", sorted(set(said["delivery"])))
        said = pd.concat([said, verdicts(demo, left[drawn.rows], batch.name, str(number))], ignore_index=True)
        heard = np.concatenate([heard, left[drawn.rows]])
        batches.append(batch)
    answers, last = answers_on(demo.windows, said, batches), probabilities(demo, heard)
    tables = []
    for i, sound in enumerate(demo.sounds):
        table = count_sound(sound, demo.windows, answers, probability=last[:, i], kinds=tuple(LEAST))
        tables.append(table.assign(truth=true_windows(demo, table, i)))
    return pd.concat(tables, ignore_index=True)


def probabilities(demo: Demo, heard: Rows) -> Floats:
    """Return what the detectors of some windows heard say of all windows; NaN where none can be learnt."""
    found = np.full(demo.known.truth.shape, np.nan)
    for kind in range(len(demo.sounds)):
        head = head_after(demo.known, heard, kind, CONFIG)
        if head is not None:
            score = demo.known.vectors @ head.weights + head.intercept
            found[:, kind] = 1 / (1 + np.exp(-(head.slope * score + head.offset)))
    return found


def batch_of(  # noqa: PLR0917 (all that one step of the simulation reads)
    demo: Demo, drawn: Chosen, left: Rows, probability: Floats, name: str, deliveries: Sequence[str]
) -> Batch:
    """Return a draw as the lake keeps it."""
    assert drawn.probability is not None
    places = demo.windows.table.iloc[left[drawn.rows]]
    table = places[["recorder"]].assign(
        draw=range(len(places)), time_utc=places["time"], duration_s=demo.windows.grid.window_ms / 1000,
        probability=drawn.probability, stratum=list(drawn.stratum), score=np.nan, proposal="",
    )  # fmt: skip
    rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    sites = demo.windows.table["site"].to_numpy()[left]
    asked: dict[str, Any] = {
        "order": "count", "sounds": list(demo.sounds), "n_population": len(left), "n_speech": 0,
        "n_heard": len(demo.windows.table) - len(left), "deliveries": deliveries, "windows_sha256": None,
        KEY: kept_predictions(demo.sounds, sites, probability[left], drawn.rows),
    }  # fmt: skip
    return Batch(
        name,
        make_table(rows, BATCH_COLUMNS),
        asked,
        {},
    )


def verdicts(demo: Demo, rows: Sequence[int] | Rows, batch: str, delivery: str) -> pd.DataFrame:
    """Return the truth about windows as verdicts of a delivery."""
    said = [
        {
            "recorder": demo.windows.table["recorder"][row], "time_utc": demo.windows.table["time"][row],
            "duration_s": demo.windows.grid.window_ms / 1000, "sound": sound,
            "verdict": "yes" if demo.known.truth[row, i] else "no", "reviewer": "truth",
            "decided_at": pd.Timestamp("2021-07-01"), "seconds": 1.0, "batch": batch,
            "draw": draw if batch else pd.NA, "recording": "", "offset_s": 0.0, "digest": "", "source": "",
        }
        for draw, row in enumerate(np.asarray(rows).tolist()) for i, sound in enumerate(demo.sounds)
    ]  # fmt: skip
    return make_table(said, COLUMNS).assign(delivery=delivery)


def true_windows(demo: Demo, table: pd.DataFrame, kind: int) -> Rows:
    """Return how many windows of each row of counts hold a kind of sound."""
    places = demo.windows.table[demo.known.truth[:, kind]]
    of = {
        period: places.groupby(["site", period_of(places["time_local"], period)]).size().to_dict() for period in LEAST
    }
    keys = zip(table["kind"], table["site"], table["period"], strict=True)
    return np.array([of[period].get((site, name), 0) for period, site, name in keys])


def main() -> None:
    """Print and report coverage and width of each plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--demo", type=Path, default=ROOT / "data" / "demo", help="folder of the demo study")
    asked = parser.parse_args()
    demo, figures = load(asked.demo), []
    for name, plan in PLANS.items():
        with threadpool_limits(1):
            found = pd.concat([play(demo, plan, seed).assign(seed=seed) for seed in range(asked.seeds)])
        found["covered"] = (found["low"] <= found["truth"]) & (found["truth"] <= found["high"])
        found["half_width"] = (found["high"] - found["low"]) / 2 / found["truth"]
        for kind, least in LEAST.items():
            some = found[(found["kind"] == kind) & (found["truth"] >= least)]
            by_seed = some.groupby("seed")["covered"].mean()
            note = f"{len(some) // asked.seeds} cells, {asked.seeds} seeds; worst seed {by_seed.min():.3f}"
            width = some["half_width"].median()
            bias = (some["estimate"].sum() - some["truth"].sum()) / some["truth"].sum()
            figures += [
                Figure(f"{kind}, {name}, coverage", float(some["covered"].mean()), note),
                Figure(f"{kind}, {name}, median half-width", float(width), "of the truth"),
                Figure(f"{kind}, {name}, bias", float(bias), "of the truth"),
            ]
            print(figures[-3], width, bias, flush=True)
    report("counts_season", figures)


if __name__ == "__main__":
    main()
