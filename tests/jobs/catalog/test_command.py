import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from jobs.catalog.command import run_catalog
from jobs.catalog.examine import examine
from jobs.catalog.sources import common_root, survey
from jobs.catalog.summary import count_recordings
from jobs.catalog.timeline import Clock
from lake.errors import InputError
from lake.recordings import make_recordings, read_recordings

RATE = 8000


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two recorders, one in local time; one copy, one empty file, one without a time."""
    audio = tmp_path / "audio"
    for i, name in enumerate(
        ["A/20210622T000000-0500_Rec.wav", "A/20210622T010000-0500_Rec.wav", "B/20210622_000000.wav"]
    ):
        path = audio / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(i).standard_normal(RATE * 9) / 9, RATE)
    (audio / "A" / "20210622T020000-0500_Rec.wav").write_bytes(
        (audio / "A" / "20210622T000000-0500_Rec.wav").read_bytes()
    )
    (audio / "B" / "x.wav").touch()
    return audio


COUNTS = {
    "n_files": 5,
    "n_usable": 3,
    "n_placed": 2,
    "hours": 0.0075,
    "seasons": [["2021-06-22", "2021-06-22"]],
    "recorders": {
        "A": {
            "n_files": 3, "hours": 0.005, "first": "2021-06-22T05:00:00Z", "last": "2021-06-22T07:00:00Z",
            "offsets": {"-05:00": 3}, "sources": {"name": 3}, "n_days": 1, "n_silent_days": 0, "deployments": [],
            "gains_db": [], "firmware": [], "clock": vars(Clock(longest_gap_s=3591.0)),
            "problems": {"duplicate": 1, "start_disputed": 2}, "n_conflicts": 0, "conflict": "",
        },
        "B": {
            "n_files": 2, "hours": 0.0025, "first": None, "last": None, "offsets": {"": 1}, "sources": {"name": 1},
            "n_days": 0, "n_silent_days": 0, "deployments": [], "gains_db": [], "firmware": [], "clock": vars(Clock()),
            "problems": {"OE001": 1, "OE002": 1, "OE004": 1, "empty": 1, "no_time": 1, "zone_unknown": 1},
            "n_conflicts": 0, "conflict": "",
        },
    },
    "problems": {
        "OE001": 1, "OE002": 1, "OE004": 1, "duplicate": 1, "empty": 1, "no_time": 1, "start_disputed": 2,
        "zone_unknown": 1,
    },
}  # fmt: skip


def test_the_table_the_counts_and_the_receipt(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables" / "recordings.csv"
    steps: list[tuple[int, int]] = []
    facts = run_catalog([study], out, zones={}, workers=2, on_progress=lambda done, total: steps.append((done, total)))
    receipt_path = tmp_path / "tables" / "recordings.receipt.json"
    assert facts == {"table": str(out), "receipt": str(receipt_path), "root": str(study), **COUNTS}
    assert steps[-1] == (5, 5)
    table = read_recordings(out)
    assert len(table) == 5
    assert all((study / path).is_file() for path in table["path"])
    receipt = json.loads(receipt_path.read_text())
    assert receipt["counts"] == COUNTS
    assert receipt["table_sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert receipt["arguments"] == {
        "audio": [str(study)], "out": str(out), "zones": {}, "deployments": None, "guesses": [],
        "retry_quarantined": False, "workers": 2,
    }  # fmt: skip
    assert receipt["unreadable"] == {"B/x.wav": f"{study}/B/x.wav: is empty (0 bytes)."}
    assert {"libsndfile", "pyav"} <= set(receipt["decoders"])
    assert receipt["versions"]["pandas"] == pd.__version__
    assert receipt["timings"]["total_s"] >= 0


def test_the_table_is_the_same_each_time(study: Path, tmp_path: Path) -> None:
    run_catalog([study], tmp_path / "a.csv", zones={"B": "America/Chicago"}, workers=1, examine_one=examine)
    run_catalog([study / "B", study / "A"], tmp_path / "b.csv", zones={"B": "America/Chicago"}, workers=2)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_deployments_fill_in_gain_and_position(study: Path, tmp_path: Path) -> None:
    deployments = tmp_path / "deployments.csv"
    deployments.write_text(
        "deployment,recorder,start,end,gain_db,latitude,longitude\n"
        "d1,A,2021-06-22T00:30-05:00,2021-06-22T01:30-05:00,20,41.8,-88.1\n"
    )
    run_catalog([study], tmp_path / "t.csv", zones={}, deployments=deployments, examine_one=examine)
    table = read_recordings(tmp_path / "t.csv")
    assert table["deployment"].tolist() == ["", "d1", "", "", ""]
    assert [table.loc[1, name] for name in ("gain_db", "latitude", "longitude")] == [20.0, 41.8, -88.1]


def test_wrong_input_leaves_no_table(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    with pytest.raises(InputError, match="expected a table of deployments, found no file"):
        run_catalog([study], out, zones={}, deployments=tmp_path / "none.csv")
    with pytest.raises(InputError, match="zone 'Chicgo' is unknown"):
        run_catalog([study], out, zones={"": "Chicgo"})
    with pytest.raises(InputError, match="expected a folder of recordings, found nothing there"):
        run_catalog([study, tmp_path / "none"], out, zones={})
    assert not out.exists()


def test_the_root_is_the_deepest_folder_above_all(study: Path) -> None:
    def root(*given: Path) -> Path:
        return Path(common_root(survey(given)))

    assert root(study) == study
    assert root(study / "A", study / "B") == study
    assert root(study / "A" / ".." / "B") == study / "B"
    assert root(study / "B" / "x.wav") == study / "B"
    assert root(study / "A", study / "B" / "x.wav") == study


def test_counts_of_nothing() -> None:
    assert count_recordings(make_recordings([])) == {
        "n_files": 0, "n_usable": 0, "n_placed": 0, "hours": 0.0, "recorders": {}, "problems": {}, "seasons": [],
    }  # fmt: skip
