"""A study that lives: recordings come in four deliveries that overlap, and names stay on their sounds."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from commands import Cli
from numpy.typing import NDArray
from soundfiles import RATE, sound

from jobs.demo.config import StudyConfig
from jobs.demo.study import make_study
from lake.query.naming import Name, read_names, write_names
from lake.read import open_clusters, open_embeddings, recorder_names
from lake.storage import Storage

PRINTED = re.findall(r"^    (dawnchorus .*)$", Path("docs/growing.md").read_text(encoding="utf-8"), re.MULTILINE)
"""Lines that the page says to type."""
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
PAGES = """
[runs.atlas]
job = "atlas"
inputs = { clusters = "clusters", spectrograms = "mels" }
config = { n_map_windows = 0, n_exemplars = 1, n_borders = 0, n_outliers = 0, audio = false }
[runs.counts]
job = "count"
inputs = { spectrograms = "mels" }
"""
Labels = dict[tuple[str, str], int]
"""Cluster by recorder and time."""


def typed(cli: Cli, command: str) -> str:
    """Type a line of the page, and return what it prints."""
    line = next(line for line in PRINTED if line.startswith(f"dawnchorus {command}"))
    code, out, error = cli(*line.split()[1:])
    assert code == 0, error
    return str(out)


def week(cli: Cli) -> str:
    """Type what the page says to type for new recordings."""
    return "".join(typed(cli, command) for command in ("catalog", "run study.toml", "status"))


def labels_of(store: str) -> Labels:
    """Return the cluster of every window; every window with a vector has one."""
    with open_clusters(store) as clusters, open_embeddings("lake/embeddings/vectors.zarr") as vectors:
        found: NDArray[np.int16] = clusters["cluster"].to_numpy()
        there = vectors["embedding_status"].to_numpy() > 0
        assert found.shape == there.shape
        assert ((found >= 0) == there).all(), "every window is in a cluster"
        assert clusters["n_windows"].to_numpy().sum() == there.sum()
        names, times = recorder_names(clusters), clusters["time"].to_numpy()
        return {(names[i], str(times[j])): int(found[i, j]) for i, j in np.argwhere(there).tolist()}


def named(store: str) -> dict[int, str]:
    return {name.cluster: name.name for name in read_names(Storage(store)).rows}


def live(cli: Cli, deliveries: Sequence[Sequence[tuple[Path, str]]]) -> None:
    """Live through deliveries of files, each with its path: names after the first, a new clustering in the third."""
    clusters = "lake/clusters/clusters.zarr"
    before: Labels = {}
    names: dict[int, str] = {}
    gone: set[str] = set()
    for number, delivery in enumerate(deliveries, start=1):
        for path, place in delivery:
            (Path("audio") / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, Path("audio") / place)
        said = week(cli)
        assert "stale" not in said
        now = labels_of(clusters)
        assert len(now) > len(before)
        assert {key: now[key] for key in before} == before, "what was there stays"
        if number == 1:
            first = now
            names = {one: f"sound {one}" for one in sorted({*now.values()})}
            write_names(Storage(clusters), [Name(one, name) for one, name in names.items()])
        if number == 3:
            said = typed(cli, "run study.toml clusters --refresh") + typed(cli, "run study.toml")
            assert labels_of("lake/clusters/clusters.1.zarr") == now
            assert named("lake/clusters/clusters.1.zarr") == names
            gone = set(re.findall(r"name '([^']+)' of cluster \d+ is lost", said))
            assert {*re.findall(r"name '([^']+)': cluster", said)} == {*names.values()} - gone
            now = labels_of(clusters)
            names = named(clusters)
        before = now
    assert named(clusters) == names
    assert len(names) > len(gone), "most names are carried"
    for cluster, name in names.items():
        was = {key for key, one in first.items() if f"sound {one}" == name}
        now_there = {key for key in first if before[key] == cluster}
        assert len(was & now_there) / len(was | now_there) > 0.4, name
    assert "clusters.names.csv" in {path.name for path in Path("lake/clusters").iterdir()}
    states = [line.split()[2].rstrip(":") for line in typed(cli, "status").splitlines() if "verdicts" not in line]
    assert {*states} == {"done"}, "or done with advice; what needs verdicts waits"
    assert cli("verify", "study.toml").code == 0
    assert cli("query", "lake/clusters/clusters.1.zarr").code == 0
    assert cli("query", "lake/embeddings/vectors.zarr", "--cluster", "0").code == 0


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
    live(cli, [
        files("a12", "a13", "b12"),
        files("a13", "a15", "b12", "b14"),
        files("a11", "a14", "b14", "c13", "c15", to=""),
        files("a10", "a16", "b15", "c13", "c17"),
    ])  # fmt: skip


@pytest.mark.slow
def test_four_deliveries_of_the_demo_study(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path / "study", StudyConfig(n_days=4, scale=0.05), workers=2)
    audio = study.folder / "audio"
    found = sorted(path for path in audio.rglob("*") if path.is_file())
    days = sorted({match[0] for path in found if (match := re.search(r"202106\d\d", path.name))})

    def delivery(*wanted: str) -> list[tuple[Path, str]]:
        return [
            (path, str(path.relative_to(audio)))
            for path in found
            if (match := re.search(r"202106\d\d", path.name)) is None or match[0] in wanted
        ]

    monkeypatch.chdir(tmp_path)
    cube = "n_mels = 32, n_frames = 64, f_max_hz = 11000.0"
    Path("study.toml").write_text(MANIFEST.format(cube=cube, n_clusters=12) + PAGES)
    live(cli, [delivery(*days[:2]), delivery(*days[1:3]), delivery(*days[2:4]), delivery(*days)])
