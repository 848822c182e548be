"""How much of a sound's kind is in the vectors: the ladder of vector sets, over seeds (see ``docs/quality.md``).

    make bench-quality                       # the demo study, once `make demo` was run
    make bench-quality AUDIO=/some/folder    # and recordings with tables of labels
    AUDIO=/some/folder python -m benchmarks.quality --seeds 3 --folder data/quality

Every ``labels.csv`` in the folder of recordings, or one folder below, is a set of labels that is scored by itself:
``file`` (or ``recording``; relative to the table) and ``label``, and where known ``start_s`` and ``end_s`` (or
``duration_s``) and ``group``, of which none is on both sides of a comparison. Rows without a label are left out.

A run that is done is not done again: what was stopped goes on when it is typed again.
"""

import argparse
import csv
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import soundfile
import tomli_w

from benchmarks.heard import windows_until_all_kinds
from benchmarks.report import FOLDER
from jobs.catalog.command import run_catalog
from jobs.common.labels.intervals import Labels, read_labels
from jobs.common.labels.marks import is_plain_table, read_marks
from jobs.common.labels.placing import labels_of_marks, place_marks, recordings_of
from jobs.common.run import Options, Run
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import Manifest, read_manifest
from lake.errors import InputError
from lake.read import open_clusters, open_cube

ROOT: Final = Path(__file__).parent.parent
SEEDED: Final = {"dino", "contrast", "dictionary", "cluster"}
"""Jobs whose chance the seed of a round decides; what is made of them is made anew with each."""
SETS: Final = {
    "logmel": "log-mel", "statistics": "statistics", "dictionary": "dictionary", "untrained": "untrained network",
    "trained": "DINO", "joined": "dictionary ‖ statistics", "all": "dictionary ‖ statistics ‖ DINO",
    "starter": "starter", "continued": "starter, 2 minutes on the study", "contrast": "contrast, 2 minutes",
    "contrast_dictionary": "contrast (output), 2 minutes ‖ dictionary", "birdnet": "BirdNET (trained with labels)",
}  # fmt: skip
STEPS_A_MINUTE: Final = {"dino": 166, "contrast": 256}
"""Steps that one thread of the machine of ``docs/quality.md`` takes in a minute of its CPU time: DINO of 32 windows in
fp32, contrast of 64 windows in bf16."""
MEASURES: Final = {
    "ami": ("all", "kmeans_ami"), "v": ("all", "kmeans_nmi"), "knn": ("group", "knn_accuracy"),
    "linear": ("group", "linear_accuracy"),
}  # fmt: skip
"""Split and name in ``intervals.csv``. V-measure is NMI with the arithmetic mean of both entropies."""
HEARD: Final = "heard"
COLUMNS: Final = ["recording", "start_s", "end_s", "label", "group"]
PARTS: Final = ("dev/clips", "dev/soundscape", "insects", "pool")
"""Folders of our own collection; the rest of it are broken files. Of another folder all is read."""

Figures = dict[str, dict[str, list[float]]]
"""Values of all seeds, by vector set and measure."""


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "quality", help="where the study goes")
    parser.add_argument("--minutes", type=int, nargs="*", default=[2], help="CPU-minutes of contrast and of DINO")
    parser.add_argument("--without-demo", action="store_true", help="leave the demo study out")
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    audio = os.environ.get("AUDIO", "")
    if audio:
        sets = prepare(Path(audio), asked.folder, asked.workers)
        figures |= ladder("quality", asked.folder, sets, asked, asked.minutes)
    else:
        print("recordings: left out; name their folder with AUDIO=")
    demo = ROOT / "data" / "demo"
    if not asked.without_demo and (demo / "spectrograms" / "mels.zarr").exists():
        figures |= ladder("demo", demo, {}, asked, [2])
    else:
        print("demo: left out; type `make demo` first")
    for study, found in figures.items():
        show(study, found)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "quality.json"
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"\n{path}")


