"""Vectors of another grid than the cube's, as BirdNET makes them: all that follows is of their own seconds."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from atlases import read_cluster, read_members, scripted
from chains import receipts, run_chain, runs, store
from commands import Cli
from judging import judge
from soundfiles import usual_study
from stores import ORIGIN_MS

import dawnchorus
from lake.batches import read_batch
from lake.exports.clusters import clustering_table
from lake.query.across import starts_of
from lake.query.find import Wanted
from lake.query.select import open_any
from lake.query.trace import trace
from lake.read import grid_of, recorder_names, usable_windows
from lake.sounds import SPEECH

RUNS = """
[runs.theirs]
job = "import"
inputs = { spectrograms = "mels" }
files = { table = "vectors.csv", vectors = "vectors.npy" }
config = { window_s = 3.0, hop_s = 3.0 }
[runs.clusters]
job = "cluster"
inputs = { embeddings = "theirs" }
config = { n_clusters = 3, seed = 7 }
[runs.atlas]
job = "atlas"
inputs = { clusters = "clusters", spectrograms = "mels" }
config = { n_exemplars = 2 }
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of a study with vectors of 3 s from each recording's start, on a cube of 4 s every 2 s."""
    made = usual_study(tmp_path_factory.mktemp("study"))
    manifest = made.write()
    manifest.write_text(manifest.read_text() + RUNS)
    rows = [
        (row["path"], 3.0 * i)
        for row in made.rows
        for i in range(int(row["duration_s"] // 3))
        if not str(row["problems"]) and row["recorder"]
    ]
    pd.DataFrame(rows, columns=["recording", "start_s"]).to_csv(made.folder / "vectors.csv", index=False)
    vectors = np.random.default_rng(0).normal(size=(len(rows), 8)).astype(np.float32)
    np.save(made.folder / "vectors.npy", vectors)
    text = manifest.read_text().replace("hop_s = 3.0 }", 'hop_s = 3.0, shared_cells = "nearest" }')
    manifest.write_text(text)
    run_chain(manifest)
    return manifest


def test_queries_know_local_time(study: Path) -> None:
    table = dawnchorus.query(store(study, "theirs"), local=True, date="2021-07-14")
    assert len(table) > 5
    assert (table["time"] - table["time_local"] == pd.Timedelta("5h")).all()


def test_exports_name_the_vectors_own_seconds(study: Path) -> None:
    clusters, cube = open_any(store(study, "clusters")), open_any(store(study, "mels"))
    table = clustering_table(clusters, cube, Wanted(), names={})
    begins = dict(zip(cube["recording_path"].to_numpy(), cube["recording_start_ms"].to_numpy(), strict=True))
    starts = pd.read_csv(study.parent / "vectors.csv")
    known = {(path[0], begins[path] + round(start_s * 1000)) for path, start_s in starts.itertuples(index=False)}
    whole = table[np.isclose(table["end_s"] - table["start_s"], 3.0)]
    assert len(whole) > 5
    pairs = zip(whole["recording"], whole["start_s"], strict=True)
    assert {(path[0], begins[path] + round(start_s * 1000)) for path, start_s in pairs} <= known


def test_raven_tables_have_the_vectors_own_seconds(cli: Cli, study: Path, tmp_path: Path) -> None:
    ended = cli("export", store(study, "clusters"), "--to", "raven", "--out", tmp_path / "tables")
    assert ended.code == 0, ended.error
    cube = open_any(store(study, "mels"))
    begins = dict(zip(cube["recording_path"].to_numpy(), cube["recording_start_ms"].to_numpy(), strict=True))
    starts = pd.read_csv(study.parent / "vectors.csv")
    known = {(path[0], begins[path] + round(start_s * 1000)) for path, start_s in starts.itertuples(index=False)}
    rows = pd.concat([pd.read_csv(path, sep="\t") for path in (tmp_path / "tables").rglob("*.txt")])
    whole = rows[np.isclose(rows["End Time (s)"] - rows["Begin Time (s)"], 3.0)]
    assert len(whole) > 5
    by_name = {Path(path).name: path for path in begins}  # where recordings overlap the earlier one is named
    pairs = zip(whole["Begin File"].map(by_name), whole["Begin Time (s)"], strict=True)
    assert {(path[0], begins[path] + round(start_s * 1000)) for path, start_s in pairs} <= known


def test_the_page_shows_the_vectors_own_seconds(study: Path) -> None:
    folder = study.parent / "lake/atlas/atlas"
    clusters = open_any(store(study, "clusters"))
    number, cell = (clusters[name].to_numpy()[0, 0] for name in ("exemplar_recorder", "exemplar_cell"))
    grid = clusters.attrs["grid"]
    assert grid["window_ms"] == 3000
    recorder = str(clusters["recorder"].to_numpy()[number])
    listed = str(np.datetime64(grid["origin_ms"] + int(cell) * grid["hop_ms"], "ms"))
    piece = trace(store(study, "theirs"), recorder, listed).pieces[0]
    page = read_cluster(folder, 0)
    assert piece.path in page.text
    assert list(folder.rglob("*.ogg"))


def test_every_window_is_listed_at_the_vectors_own_second(study: Path) -> None:
    folder = study.parent / "lake/atlas/atlas"
    paths = scripted(folder / "recordings/0.js")["paths"]
    listed = []
    for cluster in range(3):
        columns = read_members(folder, cluster)
        assert (columns["recording"] >= 0).all()
        listed += [
            (paths[int(number)], second / 1000)
            for number, second in zip(columns["recording"], columns["offset_ms"], strict=True)
        ]
    assert len(listed) == len(dawnchorus.query(store(study, "clusters")))
    cube = open_any(store(study, "mels"))
    begins = dict(zip(cube["recording_path"].to_numpy(), cube["recording_start_ms"].to_numpy(), strict=True))
    starts = pd.read_csv(study.parent / "vectors.csv")
    known = {(path[0], begins[path] + round(start_s * 1000)) for path, start_s in starts.itertuples(index=False)}
    placed = [(path[0], begins[path] + round(second * 1000)) for path, second in listed]
    assert len(set(placed)) == len(placed)
    assert set(placed) <= known
    data = scripted(folder / "data.js")
    assert data["window_ms"] == 3000


def test_speech_leaves_searches_by_the_vectors_own_seconds(study: Path, tmp_path: Path) -> None:
    manifest = shutil.copytree(study.parent, tmp_path / "copy") / study.name
    url = store(manifest, "theirs")
    with open_any(url) as dataset:
        windows, recorders = usable_windows(dataset, status="embedding_status"), recorder_names(dataset)
        grid, start_ms = grid_of(dataset), starts_of(dataset, windows)
    late = start_ms - (grid.origin_ms + windows.cell * grid.hop_ms)
    mine = int(np.flatnonzero(late >= 500)[0])
    span = grid.origin_ms + int(windows.cell[mine]) * grid.hop_ms + grid.window_ms, int(start_ms[mine]) + grid.window_ms
    recorder = recorders[int(windows.recorder[mine])]
    duration_s = (span[1] - span[0]) / 1000  # after the window's cell, and still in its sound
    judge(manifest.parent / "lake", [(recorder, span[0] - ORIGIN_MS, SPEECH, "yes")], duration_s=duration_s)
    touched = (
        (windows.recorder == windows.recorder[mine]) & (start_ms < span[1]) & (start_ms + grid.window_ms > span[0])
    )
    found = dawnchorus.open_search(url).near_vector(np.ones(8, dtype=np.float32), n=len(start_ms))
    times = (
        (found["time"].to_numpy().astype("datetime64[ms]").astype(np.int64) - grid.origin_ms) // grid.hop_ms
    ).tolist()
    names = [recorders[int(i)] for i in windows.recorder]
    expected = {
        pair for pair, is_out in zip(zip(names, windows.cell.tolist(), strict=True), touched, strict=True) if not is_out
    }
    assert touched[mine]
    assert set(zip(found["recorder"], times, strict=True)) == expected


def test_windows_near_one_are_told_with_their_place(study: Path) -> None:
    row = dawnchorus.query(store(study, "theirs")).iloc[3]
    near = dawnchorus.similar(store(study, "theirs"), row["recorder"], row["time"], n=3)
    assert len(near) == 3


# Review, and what is learnt from it ------------------------------------------------------------------------

DETECTOR = """
[runs.heads]
job = "learn"
inputs = { embeddings = "theirs" }
config = { n_unlabelled = 20, n_bootstrap = 50, n_few = 5 }
[runs.found]
job = "detect"
inputs = { embeddings = "theirs", heads = "heads" }
"""


@pytest.fixture(scope="module")
def starts(study: Path) -> set[tuple[str, int]]:
    """Return recorder and start, milliseconds since 1970, of the sound of every vector of the study."""
    cube = open_any(store(study, "mels"))
    begins = {
        str(path): (str(recorder), int(begin_ms))
        for path, recorder, begin_ms in zip(
            *(cube[f"recording_{name}"].to_numpy() for name in ("path", "recorder", "start_ms")), strict=True
        )
    }
    table = pd.read_csv(study.parent / "vectors.csv")
    return {
        (begins[path][0], begins[path][1] + round(start_s * 1000)) for path, start_s in table.itertuples(index=False)
    }


def asked(cli: Cli, study: Path, *words: object) -> dict[str, object]:
    code, out, error = cli("review", study, "--json", *words)
    assert code == 0, error
    assert "the windows are those of the vectors 'theirs', 3 s each" in error
    return dict(json.loads(out))


@pytest.fixture(scope="module")
def reviewed(study: Path) -> Path:
    (study.parent / "sounds.csv").write_text("sound\nwren\n")
    return study


@pytest.mark.parametrize("order", ["explore", "far", "random"])
def test_review_asks_about_the_vectors_own_windows(
    order: str, cli: Cli, reviewed: Path, starts: set[tuple[str, int]], tmp_path: Path
) -> None:
    said = asked(cli, reviewed, "--order", order, "--n", 6, "--out", tmp_path / "page")
    table = read_batch(runs(reviewed)["mels"].lake, str(said["batch"])).table
    assert set(table["duration_s"]) == {3.0}
    ms = table["time_utc"].astype("datetime64[ms]").astype("int64")
    assert set(zip(table["recorder"], ms, strict=True)) <= starts
    data = json.loads((tmp_path / "page/data.js").read_text()[len("reviewData(") : -len(");\n")])
    assert data["window_s"] == 3.0
    for window in data["windows"]:
        piece = trace(store(reviewed, "theirs"), window["recorder"], _cell_time(reviewed, window)).pieces[0]
        assert (window["recording"], window["recording_offset_s"]) == (
            piece.path,
            pytest.approx(piece.first_sample / piece.sample_rate_hz, abs=1e-3),
        )
        assert (tmp_path / "page" / window["picture"]).is_file()
        samples, rate = soundfile.read(tmp_path / "page" / window["sound"])
        assert len(samples) / rate == pytest.approx(3.0, abs=0.02)


def _cell_time(study: Path, window: dict[str, str]) -> str:
    """Return the start of the cell that the vector of a window stands in."""
    table = dawnchorus.query(store(study, "theirs"), recorder=window["recorder"])
    own_ms = int(np.datetime64(window["time_utc"].removesuffix("Z"), "ms").astype(np.int64))
    at = np.abs(table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64) - own_ms).argmin()
    return str(table["time"].iloc[int(at)])


def test_verdicts_come_back_and_are_learnt_from(
    cli: Cli, reviewed: Path, starts: set[tuple[str, int]], tmp_path: Path
) -> None:
    said = asked(cli, reviewed, "--order", "random", "--n", 40, "--seed", 3, "--no-page")
    table = read_batch(runs(reviewed)["mels"].lake, str(said["batch"])).table
    rows = [
        f"{row.recorder},{pd.Timestamp(str(row.time_utc)).isoformat()}Z,{row.duration_s:g},wren,"
        f"{'no' if i % 2 else 'yes'},Ana,2026-01-02T03:04:05Z,{said['batch']},{row.draw}"
        for i, row in enumerate(table.itertuples(index=False))
    ]
    answers = tmp_path / "answers.csv"
    header = "recorder,time_utc,duration_s,sound,verdict,reviewer,decided_at,batch,draw"
    answers.write_text("\n".join([header, *rows]))
    code, _, error = cli("verdicts", "add", reviewed, answers)
    assert code == 0, error
    left = asked(cli, reviewed, "--order", "random", "--n", 500, "--no-page")
    again = read_batch(runs(reviewed)["mels"].lake, str(left["batch"])).table
    known = set(table[["recorder", "time_utc"]].itertuples(index=False, name=None))
    assert not known & set(again[["recorder", "time_utc"]].itertuples(index=False, name=None)), "heard already"
    assert len(again) == len(starts) - 40 - _left_out(reviewed)
    reviewed.write_text(reviewed.read_text() + DETECTOR)
    run_chain(reviewed, "heads", "found")
    ended = cli("events", reviewed, "found", "--threshold", "0", "--gap", "0", "--out", tmp_path / "events.csv")
    assert ended.code == 0, ended.error
    events = pd.read_csv(tmp_path / "events.csv")
    ms = pd.to_datetime(events["start_utc"]).dt.tz_localize(None).astype("datetime64[ms]").astype("int64")
    assert set(zip(events["recorder"], ms, strict=True)) <= starts
    asked(cli, reviewed, "--order", "margin", "--n", 5, "--no-page", "--sound", "wren")


def _left_out(study: Path) -> int:
    """Return how many vectors found their cell taken."""
    return int(receipts(study, "theirs")[-1]["counts"]["left_out"])


def test_counts_are_not_of_these_windows(cli: Cli, reviewed: Path) -> None:
    code, _, error = cli("review", reviewed, "--order", "count", "--no-page")
    assert code == 3
    assert "counts are of the cube's windows, and these are those of the vectors 'theirs'" in error
