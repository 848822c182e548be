"""`dawnchorus similar`: windows by example, where they stand, as tables and for Raven, and what is refused."""

import io
import json
from pathlib import Path

import detectors
import numpy as np
import pandas as pd
import pytest
import soundfile
from browsers import faults_of, listen
from chains import store
from commands import Cli
from judging import judge
from playwright.sync_api import Browser, Page
from stores import make_cube, make_embeddings

import dawnchorus
from lake.query.trace import trace

COLUMNS = ["recorder", "time", "distance", "recording", "start_s", "end_s", "time_local", "cluster"]
WINDOW = ("--recorder", "a", "--time", "2021-07-15T00:00:00")


def table(out: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(out), parse_dates=["time", "time_local"])


def test_hits_are_those_of_trace_and_of_the_clustering(cli: Cli, whole: Path) -> None:
    url = store(whole, "vectors")
    ended = cli("similar", url, *WINDOW)
    assert ended.code == 0
    found = table(ended.out)
    assert list(found.columns) == COLUMNS
    assert found["distance"].is_monotonic_increasing
    assert len(found) > 5
    labels = dawnchorus.open_clusters(store(whole, "clusters"))["cluster"]
    assert (found["time"] - found["time_local"] == pd.Timedelta("5h")).all(), "the study is five hours behind UTC"
    for row in found.to_dict("records"):
        piece = trace(url, row["recorder"], row["time"]).pieces[0]
        assert (row["recording"], row["start_s"]) == (piece.path, piece.first_sample / piece.sample_rate_hz)
        assert row["end_s"] == piece.last_sample / piece.sample_rate_hz
        assert row["cluster"] == labels.sel(recorder=row["recorder"], time=row["time"]).item()


def test_a_table_in_a_file(cli: Cli, whole: Path, tmp_path: Path) -> None:
    url, file = store(whole, "vectors"), tmp_path / "near.json"
    ended = cli("similar", url, *WINDOW, "--n", 2, "--euclidean", "--out", file, "--json")
    assert json.loads(ended.out) == {"out": str(file), "n_windows": 2}
    rows = json.loads(file.read_text())
    assert [list(row) for row in rows] == [COLUMNS] * 2
    assert all(isinstance(row["cluster"], int) for row in rows)


def test_selections_for_raven(cli: Cli, whole: Path, tmp_path: Path) -> None:
    url = store(whole, "vectors")
    found = table(cli("similar", url, *WINDOW, "--n", 6).out)
    ended = cli("similar", url, *WINDOW, "--n", 6, "--to", "raven", "--out", tmp_path)
    assert ended.code == 0
    sheets = sorted(tmp_path.rglob("*.selections.txt"))
    assert len(sheets) == found["recording"].nunique()
    rows = pd.concat([pd.read_csv(sheet, sep="\t") for sheet in sheets]).sort_values("Distance")
    np.testing.assert_allclose(sorted(rows["Begin Time (s)"]), sorted(found["start_s"]))
    assert sorted(rows["Annotation"]) == [f"similar {i}" for i in range(1, 7)]
    assert rows["Cluster"].tolist() == found["cluster"].tolist()


def test_vectors_outside_of_a_lake_have_no_places(cli: Cli, whole: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.zarr"
    moved.symlink_to(store(whole, "vectors"))
    ended = cli("similar", moved, *WINDOW, "--n", 2)
    assert ended.code == 0
    found = table(ended.out)
    assert list(found.columns) == COLUMNS
    assert found[COLUMNS[3:]].isna().all(axis=None)
    ended = cli("similar", moved, *WINDOW, "--to", "raven", "--out", tmp_path / "raven")
    assert ended.code == 3
    assert "no recording of these windows is known" in ended.error


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--recorder", "x", "--time", "2021-07-15"), 3, "recorder 'x' is not in the store"),
        (("--recorder", "a"), 2, "name a window with --recorder and --time"),
        ((*WINDOW, "--to", "excel"), 2, "expected one of csv, raven"),
        ((*WINDOW, "--to", "raven"), 2, "name a folder with --out"),
        ((*WINDOW, "--out", "near.xls"), 2, "expected a name that ends in .csv, .parquet or .json"),
        ((*WINDOW, "--normalise", "most"), 2, "expected auto, whiten or none"),
    ],
)
def test_what_is_refused(cli: Cli, whole: Path, words: tuple[str, ...], code: int, told: str) -> None:
    ended = cli("similar", store(whole, "vectors"), *words)
    assert ended.code == code
    assert told in ended.error