def prepare(audio: Path, folder: Path, workers: int) -> dict[str, Path]:
    """List the recordings and write the tables of labels; return these by name.

    Raises
    ------
    InputError
        If the folder is of other recordings, or there is no table of labels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "audio"
    if not link.exists():
        link.symlink_to(audio.resolve(), target_is_directory=True)
    if link.resolve() != audio.resolve():
        raise InputError(f"{folder}: is the study of {link.resolve()}; name another folder with --folder.")
    if not (folder / "recordings.csv").exists():
        parts = [audio / part for part in PARTS if (audio / part).is_dir()] or [audio]
        run_catalog(parts, folder / "recordings.csv", zones={"": "Australia/Brisbane"}, workers=workers)
    sets: dict[str, Path] = {}
    for table in sorted([*audio.glob("labels.csv"), *audio.glob("*/labels.csv")]):
        rows = list(labelled(table, audio))
        if rows:
            name = "labels" if table.parent == audio else table.parent.name
            sets[name] = folder / f"{name}.csv"
            with sets[name].open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    if not sets:
        raise InputError(f"{audio}: expected labels.csv there or one folder below, with file and label; found none.")
    return sets


def labelled(table: Path, audio: Path) -> Iterator[list[str]]:
    """Yield recording, start, end, label and group of each labelled row; of our own collection the clips alone."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("label")]
    key = "file" if rows and "file" in rows[0] else "recording"
    clips = [row for row in rows if "/ESC10/" in row[key]]
    for row in clips or rows:
        path = table.parent / row[key]
        end = row.get("end_s") or row.get("duration_s") or str(soundfile.info(path).duration)
        group = row.get("group") or row.get("recorder_or_group") or ""
        yield [path.relative_to(audio).as_posix(), row.get("start_s") or "0", end, row["label"], group]


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


def trained_longer(manifest: Mapping[str, Any], minutes: Sequence[int]) -> dict[str, Any]:
    """Return a manifest with the trainings of two minutes repeated for other numbers of minutes, and scored."""
    runs = dict(manifest["runs"])
    scores = runs.pop("scores")
    inputs = dict(scores["inputs"])
    for name in ("dino", "contrast"):
        for n in (n for n in minutes if n != 2 and name in runs):
            longer = f"{name}-{n}m"
            runs[longer] = {**runs[name], "config": {**runs[name]["config"], "steps": n * STEPS_A_MINUTE[name]}}
            for vectors in [each for each, run in manifest["runs"].items() if _is_of(run, name)]:
                of_longer = {**runs[vectors]["inputs"], "model": longer}
                runs[f"{vectors}-{n}m"] = {**runs[vectors], "inputs": of_longer}
            role = "trained" if name == "dino" else name
            for each in [one for one in (role, f"{role}_dictionary") if one in inputs]:
                sources = [inputs[each]] if isinstance(inputs[each], str) else inputs[each]
                inputs[f"{each}_{n}"] = [f"{one}-{n}m" if f"{one}-{n}m" in runs else one for one in sources]
    return {**manifest, "runs": {**runs, "scores": {**scores, "inputs": inputs}}}


def _is_of(run: Mapping[str, Any], model: str) -> bool:
    """Return whether a run makes vectors of a model once it is trained."""
    is_untrained = run.get("config", {}).get("weights") == "initial"
    return run["job"] == "embed" and run["inputs"].get("model") == model and not is_untrained


def of_sets(manifest: Mapping[str, Any], sets: Mapping[str, Path]) -> dict[str, Any]:
    """Return a manifest with an evaluation for each set of labels in place of the one that it has."""
    scores = manifest["runs"]["scores"]
    others = {name: run for name, run in manifest["runs"].items() if name != "scores"}
    own = {f"scores-{name}": {**scores, "files": {"labels": str(path.resolve())}} for name, path in sets.items()}
    return {**manifest, "runs": {**others, **own}}


