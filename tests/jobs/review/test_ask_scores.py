"""Batches chosen by a detector, and sounds that are in no table."""

from pathlib import Path

import pandas as pd
import pytest
from asking import answers, ask, deliver, kept, refused, windows_of
from chains import run_chain, store
from commands import Cli

from lake.read import open_detections

DETECTOR = """
[runs.heads]
job = "learn"
inputs = { embeddings = "vectors" }
[runs.detections]
job = "detect"
inputs = { embeddings = "vectors", heads = "heads" }
"""


@pytest.fixture
def scored(cli: Cli, study: Path) -> Path:
    """Return a study with a detector of the wren, none of the robin, and windows that nobody heard."""
    batch = kept(study, ask(cli, study, "--order", "random", "--n", 40, "--sound", "wren")[0]["batch"])
    is_early = batch.table["time_utc"].dt.second < 30
    rows = [
        [*row[:4], "yes" if early else "no", *row[5:]]
        for row, early in zip(answers(batch, sounds=("wren",)), is_early, strict=True)
    ]
    assert deliver(cli, study, rows).code == 0
    study.write_text(study.read_text() + DETECTOR)
    run_chain(study, "heads", "detections")
    return study


def test_orders_by_score(cli: Cli, scored: Path) -> None:
    with open_detections(store(scored, "detections"), times=True) as opened:
        found = opened.sel(sound="wren", drop=True)[["score", "probability"]].to_dataframe().dropna(how="all")
    assert found.index.names == ["recorder", "time"]
    n_left = len(windows_of(scored)) - 40
    batches = {}
    for order in ("margin", "top", "precision"):
        said, error = ask(cli, scored, "--order", order, "--n", 100)
        batch = batches[order] = kept(scored, said["batch"])
        assert len(batch.table) == n_left, "what was heard is not asked again"
        assert "no scores of robin; they play no part in the choice" in error
        assert set(batch.table["stratum"]) == {"wren"}
        assert "detections" in batch.asked["reads"]
        name = "score" if order in {"top", "precision"} else "probability"
        wanted = found[name].reindex(pd.MultiIndex.from_frame(batch.table[["recorder", "time_utc"]]))
        assert batch.table["score"].tolist() == pytest.approx(wanted.tolist(), rel=1e-5)
    best = batches["top"].table["score"]
    assert best.iloc[0] == best.max()


def test_auto_goes_by_a_detector_once_all_sounds_have_one(cli: Cli, scored: Path) -> None:
    """Orders by score ask about sounds that were heard already; the others would be met late."""
    said = ask(cli, scored, "--sound", "wren", "--n", 100)[0]
    assert said["asked"]["order"] == "margin"
    assert "least sure" in said["why"]
    assert said["batch"] == ask(cli, scored, "--sound", "wren", "--n", 100, "--order", "margin")[0]["batch"]
    said = ask(cli, scored, "--n", 100)[0]
    assert said["asked"]["order"] == "typical"
    assert "no detector of robin yet" in said["why"]


def test_a_sound_without_scores(cli: Cli, scored: Path) -> None:
    error = refused(cli, scored, "--order", "top", "--sound", "robin")
    assert "has no scores of robin; it has those of wren" in error
    assert ask(cli, scored, "--sound", "robin")[0]["asked"]["order"] == "typical", "auto does without"


def test_speech_is_in_no_export(cli: Cli, scored: Path, tmp_path: Path) -> None:
    def exported(name: str) -> tuple[set[tuple[str, str]], str]:
        ended = cli("export", store(scored, "clusters"), "--out", tmp_path / name)
        assert ended.code == 0, ended.error
        return set(pd.read_csv(tmp_path / name)[["recorder", "time"]].itertuples(index=False, name=None)), ended.error

    def events(name: str) -> tuple[int, str]:
        ended = cli("events", scored, "detections", "--threshold", "0.000001", "--out", tmp_path / name)
        assert ended.code == 0, ended.error
        return len(pd.read_csv(tmp_path / name)), ended.error

    before, said = exported("before.csv")
    assert "speech" not in said
    assert events("before-events.csv")[0] > 0
    batch = kept(scored, ask(cli, scored, "--order", "random", "--n", 5, "--seed", 3)[0]["batch"])
    assert deliver(cli, scored, answers(batch, verdict="yes", sounds=("speech",))).code == 0
    after, said = exported("after.csv")
    gone = set(zip(batch.table["recorder"], batch.table["time_utc"].astype(str), strict=True))
    assert "left out, as somebody marked their sound as speech" in said
    assert len(gone) == 5
    assert gone <= {(recorder, time[:19]) for recorder, time in before - after}
    assert "speech" in events("after-events.csv")[1]