def test_windows_by_a_detector_are_those_of_the_highest_scores(cli: Cli, tmp_path: Path) -> None:
    _, _, found, _ = detectors.study(tmp_path)
    url = found.output.url
    ended = cli("similar", url, "--sound", "wren", "--n", 7)
    assert ended.code == 0, ended
    rows = pd.read_csv(io.StringIO(ended.out), parse_dates=["time"])
    with dawnchorus.open_detections(url) as store:
        score = store["score"].sel(sound="wren").to_series().dropna().sort_values(ascending=False, kind="stable")
        probability = store["probability"].sel(sound="wren").to_series()
    np.testing.assert_allclose(rows["score"], score.head(7), rtol=1e-5)
    places = list(zip(rows["recorder"], rows["time"], strict=True))
    np.testing.assert_allclose(rows["probability"], probability[places], rtol=1e-5)


def test_what_a_detector_is_not_asked(cli: Cli, tmp_path: Path) -> None:
    vectors, _, found, _ = detectors.study(tmp_path)
    url = found.output.url
    for words, code, told in (
        ((url, "--sound", "owl"), 3, "'owl' is not in"),
        ((url, "--sound", "wren", "--time", "2021-06-01"), 2, "needs no example"),
        ((url, url, "--sound", "wren"), 2, "expected one store of detections, found 2"),
        ((url, "--sound", "wren", "--to", "raven", "--out", tmp_path / "raven"), 2, "needs a threshold"),
        ((vectors.output.url, "--sound", "wren"), 3, "expected a store of detections, found embeddings"),
    ):
        ended = cli("similar", *words)
        assert ended.code == code, ended
        assert told in ended.error


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def page_of(folder: Path, stem: str = "near") -> str:
    return (folder / f"{stem}.html").read_text(encoding="utf-8")


def test_a_page_shows_and_plays_each_hit(cli: Cli, whole: Path, tmp_path: Path) -> None:
    url = store(whole, "vectors")
    ended = cli("similar", url, *WINDOW, "--n", 5, "--out", tmp_path / "near.html", "--json")
    assert ended.code == 0, ended.error
    assert "note" not in ended.error
    found, text = table(cli("similar", url, *WINDOW, "--n", 5).out), page_of(tmp_path)
    names = [f"near_files/{number:05d}" for number in range(6)]
    expected = {f"{name}{suffix}" for name in names for suffix in (".webp", ".ogg")}
    assert expected < files_in(tmp_path), "the window that was searched for, and the five nearest"
    assert json.loads(ended.out)["n_windows"] == 5
    assert all(f'src="{name}{suffix}"' in text for name in names for suffix in (".webp", ".ogg"))
    assert "Windows like a, 2021-07-15 00:00:00 UTC" in text
    assert text.index("Searched for") < text.index(f"distance {found['distance'][0]:.4g}")
    for row in found.to_dict("records"):
        assert f"{row['recording']}, second {row['start_s']:.3f} to {row['end_s']:.3f}" in text
        assert f"{row['time_local']:%Y-%m-%d %H:%M:%S} (UTC" in text
        assert f"cluster {row['cluster']}" in text
    again = cli("similar", url, *WINDOW, "--n", 5, "--out", tmp_path / "near.html")
    assert again.code == 0, "what the command wrote itself is replaced"


def eventually(page: Page, expression: str) -> bool:
    """Return whether an expression becomes true; the page's policy lets no script of a test wait in it."""
    for _ in range(100):
        if page.evaluate(expression):
            return True
        page.wait_for_timeout(50)
    return False


