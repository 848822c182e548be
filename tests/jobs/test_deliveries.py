"""A study that lives: recordings come in four deliveries that overlap, and names stay on their sounds."""

import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from commands import Cli
from numpy.typing import NDArray
from soundfiles import RATE, sound

from jobs.common.labels.intervals import read_labels
from jobs.demo.config import StudyConfig
from jobs.demo.study import make_study
from jobs.evaluate.core import dominant_labels
from lake.clustering import clustering_id_of
from lake.query.naming import read_names
from lake.read import grid_of, open_clusters, open_embeddings, recorder_names
from lake.storage import Storage

DOCS = Path(__file__).resolve().parents[2] / "docs"
LINES = re.compile(r"^(?: {4})?(dawnchorus .*|mv .*)$", re.MULTILINE)
"""Lines that a page says to type."""
QUICK = {
    "n_patches = 60000": "n_patches = 5000", "n_atoms = 64": "n_atoms = 32", "n_rounds = 15": "n_rounds = 5",
    'n_clusters = "auto"': "n_clusters = 20",
}  # fmt: skip
"""For the study of a test: quick, and with more clusters than so few windows get, so that one holds one sound."""
MANIFEST = """
lake = "lake"
max_quarantined = 1.0
recordings = {{ table = "recordings.csv", root = "audio" }}
[runs.mels]
job = "spectrograms"
config = {{ {cube} }}
[runs.vectors]
job = "embed"
inputs = {{ spectrograms = "mels" }}
config = {{ features = "logmel" }}
[runs.clusters]
job = "cluster"
inputs = {{ embeddings = "vectors" }}
config = {{ n_clusters = {n_clusters} }}
"""
CLEAR, FEWEST = 0.7, 5
"""Of a cluster's windows the share that is one sound for a person to name it, and how many it has at least."""
Window = tuple[str, int]
"""Recorder, and cell of the grid, whose origin never moves."""
Labels = dict[Window, int]
"""The cluster of each window."""
Heard = Callable[[Labels], dict[Window, str]]
"""Returns what somebody hears in each window."""


@dataclass(frozen=True)
class Study:
    """A study whose user types what a page prints, and nothing else."""

    cli: Cli
    page: str
    audio: str
    lake: str
    manifest: str
    vectors: str

    @property
    def clusters(self) -> str:
        return f"{self.lake}/clusters/clusters.zarr"

    def line(self, command: str) -> list[str]:
        """Return the words of the line of the page that begins so."""
        lines = [shlex.split(line) for line in LINES.findall((DOCS / self.page).read_text(encoding="utf-8"))]
        wanted = command.format(study=self.manifest).split()
        return next(line for line in lines if line[: len(wanted)] == wanted)

    def typed(self, command: str) -> str:
        """Type a line of the page, and return what it prints."""
        code, out, error = self.cli(*self.line(f"dawnchorus {command}")[1:])
        assert code == 0, error
        return str(out)

    def week(self) -> str:
        """Type what the page says to type for new recordings."""
        return "".join(map(self.typed, ("catalog", "run {study}", "status")))


def labels_of(store: str, vectors_store: str) -> Labels:
    """Return the cluster of every window; every window with a vector has one."""
    with open_clusters(store) as clusters, open_embeddings(vectors_store) as vectors:
        found: NDArray[np.int16] = clusters["cluster"].to_numpy()
        there = vectors["embedding_status"].to_numpy() > 0
        assert found.shape == there.shape
        assert ((found >= 0) == there).all(), "every window is in a cluster"
        assert clusters["n_windows"].to_numpy().sum() == there.sum()
        names = recorder_names(clusters)
        return {(names[i], j): int(found[i, j]) for i, j in np.argwhere(there).tolist()}


def named(store: str) -> dict[int, str]:
    return {name.cluster: name.name for name in read_names(Storage(store)).rows}


def given(study: Study, names: dict[int, str]) -> None:
    """Put the table of names where the page says, as the atlas gives it for download."""
    with open_clusters(study.clusters) as clusters:
        identity = clustering_id_of(clusters)
    rows = [f"{one},{name},heard at dawn,{identity}" for one, name in names.items()]
    table = "\n".join(["cluster,name,notes,clustering_id", *rows, ""])
    Path(f"{study.lake}/clusters/clusters.names.csv").write_text(table, encoding="utf-8")


def sounds_of(labels: Labels, heard: dict[Window, str]) -> dict[int, tuple[str, float, int]]:
    """Return the commonest sound of each cluster, its share, and the windows of which somebody heard what they are."""
    of: dict[int, Counter[str]] = {}
    for window, cluster in labels.items():
        if window in heard:
            of.setdefault(cluster, Counter())[heard[window]] += 1
    return {
        cluster: (sounds.most_common(1)[0][0], sounds.most_common(1)[0][1] / sounds.total(), sounds.total())
        for cluster, sounds in of.items()
    }


