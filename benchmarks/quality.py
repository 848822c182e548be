"""How much of a sound's kind is in the vectors: the ladder of vector sets, over seeds (see ``docs/quality.md``).

    make bench-quality                       # the demo study; and real recordings, if AUDIO names their folder
    AUDIO=/some/folder python -m benchmarks.quality --seeds 3

A run that is done is not done again: what was stopped goes on when it is typed again.
"""

import argparse
import csv
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import tomli_w

from benchmarks.report import FOLDER
from jobs.catalog.command import run_catalog
from jobs.common.labels import read_labels
from jobs.common.run import Options
from jobs.evaluate.core import NONE, dominant_labels
from jobs.manifest import Manifest, read_manifest
from jobs.runner import execute_runs
from lake.read import grid_of, open_clusters, usable_windows

ROOT: Final = Path(__file__).parent.parent
SEEDED: Final = {"dino", "dictionary", "cluster"}
"""Jobs whose chance the seed of a round decides; what is made of them is made anew with each."""
SETS: Final = {
    "logmel": "log-mel", "statistics": "statistics", "dictionary": "dictionary", "untrained": "untrained network",
    "trained": "DINO", "joined": "dictionary ‖ statistics", "all": "dictionary ‖ statistics ‖ DINO",
    "birdnet": "BirdNET (trained with labels)",
}  # fmt: skip
MEASURES: Final = {
    "ami": ("all", "kmeans_ami"), "v": ("all", "kmeans_nmi"), "knn": ("group", "knn_accuracy"),
    "linear": ("group", "linear_accuracy"),
}  # fmt: skip
"""Split and name in ``intervals.csv``. V-measure is NMI with the arithmetic mean of both entropies."""
RANDOM_ORDERS: Final = 1000
COLUMNS: Final = ["recording", "start_s", "end_s", "label", "group"]

Figures = dict[str, dict[str, list[float]]]
"""Values of all seeds, by vector set and measure."""


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    demo = ROOT / "data" / "demo"
    if (demo / "spectrograms" / "mels.zarr").exists():
        figures["demo"] = ladder("demo", asked.seeds, asked.workers)
    else:
        print("demo: left out; type `make demo` first")
    audio = os.environ.get("AUDIO", "")
    if audio:
        prepare(Path(audio), ROOT / "data" / "quality", asked.workers)
        figures |= ladder("quality", asked.seeds, asked.workers)
    else:
        print("real recordings: left out; name their folder with AUDIO=")
    for study, found in figures.items():
        show(study, found)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "quality.json"
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"\n{path}")


def prepare(audio: Path, folder: Path, workers: int) -> None:
    """List the recordings and write the tables of labels, where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "audio"
    if not link.exists():
        link.symlink_to(audio.resolve(), target_is_directory=True)
    parts = ["dev/clips", "dev/soundscape", "insects", "pool"]
    if not (folder / "recordings.csv").exists():
        run_catalog(
            [str(audio / part) for part in parts], folder / "recordings.csv", zones={"": "Australia/Brisbane"},
            workers=workers,
        )  # fmt: skip
    for name, rows in (("esc10", _esc10(audio)), ("insects", _insects(audio))):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def _esc10(audio: Path) -> Iterator[list[str]]:
    for row in _rows(audio / "dev" / "labels.csv"):
        if "ESC10" in row["file"]:
            yield [f"dev/{row['file']}", "0", row["duration_s"], row["label"], row["recorder_or_group"]]


def _insects(audio: Path) -> Iterator[list[str]]:
    for row in _rows(audio / "insects" / "labels.csv"):
        yield [f"insects/{row['file']}", row["start_s"], row["end_s"], row["label"], row["group"]]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def seeded(manifest: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return a manifest with another seed: seeded runs, and all that is made of them, have names of their own."""
    runs: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, run in manifest["runs"].items():
        sources = {
            role: [names.get(source, source) for source in ([one] if isinstance(one, str) else one)]
            for role, one in run.get("inputs", {}).items()
        }
        changed = run["job"] in SEEDED or sources != {
            role: [one] if isinstance(one, str) else list(one) for role, one in run.get("inputs", {}).items()
        }
        config = {**run.get("config", {}), **({"seed": seed} if run["job"] in SEEDED else {})}
        names[name] = f"{name}-{seed}" if changed and seed else name
        inputs = {role: found[0] if len(found) == 1 else found for role, found in sources.items()}
        runs[names[name]] = {**run, **({"inputs": inputs} if inputs else {}), **({"config": config} if config else {})}
    return {**manifest, "runs": runs}


