"""Measure what training adds, over seeds and variants: ``python -m benchmarks.recipes`` (see ``docs/dino.md``).

Each training goes on where an earlier call was stopped, so this can be typed again and again:

    python -m benchmarks.recipes                                         # demo, 3 seeds, as far as 3 minutes go
    python -m benchmarks.recipes --minutes 60 --variants dino "dino, square patches" dino-plus
    python -m benchmarks.recipes --study demo --seeds 3 --table          # only the table of what is done

The studies: ``demo`` (``make demo`` first) and ``clips`` (labelled recordings; see ``manifests/clips.toml``).
"""

import argparse
import csv
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.report import Figure, report
from jobs.common.labels.intervals import read_labels
from jobs.common.network.backbone import features, load_backbone
from jobs.common.network.card import Weights
from jobs.common.network.inputs import prepare
from jobs.common.training.data import Source
from jobs.common.training.session import cube_source
from jobs.dino.command import train
from jobs.dino.config import Config
from jobs.embed.core import logmel
from jobs.evaluate.core import NONE, dominant_labels
from lake.errors import DawnchorusError, TryAgainError
from lake.read import grid_of, open_cube, recorder_names, usable_windows

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "build" / "recipes"
CLUSTERINGS: Final = 5
RESAMPLES: Final = 300
MIN_OVERLAP_MS: Final = 500

SQUARE: Final = {"patch_size": (16, 16), "local_size": (64, 64), "local_mel_span": (0.4, 0.6), "mel_shift": 0.0}
PLUS: Final = {"recipe": "dino-plus"}
VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "dino": {},
    "dino, square patches": SQUARE,
    "dino, square patches, lr 0.0056": {**SQUARE, "lr": 0.0056},
    "dino-plus": PLUS,
    "dino-plus, square patches": {**PLUS, **SQUARE},
}
"""Changes to the ``dino`` run of ``manifests/demo.toml``, whose patches take the full band."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Study:
    """A cube and the labels of its windows.

    Attributes
    ----------
    url
        The cube's.
    source
        Its windows.
    label, group
        Number of each window's label (:data:`NONE` where it has none) and of its source, whose windows are
        never on both sides of a comparison.
    n_clusters
        How many the clusterings have.
    """

    url: str
    source: Source
    label: NDArray[np.int64]
    group: NDArray[np.int64]
    n_clusters: int


def main() -> None:
    """Train what is missing, as long as there is time, and print what is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", choices=["demo", "clips"], default="demo")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", nargs="*", choices=list(VARIANTS), default=["dino"])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--table", action="store_true", help="train nothing")
    asked = parser.parse_args()
    study = demo() if asked.study == "demo" else clips()
    until_s = time.monotonic() + 60 * asked.minutes
    wanted = [] if asked.table else [(name, seed) for name in asked.variants for seed in range(asked.seeds)]
    all(trained(study, asked.study, name, seed, until_s) for name, seed in wanted)  # until the time is up
    show(study, asked.study, asked.variants, asked.seeds)


def folder_of(study: str, variant: str, seed: int) -> Path:
    """Return where a variant's model is."""
    return FOLDER / study / variant.replace(", ", "-").replace(" ", "-") / f"seed-{seed}"


def config_of(study: str, variant: str, seed: int) -> Config:
    """Return a variant's configuration."""
    name = "demo.toml" if study == "demo" else "clips.toml"
    base = tomllib.loads((ROOT / "manifests" / name).read_text(encoding="utf-8"))["runs"]["dino"]["config"]
    return Config(**{**base, **VARIANTS[variant], "seed": seed})


def trained(study: Study, name: str, variant: str, seed: int, until_s: float) -> bool:
    """Train one network as far as the time goes; tell whether it is finished."""
    began_s, out = time.monotonic(), folder_of(name, variant, seed)
    try:
        summary = train(
            study.url, str(out), config_of(name, variant, seed), config_id=f"{variant}-{seed}", run=variant,
            deadline_s=until_s, device="cpu",
        )  # fmt: skip
    except TryAgainError as error:
        print(error)
        return False
    except DawnchorusError as error:
        print(f"{variant}, seed {seed}: {error}")
        return True
    print(f"{variant}, seed {seed}: {summary['n_steps']} steps, {time.monotonic() - began_s:.0f} s now")
    return True


def show(study: Study, name: str, variants: list[str], n_seeds: int) -> None:
    """Print the table of what is finished, and how far each training is above its untrained network."""
    rows: list[tuple[str, list[dict[str, float]]]] = [
        ("log-mel mean, deviation, maximum", [scores(study, bands(study))])
    ]
    figures = []
    for variant in variants:
        before, after = [], []
        for seed in range(n_seeds):
            folder = folder_of(name, variant, seed)
            if not (folder / "summary.json").exists():
                continue
            own = {weights: vectors(study, folder, weights) for weights in ("initial", "teacher")}
            clusterings = {weights: clustered(study, each) for weights, each in own.items()}
            before.append(scores(study, own["initial"], clusterings["initial"]))
            after.append(scores(study, own["teacher"], clusterings["teacher"]))
            low, high = interval(study, clusterings["initial"], clusterings["teacher"])
            gain = after[-1]["AMI"] - before[-1]["AMI"]
            print(f"{variant}, seed {seed}: AMI {gain:+.3f} by training, 95 % of resamples {low:+.3f} to {high:+.3f}")
            figures.append(Figure(f"{name}: {variant}, seed {seed}, AMI", after[-1]["AMI"], "", "untrained", gain))
        rows += [(f"{variant}: untrained", before), (f"{variant}: trained", after)] if after else []
    print(f"\n| {name} | seeds | AMI | 5-NN by source |\n|---|---|---|---|")
    for label, found in rows:
        cells = [f"{np.mean(v):.3f} ± {np.std(v):.3f}" for v in ([f[k] for f in found] for k in ("AMI", "5-NN"))]
        print(f"| {label} | {len(found)} | {' | '.join(cells)} |")
    report(f"recipes-{name}", figures)


