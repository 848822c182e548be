"""Studies whose windows are known: the demo's synthetic sound, and labelled recordings; each with vector sets."""

import csv
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.listening import Study
from benchmarks.quality import ROOT, labelled, prepare, seeded
from jobs.common.labels.intervals import read_labels
from jobs.common.run import Options, Run
from jobs.demo.reviewer import sounds_in
from jobs.review.orders import Population
from jobs.review.sources import read_windows, windows_of
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import Manifest, read_manifest
from jobs.workflows.rehearsal import Rehearsed
from lake.constants import MS_PER_DAY, MS_PER_HOUR
from lake.grid import Grid
from lake.read import Windows, open_cube, paths_of, values_at
from lake.scaling import Scaling, Vectors, moments, scale_of, scaled, whitening
from lake.vectors import open_vectors

SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "log-mel": ("logmel",), "dictionary": ("dictionary",), "dictionary ‖ statistics": ("dictionary", "statistics"),
    "untrained network": ("untrained",), "trained network": ("trained",),
}  # fmt: skip
"""Runs of the manifests by vector set; the demo's trained network is its run ``vectors``."""
BIRDNET: Final = "BirdNET"
N_CLUSTERS: Final = 30
WINDOWS_PER_CLUSTER: Final = 4
"""At least, where windows are few."""
N_EXEMPLARS: Final = 12
N_PARTS: Final = 3
"""Of recordings; one of them is never heard."""
HOURS_A_DAY: Final = 6
"""In which the demo records; every other day begins with the other half."""
MIN_OVERLAP_S: Final = 0.5
BIRDNET_S: Final = 3.0
BOOBOOK: Final = "soundscape/a2o_boobook/"

Bools = NDArray[np.bool_]
Rows = NDArray[np.int64]
Heard = Callable[[int], Bools]
"""Which windows may be heard, by seed."""


@dataclass(frozen=True)
class Sound:
    """All windows of a study with the vectors of one set.

    Attributes
    ----------
    population, truth
        The windows, sorted by recorder and time, and whether each kind is in each, shape (n_windows, n_kinds).
    stored, n_features
        Vectors of the sets side by side, and the number of features of each.
    days, recordings
        Number of the day and of the recording of each window: what is held out together.
    may_be_heard
        Which windows may be heard, by seed.
    is_own
        Whether vectors are whitened, as ``learn`` does it with vectors of ``embed``; otherwise z-scores of length 1.
    """

    population: Population
    truth: Bools
    stored: Vectors
    n_features: Sequence[int]
    days: Rows
    recordings: Rows
    may_be_heard: Heard
    is_own: bool = True


Load = Callable[[], Sound]


def studies(demo: Path, audio: Path | None, folder: Path, workers: int) -> Iterator[tuple[str, str, Load]]:
    """Yield study, vector set and what loads it; runs that are missing are done when the first of a study is loaded.

    Parameters
    ----------
    demo
        Folder of the demo study.
    audio
        Folder of labelled recordings, laid out as ``docs/quality.md`` says; ``None`` leaves these studies out.
    folder
        Where their study goes.
    workers
        Processes that work side by side.
    """
    for name in SETS:
        yield "demo", name, partial(of_demo, demo, name, workers)
    if audio is None:
        return
    for study, where in {"ESC-10": audio / "dev", "insects": audio / "insects", "boobook": audio / "dev"}.items():
        if not (where / "labels.csv").exists():
            continue
        for name in SETS:
            yield study, name, partial(of_recordings, study, audio, folder, name, workers)
        if study != "insects" and (where / "birdnet_embeddings.npy").exists():
            yield study, BIRDNET, partial(of_birdnet, study, audio)