def ladder(study: str, n_seeds: int, workers: int) -> dict[str, Any]:
    """Run a study's manifest with each seed; return the figures of each of its evaluations."""
    source = ROOT / "manifests" / f"{study}.toml"
    template = tomllib.loads(source.read_text(encoding="utf-8"))
    found: dict[str, Figures] = {}
    for seed in range(n_seeds):
        path = source.with_name(f".{study}-{seed}.toml")  # beside it: its paths are relative to its folder
        try:
            path.write_text(tomli_w.dumps(seeded(template, seed)), encoding="utf-8")
            manifest = read_manifest(path)
            wanted = [name for name, run in manifest.runs.items() if run.job != "atlas"]
            execute_runs(manifest, wanted, Options(workers=workers), print)
        finally:
            path.unlink(missing_ok=True)
        for name, run in manifest.runs.items():
            if run.job == "evaluate":
                figures = found.setdefault(name.removesuffix(f"-{seed}") if seed else name, {})
                _collect(pd.read_csv(f"{run.output.url}/intervals.csv"), figures)
                _labels_saved(manifest, run.labels, seed, figures)
    if study == "demo":
        return found.get("scores", {})
    return {name.removeprefix("scores-"): one for name, one in found.items()}


def _collect(table: pd.DataFrame, figures: Figures) -> None:
    for role in SETS:
        for measure, (split, name) in MEASURES.items():
            rows = table[(table["role"] == role) & (table["measure"] == name)]
            for wanted in (split, "recording"):  # labels without groups: no recording on both sides
                here = rows.loc[rows["split"] == wanted, "value"]
                if len(here):
                    figures.setdefault(role, {}).setdefault(measure, []).append(float(here.iloc[0]))
                    break


def _labels_saved(manifest: Manifest, labels: Path | None, seed: int, figures: Figures) -> None:
    """Add how many windows are heard until every label was: exemplars of clusters first, and in random order."""
    name = "clusters" if not seed else f"clusters-{seed}"
    if labels is None or name not in manifest.runs or not _names_recorders(labels):
        return
    truth = read_labels(labels)
    with open_clusters(manifest.runs[name].output.url) as opened:
        store = opened.load()
        grid, windows = grid_of(store), usable_windows(store, status="cluster_status")
        label = np.full(len(windows), NONE, dtype=np.int64)
        for i, recorder in enumerate(store["recorder"].to_numpy().tolist()):
            own = windows.recorder == i
            if recorder in truth.by_recorder:
                label[own] = dominant_labels(truth.by_recorder[recorder], windows.cell[own], grid, min_overlap_ms=500)
        of_window = {(int(r), int(c)): int(k) for r, c, k in zip(windows.recorder, windows.cell, label, strict=True)}
        order = np.argsort(-store["n_windows"].to_numpy(), kind="stable")
        recorder, cell = store["exemplar_recorder"].to_numpy()[order], store["exemplar_cell"].to_numpy()[order]
    places = zip(recorder.T.ravel().tolist(), cell.T.ravel().tolist(), strict=True)
    heard = [of_window[place] for place in places if place[1] >= 0]
    kinds = set(label.tolist()) - {NONE}
    random = np.random.default_rng(seed)
    orders = [_until_all(random.permutation(label).tolist(), kinds) for _ in range(RANDOM_ORDERS)]
    figures.setdefault("heard", {}).setdefault("exemplars first", []).append(_until_all(heard, kinds))
    figures["heard"].setdefault("random order", []).append(float(np.mean(orders)))


def _names_recorders(labels: Path) -> bool:
    with labels.open(encoding="utf-8", newline="") as file:
        return "recorder" in (csv.DictReader(file).fieldnames or [])


def _until_all(labels: list[int], kinds: set[int]) -> float:
    """Return how many come before every kind was heard; NaN if some never is."""
    left = set(kinds)
    for i, label in enumerate(labels, start=1):
        left.discard(label)
        if not left:
            return float(i)
    return float("nan")


def show(study: str, found: Mapping[str, Mapping[str, list[float]]]) -> None:
    """Print one table: mean and deviation over the seeds."""
    print(f"\n| {study} | AMI | V-measure | 5-NN | linear |\n|---|---|---|---|---|")
    for role, title in SETS.items():
        if role in found:
            cells = [_cell(found[role].get(measure, [])) for measure in MEASURES]
            print(f"| {title} | {' | '.join(cells)} |")
    if "heard" in found:
        orders = ", ".join(f"{order} {_cell(values)}" for order, values in found["heard"].items())
        print(f"\nwindows heard until every kind was: {orders}")


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values):.3f}" if np.std(values) > 0 else ""
    return f"{np.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