def demo() -> Study:
    """Return the demo study: windows labelled by what covers most of them, grouped by recording."""
    lake = ROOT / "data" / "demo"
    url = str(lake / "spectrograms" / "mels.zarr")
    labels = read_labels(lake / "study" / "truth.csv")
    with open_cube(url) as cube:
        source, grid, windows = cube_source(url, cube, partial_too=True), grid_of(cube), usable_windows(cube)
        label = np.full(len(windows), NONE, dtype=np.int64)
        for i, recorder in enumerate(recorder_names(cube)):
            own = windows.recorder == i
            if recorder in labels.by_recorder:
                label[own] = dominant_labels(
                    labels.by_recorder[recorder], windows.cell[own], grid, min_overlap_ms=MIN_OVERLAP_MS
                )
    assert source.places is not None
    return Study(url, source, label, source.places.recording, 30)


def clips() -> Study:
    """Return the labelled clips: every window of a clip has its class; grouped by the upload it was cut from."""
    lake = ROOT / "data" / "clips"
    url = str(lake / "spectrograms" / "mels.zarr")
    with (lake / "classes.csv").open(encoding="utf-8") as file:
        of_clip = {row["recording"]: (row["label"], row["group"]) for row in csv.DictReader(file)}
    with open_cube(url) as cube:
        source = cube_source(url, cube, partial_too=True)
        paths = cube["recording_path"].to_numpy().tolist()
    assert source.places is not None
    known = [of_clip.get(paths[i], ("", paths[i])) for i in source.places.recording.tolist()]
    names = sorted({label for label, _ in known} - {""})
    label = np.array([names.index(label) if label else NONE for label, _ in known])
    _, group = np.unique([group for _, group in known], return_inverse=True)
    return Study(url, source, label, group.astype(np.int64), len(names))


def vectors(study: Study, folder: Path, weights: Weights) -> Vectors:
    """Return mean and deviation of the patch tokens of every window; kept with the model."""
    kept = folder / f"{weights}.npy"
    if kept.exists() and kept.stat().st_mtime > (folder / "summary.json").stat().st_mtime:
        return np.asarray(np.load(kept), dtype=np.float32)
    model, card = load_backbone(str(folder), weights)
    parts = []
    for codes in blocks(study.source):
        with torch.inference_mode():
            parts.append(features(model, prepare(torch.from_numpy(codes), card), "patch_mean_std").numpy())
    np.save(kept, np.concatenate(parts))
    return np.concatenate(parts)


def bands(study: Study) -> Vectors:
    """Return the yardstick: statistics of the bands' levels."""
    return np.concatenate([logmel(codes) for codes in blocks(study.source)])


def blocks(source: Source, n: int = 64) -> Iterator[NDArray[np.uint8]]:
    """Yield the codes of all windows, some at a time."""
    for first in range(0, source.n_windows, n):
        yield source.read(np.arange(first, min(first + n, source.n_windows)))


def scaled(x: Vectors) -> Vectors:
    """Return vectors with every feature at mean 0 and deviation 1, then of length 1."""
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def clustered(study: Study, x: Vectors) -> list[NDArray[np.int32]]:
    """Return some clusterings of all windows, each from another start."""
    x = scaled(x)
    return [KMeans(study.n_clusters, n_init=1, random_state=i).fit(x).labels_ for i in range(CLUSTERINGS)]


def scores(study: Study, x: Vectors, clusterings: list[NDArray[np.int32]] | None = None) -> dict[str, float]:
    """Return AMI, the mean over clusterings, and how often 5 neighbours of other sources tell the label."""
    has = study.label != NONE
    clusterings = clustered(study, x) if clusterings is None else clusterings
    return {"AMI": ami(study.label[has], [each[has] for each in clusterings]), "5-NN": knn(study, scaled(x))}


def ami(label: NDArray[np.int64], clusterings: list[NDArray[np.int32]]) -> float:
    """Return the mean adjusted mutual information."""
    return float(np.mean([adjusted_mutual_info_score(label, each) for each in clusterings]))


def knn(study: Study, x: Vectors) -> float:
    """Return the share of labelled windows that 5 neighbours tell right, in 5 folds of whole sources."""
    has = np.flatnonzero(study.label != NONE)
    right = 0
    for fit, test in GroupKFold(5, shuffle=True, random_state=0).split(has, groups=study.group[has]):
        model = KNeighborsClassifier(5).fit(x[has[fit]], study.label[has[fit]])
        right += int((model.predict(x[has[test]]) == study.label[has[test]]).sum())
    return right / len(has)


def interval(
    study: Study, before: list[NDArray[np.int32]], after: list[NDArray[np.int32]], n: int = RESAMPLES
) -> tuple[float, float]:
    """Return the middle 95 % of the gain in AMI over resamples of the sources, both networks on the same ones."""
    random = np.random.default_rng(0)
    has = np.flatnonzero(study.label != NONE)
    by_group = [has[study.group[has] == each] for each in np.unique(study.group[has])]
    gains = []
    for i in range(n):
        rows = np.concatenate([by_group[g] for g in random.integers(0, len(by_group), len(by_group))])
        own = i % CLUSTERINGS
        gains.append(ami(study.label[rows], [after[own][rows]]) - ami(study.label[rows], [before[own][rows]]))
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
