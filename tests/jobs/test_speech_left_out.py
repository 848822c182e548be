"""Windows marked as speech: left out of queries on detections, named by `trace`, and not cut unless that is asked."""

import io
from pathlib import Path

import detectors
import numpy as np
import pandas as pd
import pytest
from chains import store
from commands import Cli
from judging import judge
from stores import ORIGIN_MS

import dawnchorus
from dawnchorus import errors
from lake.layout import Lake
from lake.tables import make_table
from lake.verdicts import COLUMNS, add_verdicts

SPEECH = {
    "duration_s": 4.0, "sound": "speech", "verdict": "yes", "reviewer": "Ana", "decided_at": pd.Timestamp("2026-01-01"),
    "seconds": 1.0, "batch": "", "draw": pd.NA, "recording": "", "offset_s": np.nan, "digest": "", "source": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a lake and its detections."""
    lake = tmp_path_factory.mktemp("lake")
    return lake, detectors.study(lake)[2].output.url


def table(out: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(out), parse_dates=["time"])


def test_scores_of_sounds_are_rows_of_a_query(cli: Cli, scored: tuple[Path, str]) -> None:
    _, url = scored
    plain = table(cli("query", url, "--recorder", "north", "--date", "2021-06-02").out)
    assert "sound" not in plain
    ended = cli("query", url, "--recorder", "north", "--date", "2021-06-02", "--sound", "wren", "--sound", "frog")
    assert ended.code == 0, ended.error
    found = table(ended.out)
    assert list(found.columns[:5]) == ["recorder", "time", "sound", "score", "probability"]
    assert len(found) == 2 * len(plain)
    assert found["sound"].tolist()[:2] == ["wren", "frog"], "both sounds of a window, then the next window"
    with dawnchorus.open_detections(url) as dataset:
        for row in found.iloc[::17].to_dict("records"):
            at = dataset.sel(recorder=row["recorder"], time=row["time"], sound=row["sound"])
            assert row["score"] == pytest.approx(float(at["score"]), rel=1e-6)
            assert row["probability"] == pytest.approx(float(at["probability"]), rel=1e-6)
    both = dawnchorus.query(url, recorder="north", date="2021-06-02", sound=["wren", "frog"])
    assert both["time"].tolist() == found["time"].tolist()


def test_sounds_that_cannot_be_asked_for(cli: Cli, scored: tuple[Path, str]) -> None:
    lake, url = scored
    ended = cli("query", url, "--sound", "wrem")
    assert ended.code == 3
    assert "'wrem' is not in" in ended.error
    assert "wren" in ended.error
    ended = cli("query", lake / "embeddings" / "vectors.zarr", "--sound", "wren")
    assert ended.code == 2
    assert "name a store below `detections`" in ended.error
    with pytest.raises(errors.UsageError, match="has no scores of sounds"):
        dawnchorus.query(str(lake / "embeddings" / "vectors.zarr"), sound="wren")
    assert dawnchorus.query(url, sound="wren", date="2020-01-01").empty


def test_a_query_of_detections_leaves_speech_out(cli: Cli, tmp_path: Path) -> None:
    vectors, _, found, _ = detectors.study(tmp_path)
    url = found.output.url
    before = dawnchorus.query(url, sound="wren")
    rows = before.iloc[[0, 5]]
    start_ms = rows["time"].to_numpy().astype("datetime64[ms]").astype(np.int64) - ORIGIN_MS
    judge(tmp_path, [(name, int(ms), "speech", "yes") for name, ms in zip(rows["recorder"], start_ms, strict=True)])
    judge(tmp_path, [(before["recorder"][9], int(start_ms[0]) + 9 * 600_000, "speech", "no")])
    said: list[str] = []
    after = dawnchorus.query(url, sound="wren", say=said.append)
    pd.testing.assert_frame_equal(after, before.drop(index=[0, 5]).reset_index(drop=True))
    assert said == ["windows that people marked as speech are left out: 2."]
    ended = cli("query", url)
    assert "note: windows that people marked as speech are left out: 2." in ended.error
    assert len(table(ended.out)) == len(after)
    assert len(dawnchorus.query(vectors.output.url)) == len(before), "a query of vectors lists what there is"


def test_trace_names_speech_and_cuts_it_only_when_asked(cli: Cli, manifest: Path, tmp_path: Path) -> None:
    url = store(manifest, "vectors")
    lake = Path(url).parents[1]
    words = ("trace", url, "--recorder", "a", "--time", "2021-07-15T00:00:04")
    cut = (*words, "--root", manifest.parent / "audio", "--audio", tmp_path / "x.wav")
    assert "marked" not in cli(*words).error
    row = {"recorder": "a", "time_utc": pd.Timestamp("2021-07-15T00:00:05"), **SPEECH}
    add_verdicts(Lake(str(lake)), make_table([row], COLUMNS))
    ended = cli(*words)
    assert ended.code == 0
    assert "somebody marked the sound of this window as speech" in ended.error
    ended = cli(*cut)
    assert ended.code == 2
    assert "Add --speech" in ended.error
    assert not (tmp_path / "x.wav").exists()
    assert cli(*cut, "--speech").code == 0
    assert (tmp_path / "x.wav").stat().st_size > 44
    assert cli(*words[:-1], "2021-07-15T00:00:12").error == ""