def test_a_page_opens_in_a_browser(cli: Cli, whole: Path, tmp_path: Path, chromium: Browser) -> None:
    assert cli("similar", store(whole, "vectors"), *WINDOW, "--n", 3, "--out", tmp_path / "near.html").code == 0
    wrong: list[str] = []
    with chromium.new_context(offline=True) as context:
        page = listen(context.new_page(), wrong)
        page.goto((tmp_path / "near.html").as_uri())
        assert page.locator("figure").count() == 4
        for image in page.locator("figure img").all():
            image.scroll_into_view_if_needed()
        assert eventually(page, "[...document.images].every((one) => one.complete && one.naturalWidth)")
        page.get_by_role("button", name="Play window 2").click()
        assert eventually(page, "[...document.querySelectorAll('audio')].some((one) => one.currentTime > 0)")
    assert not wrong


@pytest.mark.slow
def test_everybody_can_use_a_page_of_hits(cli: Cli, whole: Path, tmp_path: Path, chromium: Browser) -> None:
    assert cli("similar", store(whole, "vectors"), *WINDOW, "--n", 3, "--out", tmp_path / "near.html").code == 0
    with chromium.new_context(offline=True) as context:
        page = context.new_page()
        page.goto((tmp_path / "near.html").as_uri())
        assert faults_of(page) == []


def test_a_page_of_hits_without_the_recordings(cli: Cli, whole: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    url, out = store(whole, "vectors"), tmp_path / "near.html"
    ended = cli("similar", url, *WINDOW, "--n", 2, "--out", out, "--root", empty)
    assert ended.code == 0
    assert "3 of 3 windows have no sound" in ended.error
    assert not list(tmp_path.rglob("*.ogg"))
    assert "▶" not in page_of(tmp_path)
    ended = cli("similar", url, *WINDOW, "--n", 2, "--out", out, "--root", whole.parent / "audio")
    assert ended.code == 0
    assert len(list(tmp_path.rglob("*.ogg"))) == 3


def test_a_page_by_a_clip(cli: Cli, whole: Path, tmp_path: Path) -> None:
    url = store(whole, "vectors")
    piece = trace(url, "a", "2021-07-15T00:00:00").pieces[0]
    clip = whole.parent / "audio" / piece.path
    ended = cli("similar", url, "--audio", clip, "--start", 1, "--n", 2, "--out", tmp_path / "near.html")
    assert ended.code == 0, ended.error
    assert f"Windows like {clip.name}, from second 1 on" in page_of(tmp_path)
    assert {"near_files/00001.webp", "near_files/00002.webp"} < files_in(tmp_path)
    assert "near_files/00000.webp" not in files_in(tmp_path), "a clip is no window of the lake"


def test_a_page_needs_a_cube(cli: Cli, whole: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.zarr"
    moved.symlink_to(store(whole, "vectors"))
    ended = cli("similar", moved, *WINDOW, "--out", tmp_path / "near.html")
    assert ended.code == 3
    assert "Name the store inside its lake, or a .csv file with --out" in ended.error
    assert files_in(tmp_path) == set()


def test_one_table_for_raven_counts_through_all_recordings(cli: Cli, whole: Path, tmp_path: Path) -> None:
    url = store(whole, "vectors")
    found = table(cli("similar", url, *WINDOW, "--n", 8).out).sort_values(["recording", "start_s"])
    ended = cli("similar", url, *WINDOW, "--n", 8, "--out", tmp_path / "near.txt", "--root", "/audio")
    assert ended.code == 0, ended.error
    rows = pd.read_csv(tmp_path / "near.txt", sep="\t")
    paths = list(dict.fromkeys(found["recording"]))
    assert len(paths) > 1
    lengths = {path: soundfile.info(whole.parent / "audio" / path).duration for path in paths}
    before = {path: sum(lengths[one] for one in paths[: paths.index(path)]) for path in paths}
    begins = found["recording"].map(before) + found["start_s"]
    np.testing.assert_allclose(rows["Begin Time (s)"], begins, atol=1e-6)
    np.testing.assert_allclose(
        rows["End Time (s)"] - rows["Begin Time (s)"], found["end_s"] - found["start_s"], atol=1e-5
    )
    np.testing.assert_allclose(rows["File Offset (s)"], found["start_s"], atol=1e-6)
    assert rows["Begin Path"].tolist() == [f"/audio/{path}" for path in found["recording"]]
    assert rows["Annotation"].tolist() == [f"similar {i + 1}" for i in found.index]
    assert rows["Selection"].tolist() == list(range(1, 9))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--out", "typo/near.csv"), "expected a folder"),
        (("--out", "typo/near.html"), "expected a folder"),
        (("--out", "typo/near.txt"), "expected a folder"),
        (("--to", "raven", "--out", "typo/raven"), "expected a folder"),
        (("--out", "near"), ".txt for Raven, .html for a page"),
        (("--out", "near.htm"), ".txt for Raven, .html for a page"),
        (("--to", "page", "--out", "near.csv"), "expected a name that ends in .html, for --to page"),
        (("--to", "page", "--out", "near"), "expected a name that ends in .html, for --to page"),
        (("--to", "csv", "--out", "near.html"), "expected a name that ends in .csv or .parquet or .json, for --to csv"),
        (("--to", "raven", "--out", "near.csv"), "expected a name that ends in .txt, for --to raven"),
        (("--to", "page"), "name a .html file with --out"),
    ],
)
def test_a_place_that_is_a_typo_is_refused_first(cli: Cli, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    at = [str(tmp_path / word) if word.startswith(("near", "typo")) else word for word in words]
    ended = cli("similar", "no.zarr", *WINDOW, *at)
    assert ended.code == 2
    assert told in ended.error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["near.html", "near.txt", "near.csv"])