def ladder(
    study: str, folder: Path, sets: Mapping[str, Path], asked: argparse.Namespace, minutes: Sequence[int]
) -> dict[str, Any]:
    """Run a study's manifest with each seed in a folder; return the figures of each of its evaluations."""
    template = tomllib.loads((ROOT / "manifests" / f"{study}.toml").read_text(encoding="utf-8"))
    own = "data/demo/" if study == "demo" else "data/quality/"
    template["lake"] = "."
    template["recordings"] = {key: path.removeprefix(f"../{own}") for key, path in template["recordings"].items()}
    template["labels"] = template["labels"].removeprefix(f"../{own}")
    template = trained_longer(template, minutes)
    found: dict[str, Figures] = {}
    for seed in range(asked.seeds):
        path = folder / f"seed-{seed}.toml"
        path.write_text(tomli_w.dumps(seeded(of_sets(template, sets) if sets else template, seed)), encoding="utf-8")
        manifest = read_manifest(path)
        wanted = [name for name, run in manifest.runs.items() if run.job != "atlas"]
        execute_runs(manifest, wanted, Options(workers=asked.workers), print)
        for name, run in manifest.runs.items():
            if run.job == "evaluate":
                title = name.removesuffix(f"-{seed}") if seed else name
                figures = found.setdefault(study if title == "scores" else title.removeprefix("scores-"), {})
                _collect(pd.read_csv(f"{run.output.url}/intervals.csv"), figures)
                _labels_saved(manifest, run, seed, figures)
    return found


def _collect(table: pd.DataFrame, figures: Figures) -> None:
    for role in table["role"].unique():
        for measure, (split, name) in MEASURES.items():
            rows = table[(table["role"] == role) & (table["measure"] == name)]
            for wanted in (split, "recording"):  # labels without groups: no recording on both sides
                here = rows.loc[rows["split"] == wanted, "value"]
                if len(here):
                    figures.setdefault(role, {}).setdefault(measure, []).append(float(here.iloc[0]))
                    break


def _labels_saved(manifest: Manifest, scores: Run, seed: int, figures: Figures) -> None:
    """Add how many windows are heard until every label was, see :mod:`benchmarks.heard`."""
    clusters = manifest.runs[f"clusters-{seed}" if seed else "clusters"]
    truth = _labels(manifest, scores)
    with open_clusters(clusters.output.url) as store:
        for order, mean in windows_until_all_kinds(store, truth).items():
            figures.setdefault(HEARD, {}).setdefault(order, []).append(mean)


def _labels(manifest: Manifest, scores: Run) -> Labels:
    """Return the labels of an evaluation by recorder."""
    assert scores.labels is not None, "an evaluation has labels"
    if is_plain_table(scores.labels):
        return read_labels(scores.labels)
    root = str(scores.recordings.root) if scores.recordings else ""
    with open_cube(manifest.runs["mels"].output.url) as cube:
        there = recordings_of(cube, root)
    return labels_of_marks(place_marks(read_marks(scores.labels).marks, there, min_confidence=0.0), there)


def show(study: str, found: Mapping[str, Mapping[str, list[float]]]) -> None:
    """Print one table: mean and deviation over the seeds."""
    print(f"\n| {study} | AMI | V-measure | 5-NN | linear |\n|---|---|---|---|---|")
    for role in [*SETS, *(role for role in found if role not in SETS and role != HEARD)]:
        if role in found:
            cells = [_cell(found[role].get(measure, [])) for measure in MEASURES]
            print(f"| {title_of(role)} | {' | '.join(cells)} |")
    heard = ", ".join(f"{order} {np.mean(counts):.0f} ± {np.std(counts):.0f}" for order, counts in found[HEARD].items())
    print(f"\nwindows heard until every kind, and until a kind on average: {heard}")


def title_of(role: str) -> str:
    """Return the title of a vector set; a number at its end is the minutes of its training."""
    name, _, end = role.rpartition("_")
    if role in SETS or not end.isdecimal():
        return SETS.get(role, role)
    title = SETS.get(name, name)
    return title.replace("2 minutes", f"{end} minutes") if "2 minutes" in title else f"{title}, {end} minutes"


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values):.3f}" if np.ptp(values) > 0 else ""
    return f"{np.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