def of_demo(folder: Path, name: str, workers: int) -> Sound:
    """Return the demo study; every other hour that was recorded may be heard, of other hours with each seed in turn."""
    runs = tuple("vectors" if run == "trained" else run for run in SETS[name])
    manifest = manifest_of(folder, "demo", runs)
    execute_runs(manifest, list(manifest.runs), Options(workers=workers), print)
    windows, grid, recorders, stored, n_features = _vectors([manifest.runs[run] for run in runs])
    truth = sounds_in(read_labels(folder / "study" / "truth.csv"), windows, recorders, grid)
    hours = windows.cell * grid.hop_ms // MS_PER_HOUR
    numbers = np.unique(hours, return_inverse=True)[1]
    half = (numbers + numbers // HOURS_A_DAY) % 2
    return Sound(
        Population(windows, grid), truth, stored, n_features, windows.cell // grid.cells_per_day,
        hours * len(recorders) + windows.recorder, lambda seed: half == seed % 2,
    )  # fmt: skip


def of_recordings(study: str, audio: Path, folder: Path, name: str, workers: int) -> Sound:
    """Return labelled recordings, each of which stands for a recorder: files of different makers share no clock."""
    prepare(audio, folder, workers)
    manifest = manifest_of(folder, "quality", SETS[name])
    execute_runs(manifest, list(manifest.runs), Options(workers=workers), print)
    windows, grid, _, stored, n_features = _vectors([manifest.runs[run] for run in SETS[name]])
    with open_cube(manifest.runs["mels"].output.url) as cube:
        row = values_at(cube, "recording", windows.recorder, windows.cell).astype(np.int64)
        paths = np.array(paths_of(cube))[row]
        offset_s = (grid.origin_ms + windows.cell * grid.hop_ms - cube["recording_start_ms"].to_numpy()[row]) / 1000
    return _labelled(labels_of(study, audio), paths, offset_s, grid.window_ms / 1000, stored, n_features, is_own=True)


def of_birdnet(study: str, audio: Path) -> Sound:
    """Return labelled recordings with BirdNET's vectors of 3 s, which come with them."""
    table = pd.read_csv(audio / "dev" / "birdnet_silver.csv")
    stored = np.load(audio / "dev" / "birdnet_embeddings.npy").astype(np.float32)
    paths = np.array([f"dev/{path}" for path in table["file"]])
    offset_s = table["start_s"].to_numpy(np.float64)
    return _labelled(labels_of(study, audio), paths, offset_s, BIRDNET_S, stored, stored.shape[1:], is_own=False)


def labels_of(study: str, audio: Path) -> pd.DataFrame:
    """Return ``path``, ``start_s``, ``end_s``, ``label`` and ``group`` of what was labelled; no label where nothing is.

    A group is never on both sides: the source of a clip, the session of an insect, the file of a boobook.
    """
    rows: list[Sequence[object]] = []
    if study == "boobook":
        with (audio / "dev" / "labels.csv").open(encoding="utf-8", newline="") as file:
            files = [row["file"] for row in csv.DictReader(file) if row["file"].startswith(BOOBOOK)]
        for path in files:
            rows.append([f"dev/{path}", 0.0, 0.0, "", path])
            calls = (audio / "dev" / path).with_suffix(".Table.1.selections.txt")
            if calls.exists():
                found = pd.read_csv(calls, sep="\t")
                spans = zip(found["Begin Time (s)"], found["End Time (s)"], strict=True)
                rows += [[f"dev/{path}", start_s, end_s, "boobook", path] for start_s, end_s in spans]
    else:
        rows += list(labelled(audio / ("dev" if study == "ESC-10" else study) / "labels.csv", audio))
    table = pd.DataFrame(rows, columns=["path", "start_s", "end_s", "label", "group"])
    return table.astype({"start_s": "float64", "end_s": "float64"})


def study_of(sound: Sound, seed: int) -> Study:
    """Return the windows that may be heard, those that are not, and clusters of the first; all scaled."""
    is_heard = sound.may_be_heard(seed)
    mine = np.flatnonzero(is_heard)
    vectors = scaled(sound.stored, _scaling(sound))
    own = vectors[mine]
    n_clusters = min(N_CLUSTERS, len(mine) // WINDOWS_PER_CLUSTER)
    model = KMeans(n_clusters, n_init=1, random_state=seed).fit(own)
    distance = model.transform(own)
    exemplars = np.full((n_clusters, N_EXEMPLARS), -1)
    for cluster in range(n_clusters):
        rows = np.flatnonzero(model.labels_ == cluster)
        nearest = rows[np.argsort(distance[rows, cluster], kind="stable")][:N_EXEMPLARS]
        exemplars[cluster, : len(nearest)] = nearest
    population = Population(sound.population.windows.take(mine), sound.population.grid)
    known = Rehearsed(own, sound.truth[mine], sound.days[mine], sound.recordings[mine])
    return Study(
        population, known, sound.stored[mine], exemplars, model.labels_.astype(np.int64),
        vectors[~is_heard], sound.stored[~is_heard], sound.truth[~is_heard],
    )  # fmt: skip


def manifest_of(folder: Path, study: str, runs: Sequence[str], seed: int = 0) -> Manifest:
    """Write a study's manifest with a seed, of some runs and all that these are made from, and read it."""
    template = tomllib.loads((ROOT / "manifests" / f"{study}.toml").read_text(encoding="utf-8"))
    template["lake"] = "."
    below = f"../data/{study}/"
    template["recordings"] = {key: path.removeprefix(below) for key, path in template["recordings"].items()}
    template.pop("labels")
    wanted: dict[str, None] = {}
    queue = list(runs)
    while queue:
        name = queue.pop()
        wanted[name] = None
        for source in template["runs"][name].get("inputs", {}).values():
            queue += [source] if isinstance(source, str) else source
    template["runs"] = {name: run for name, run in template["runs"].items() if name in wanted}
    path = folder / f"review-seed-{seed}.toml"
    path.write_text(tomli_w.dumps(seeded(template, seed)), encoding="utf-8")
    return read_manifest(path)


def _vectors(runs: Sequence[Run]) -> tuple[Windows, Grid, list[str], Vectors, Sequence[int]]:
    """Return the windows of vector sets with their grid and recorders, their vectors, and the features of each set."""
    sets = open_vectors([run.output.url for run in runs])
    windows = windows_of(sets)
    return windows, sets.grid, list(sets.recorders), read_windows(sets, windows), sets.n_features


def _labelled(  # noqa: PLR0917 (what two readers have found)
    labels: pd.DataFrame,
    paths: NDArray[np.str_],
    offset_s: NDArray[np.float64],
    window_s: float,
    stored: Vectors,
    n_features: Sequence[int],
    *,
    is_own: bool,
) -> Sound:
    """Return the windows of labelled recordings, sorted, with what is in them."""
    names = sorted(set(labels["path"]))
    number = pd.Series(paths).map({path: i for i, path in enumerate(names)}).fillna(-1).to_numpy(np.int64)
    cell = np.rint(offset_s / window_s).astype(np.int64)
    rows = np.flatnonzero(number >= 0)
    rows = rows[np.lexsort((cell[rows], number[rows]))]
    number, cell, begin_s = number[rows], cell[rows], offset_s[rows]
    kinds = sorted(set(labels["label"]) - {""})
    truth = np.zeros((len(rows), len(kinds)), dtype=np.bool_)
    for path, start_s, end_s, label, _ in labels.itertuples(index=False):
        here = np.flatnonzero(number == names.index(path))
        shared_s = np.minimum(begin_s[here] + window_s, end_s) - np.maximum(begin_s[here], start_s)
        if label:
            truth[here[shared_s >= MIN_OVERLAP_S], kinds.index(label)] = True
    groups = labels.drop_duplicates("path").set_index("path")["group"]
    group = np.unique([groups[names[i]] for i in number.tolist()], return_inverse=True)[1]
    kind = np.where(truth.any(axis=1), truth.argmax(axis=1), len(kinds))

    def may_be_heard(seed: int) -> Bools:
        split = StratifiedGroupKFold(N_PARTS, shuffle=True, random_state=seed)
        held, _ = next(split.split(kind, kind, group))
        return np.asarray(np.isin(np.arange(len(kind)), held))

    hop_ms = round(window_s * 1000)
    windows = Windows(number.astype(np.int32), cell)
    grid = Grid(origin_ms=0, hop_ms=hop_ms, window_ms=hop_ms, end_ms=MS_PER_DAY)
    return Sound(Population(windows, grid), truth, stored[rows], n_features, number, number, may_be_heard, is_own)


def _scaling(sound: Sound) -> Scaling:
    """Return how ``learn`` scales these vectors, over all windows."""
    parts = np.split(sound.stored, np.cumsum(sound.n_features)[:-1], axis=1)
    if sound.is_own:
        return whitening([moments(part, products=True) for part in parts])
    return Scaling(tuple(scale_of(moments(part), "zscore_l2") for part in parts))