def test_a_file_of_somebody_else_is_not_replaced(cli: Cli, whole: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / out).write_text("mine")
    url = store(whole, "vectors")
    ended = cli("similar", url, *WINDOW, "--n", 2, "--out", tmp_path / out)
    assert ended.code == 2
    assert (tmp_path / out).read_text() == "mine"
    assert files_in(tmp_path) == {out}
    assert cli("similar", url, *WINDOW, "--n", 2, "--out", tmp_path / out, "--force").code == 0
    assert (tmp_path / out).read_text() != "mine"


def test_hits_that_are_speech_are_on_no_page(cli: Cli, tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    random = np.random.default_rng(0)
    with dawnchorus.open_cube(cube.output.url) as dataset:
        there = dataset["status"].to_numpy() > 0
    vectors = np.where(there[..., None], random.normal(size=(*there.shape, 5)), np.nan).astype(np.float32)
    url = make_embeddings(tmp_path, vectors, cube=cube).output.url
    i, cell = (int(found[0]) for found in np.nonzero(there))
    judge(tmp_path, [(("north", "south")[i], cell * 600_000, "speech", "yes")])
    when = np.datetime64("2021-06-01") + cell * np.timedelta64(600, "s")
    ended = cli(
        "similar", url, "--recorder", ("north", "south")[i], "--time", when, "--n", 2, "--out", tmp_path / "x.html"
    )
    assert ended.code == 0, ended.error
    assert "windows that people marked as speech are left out: 1" in ended.error
    assert {"x_files/00001.webp", "x_files/00002.webp"} < files_in(tmp_path)
    assert "x_files/00000.webp" not in files_in(tmp_path)


def test_a_page_of_what_a_detector_scores(cli: Cli, tmp_path: Path) -> None:
    _, _, found, _ = detectors.study(tmp_path)
    ended = cli("similar", found.output.url, "--sound", "wren", "--n", 2, "--out", tmp_path / "wren.html")
    assert ended.code == 3, "there is no cube in this lake"
    assert "pictures of a page" in ended.error