def live(study: Study, deliveries: Sequence[Sequence[tuple[Path, str]]], hear: Heard) -> set[str]:
    """Live through deliveries of files, each with its path: names after the first, a new clustering in the third.

    A person names each cluster that is clearly one sound. At the end each name is on clusters that are mostly its
    sound; names that the new clustering has no cluster for were told, and are returned.
    """
    older, vectors = study.clusters.replace(".zarr", ".1.zarr"), f"{study.lake}/embeddings/{study.vectors}.zarr"
    before: Labels = {}
    names: dict[int, str] = {}
    for number, delivery in enumerate(deliveries, start=1):
        for path, place in delivery:
            (Path(study.audio) / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, Path(study.audio) / place)
        if number == 1 and not Path(study.manifest).exists():
            study.typed("init")
            text = Path(study.manifest).read_text()
            for slow, quick in QUICK.items():
                assert slow in text
                text = text.replace(slow, quick)
            Path(study.manifest).write_text(text)
        assert " stale" not in study.week()
        now = labels_of(study.clusters, vectors)
        assert len(now) > len(before)
        assert {key: now[key] for key in before} == before, "what was there stays"
        if number == 1:
            heard = hear(now)
            names = {
                one: sound
                for one, (sound, share, n) in sorted(sounds_of(now, heard).items())
                if sound and share >= CLEAR and n >= FEWEST
            }
            given(study, names)
            study.typed("run {study}")
            given_names = {*names.values()}
            assert len(given_names) >= 5
        assert named(study.clusters) == names
        if number == 3:
            said = study.typed("run {study} clusters --refresh") + study.typed("run {study}")
            assert labels_of(older, vectors) == now
            assert named(older) == names
            gone = set(re.findall(r"name '([^']+)' of clusters? [\d, ]+ is lost", said))
            now = labels_of(study.clusters, vectors)
            names = named(study.clusters)
            assert {*re.findall(r"name '([^']+)': clusters? ", said)} == {*names.values()} == given_names - gone
        before = now
    assert named(study.clusters) == names
    sounds = sounds_of(before, hear(before) if study.page == "tutorial.md" else heard)
    assert {one: sounds[one][0] for one in names} == names, "each name is on the sound that it was given for"
    rows = [line.split() for line in study.typed("status").splitlines() if "verdicts" not in line]
    assert {row[2].rstrip(":") for row in rows} == {"done"}, "or done with advice; what needs verdicts waits"
    assert study.cli("verify", study.manifest).code == 0
    assert study.cli("query", older).code == 0
    assert study.cli("query", vectors, "--cluster", "0").code == 0
    return gone


@pytest.mark.slow
def test_four_deliveries(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three recorders; days later, between and before; a recorder that comes later; files that come twice."""
    import soundfile

    made: dict[str, Path] = {}
    for recorder in ("a", "b", "c"):
        for day in range(10, 18):
            path = tmp_path / "made" / f"{recorder}{day}.wav"
            path.parent.mkdir(exist_ok=True)
            parts = [sound(8, 1000 * ord(recorder) + 4 * day + part) for part in range(4)]
            soundfile.write(path, np.concatenate(parts), RATE)
            made[f"{recorder}{day}"] = path

    def files(*keys: str, to: str = "") -> list[tuple[Path, str]]:
        return [(made[key], f"{key[0]}{to}/202107{key[1:]}_050000.wav") for key in keys]

    monkeypatch.chdir(tmp_path)
    cube = "window_s = 4.0, hop_s = 2.0, n_mels = 12, n_frames = 16, f_max_hz = 3500.0, fft_s = 0.032"
    Path("study.toml").write_text(MANIFEST.format(cube=cube, n_clusters=7))
    live(Study(cli, "growing.md", "audio", "lake", "study.toml", "vectors"), [
        files("a12", "a13", "b12"),
        files("a13", "a15", "b12", "b14"),
        files("a11", "a14", "b14", "c13", "c15", to=""),
        files("a10", "a16", "b15", "c13", "c17"),
    ], lambda first: {window: f"sound {cluster}" for window, cluster in first.items()})  # fmt: skip


@pytest.mark.slow
def test_four_deliveries_of_the_demo_study(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tutorial's life: every line is one of its; the names are those that the page gives for download."""
    made = make_study(tmp_path / "made", StudyConfig(n_days=4, scale=0.05), workers=2).folder
    found = sorted(path for path in (made / "audio").rglob("*") if path.is_file())
    days = sorted({match[0] for path in found if (match := re.search(r"202106\d\d", path.name))})

    def delivery(*wanted: str) -> list[tuple[Path, str]]:
        return [
            (path, str(path.relative_to(made / "audio")))
            for path in found
            if (match := re.search(r"202106\d\d", path.name)) is None or match[0] in wanted
        ]

    monkeypatch.chdir(tmp_path)
    study = Study(cli, "tutorial.md", "data/demo/study/audio", "data/meadow", "data/meadow/manifest.toml", "statistics")
    Path("data/demo/study").mkdir(parents=True)
    shutil.copy2(made / "deployments.csv", "data/demo/study")
    names = study.line("mv")[2]
    assert names == f"{study.lake}/clusters/clusters.names.csv"
    assert study.line("dawnchorus init")[2:5] == [study.lake, "--audio", study.audio]
    truth = read_labels(made / "truth.csv")

    def hear(labels: Labels) -> dict[Window, str]:
        with open_clusters(study.clusters) as clusters:
            grid = grid_of(clusters)
        heard: dict[Window, str] = {}
        for recorder in {recorder for recorder, _ in labels}:
            cells = sorted(cell for one, cell in labels if one == recorder)
            found = dominant_labels(truth.by_recorder[recorder], np.array(cells), grid, min_overlap_ms=500)
            heard |= {(recorder, cell): truth.names[i] if i >= 0 else "" for cell, i in zip(cells, found, strict=True)}
        return heard

    weeks = [delivery(*days[:2]), delivery(*days[1:3]), delivery(*days[2:4]), delivery(*days)]
    assert live(study, weeks, hear) == set(), "no name is missing"
    with open_clusters(study.clusters) as clusters:
        assert len(labels_of(study.clusters, f"{study.lake}/embeddings/dictionary.zarr")) == clusters["n_windows"].sum()
    page = Path(study.lake, "atlas/atlas")
    assert all(
        name in "".join(path.read_text() for path in page.glob("*.js*")) for name in named(study.clusters).values()
    )
