"""`dawnchorus similar`: windows by example, where they stand, as tables and for Raven, and what is refused."""

import io
import json
from pathlib import Path

import detectors
import numpy as np
import pandas as pd
import pytest
from chains import store
from commands import Cli

import dawnchorus
from lake.trace import trace

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
