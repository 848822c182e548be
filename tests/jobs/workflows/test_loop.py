"""One round of the loop: verdicts in, heads learnt, windows scored, a summary, and the next batch."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w
from commands import Cli

from jobs.runner.state import WAITS
from jobs.workflows.loop import advice

ROW = {"refused": "", "flags": "", "precision": 0.9}


@pytest.mark.parametrize(
    ("row", "n_yes", "n_no", "expected"),
    [
        (None, 0, 0, "typical or far: not asked about yet"),
        (None, 0, 7, "typical or far: not heard yet in 7 windows"),
        (None, 3, 0, "random: no window without it was heard"),
        (None, 3, 3, "far: no detector"),
        ({**ROW, "refused": "all of its yes are from one recording"}, 3, 3, "far: no detector, as all of its yes are"),
        ({**ROW, "flags": "few_verdicts no_better_than_chance"}, 3, 30, "far: its detector may be no better"),
        ({**ROW, "flags": "few_verdicts"}, 3, 30, "top: after 17 more yes"),
        ({**ROW, "flags": "few_verdicts"}, 30, 3, "margin: after 17 more no"),
        ({**ROW, "flags": "one_recording"}, 30, 30, "far: its yes or its no are all of one recording"),
        ({**ROW, "flags": "precision_not_reached"}, 30, 30, "margin: no score reaches precision 0.9"),
        (ROW, 30, 30, "precision: enough was heard for precision 0.9"),
    ],
)
def test_what_to_hear_next_and_why(row: dict[str, object] | None, n_yes: int, n_no: int, expected: str) -> None:
    assert advice(row, n_yes, n_no, 20).startswith(expected)


def test_a_round_on_one_screen(demo_folder: Path, tmp_path: Path, cli: Cli) -> None:
    shutil.copytree(demo_folder / "data/demo", tmp_path / "demo")
    study, answers = tmp_path / "demo/manifest.toml", sorted((tmp_path / "demo/answers").glob("far-*.csv"))
    for folder in (
        "verdicts",
        "models",
        "detections",
        "batches",
        "ledgers/heads",
        "ledgers/detections",
        "receipts/heads",
    ):
        shutil.rmtree(tmp_path / "demo" / folder)
    shutil.rmtree(tmp_path / "demo/receipts/detections")
    code, out, error = cli("run", study)
    assert code == 0, error
    assert f"heads: {WAITS}" in out
    assert f"detections: {WAITS}" in out
    code, out, error = cli("loop", study, "--no-page", "--n", 5)
    assert code == 0, error
    assert "typical or far: not asked about yet" in out
    assert "there are no verdicts yet" in out
    assert "batch      typical-" in out
    shutil.copytree(demo_folder / "data/demo/batches", tmp_path / "demo/batches", dirs_exist_ok=True)
    code, out, error = cli("loop", study, *answers, "--no-page", "--n", 5)
    assert code == 0, error
    assert "added      400 of 400 verdicts" in out
    assert "AP before" in out
    assert "macro AP" in out
    code, out, error = cli("loop", study, answers[0], "--no-page", "--n", 5, "--json")
    assert code == 0, error
    told = json.loads(out)
    assert told["n_added"] == 0
    assert {row["sound"] for row in told["sounds"]} >= {"cricket", "rain"}
    assert told["next"]["n"] == 5


def test_a_manifest_without_detectors_gets_the_lines_to_add(demo_folder: Path, tmp_path: Path, cli: Cli) -> None:
    text = tomllib.loads((demo_folder / "data/demo/manifest.toml").read_text())
    text["runs"] = {name: run for name, run in text["runs"].items() if name not in {"heads", "detections"}}
    text["lake"] = str(demo_folder / "data/demo")
    (tmp_path / "study.toml").write_text(tomli_w.dumps(text))
    code, _, error = cli("loop", tmp_path / "study.toml")
    assert code == 3
    assert 'inputs = { embeddings = "vectors", heads = "heads" }' in error
    lines = tomllib.loads("\n".join(line.strip() for line in error.splitlines()[1:]))
    assert set(lines["runs"]) == {"heads", "detections"}
