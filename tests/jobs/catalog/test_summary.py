"""What people read of a catalog: the demo study's irregularities, and the picture of its effort."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.catalog.command import run_catalog
from jobs.catalog.examine import examine
from jobs.catalog.summary import count_recordings, describe
from jobs.catalog.timeline import Clock
from jobs.common.effort import draw_effort
from jobs.demo.config import SMALL
from jobs.demo.study import make_study
from lake.errors import UsageError
from lake.recordings import make_recordings, read_recordings

ZONES = {"AM07": "America/Chicago", "S4A01207": "America/Chicago"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_study(folder / "study", SMALL, workers=1)
    return folder


def test_the_summary_of_the_demo_study_tells_what_is_irregular(study: Path) -> None:
    out = study / "recordings.csv"
    facts = run_catalog(
        [study / "study/audio"], out, zones=ZONES, deployments=study / "study/deployments.csv", examine_one=examine
    )
    text = "\n".join(describe(facts))
    recorders = facts["recorders"]
    assert recorders["00023764"]["offsets"] == {"+00:00": recorders["00023764"]["n_files"]}, "it names its files in UTC"
    assert recorders["00004862"]["offsets"] == {"-05:00": recorders["00004862"]["n_files"]}
    assert list(recorders["AM07"]["sources"]) == list(recorders["S4A01207"]["sources"]) == ["name+zone"]
    moved = recorders["00004862"]["deployments"]
    assert [stay["site"] for stay in moved] == ["creek", "meadow"]
    assert "moved or changed: 00004862-1 at creek from 2021-06-22T05:45:00Z, 00004862-2 at meadow from 2021-" in text
    drifting = recorders["00023788"]["clock"]
    assert drifting["n_overlaps"] == 4
    assert drifting["drift_s_per_day"] < 0
    assert "the clock that names the files falls behind the samples" in text
    assert all(own["clock"]["drift_s_per_day"] is None for name, own in recorders.items() if name != "00023788")
    assert recorders["AM07"]["problems"] == {"OA002": 1, "empty": 1, "truncated": 1}
    assert "local time -05:00 (9), told by name+zone" in text
    table = read_recordings(out)
    assert (table["deployment"] != "").all()
    assert table["gain_db"].notna().all()
    draw_effort(table, study / "effort.png")
    with Image.open(study / "effort.png") as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > 300
        pixels = np.asarray(picture.convert("RGB"))
    assert ((pixels[..., 0] > 200) & (pixels[..., 1] < 60)).any(), "rings mark the days with problems"


def test_a_table_without_much_in_it() -> None:
    rows = [{"path": "a.wav", "recorder": "A", "problems": "no_time"}]
    clocks = {"A": Clock(n_resets=2, longest_gap_s=7300.0)}
    counts = count_recordings(make_recordings(rows), clocks)
    lines = list(describe(counts))
    assert lines[0] == "A  1 file, 0.0 seconds, no time in UTC"
    assert lines[1] == "   nothing tells a time"
    assert "   longest gap 2.03 hours; 0 days without a recording" in lines
    assert "   2 starts cannot be right: the clock was reset" in lines
    assert lines[-1].split()[:2] == ["no_time", "1"]
    assert list(describe(count_recordings(make_recordings([])))) == []


def test_gains_conflicts_and_silent_days_are_told() -> None:
    rows = [
        {"path": f"{day}.wav", "recorder": "A", "reading": "libsndfile", "n_samples": 10, "duration_s": 1.0,
         "gain_db": gain, "start_utc": f"2021-06-{day:02d}T00:00:00", "time_conflict": conflict}
        for day, gain, conflict in ((1, 35.0, ""), (4, 40.0, "header says …"), (9, 40.0, ""))
    ]  # fmt: skip
    text = "\n".join(describe(count_recordings(make_recordings(rows))))
    assert "6 days without a recording" in text
    assert "gain 35, 40 dB" in text
    told = "1 recording whose witnesses disagree about the time; see time_conflict, for example 4.wav: header says …"
    assert told in text


def test_a_clock_that_was_reset_says_nothing_about_the_season() -> None:
    rows = [
        {"path": f"{i}.wav", "recorder": "A", "reading": "libsndfile", "n_samples": 10, "duration_s": 1.0,
         "start_utc": start, "problems": problem}
        for i, (start, problem) in enumerate(
            [("1970-01-01T00:00:00", "clock_reset"), ("2021-06-01T00:00:00", ""), ("2021-06-03T00:00:00", "")]
        )
    ]  # fmt: skip
    own = count_recordings(make_recordings(rows))["recorders"]["A"]
    assert (own["first"], own["last"]) == ("2021-06-01T00:00:00Z", "2021-06-03T00:00:00Z")
    assert (own["n_days"], own["n_silent_days"], own["n_files"]) == (2, 1, 3)
    alone = count_recordings(make_recordings(rows[:1]))["recorders"]["A"]
    assert (alone["first"], alone["n_days"]) == ("1970-01-01T00:00:00Z", 0), "better than nothing"


def test_who_has_no_zone_is_told_what_to_type() -> None:
    rows = [
        {"path": f"{i}.wav", "recorder": "north side", "start_local": "2021-06-01T00:00:00", "time_source": "name",
         "problems": "zone_unknown;OE002"}
        for i in range(2)
    ]  # fmt: skip
    text = "\n".join(describe(count_recordings(make_recordings(rows))))
    assert "2 local times without a zone: name it, such as --zone 'north side'=America/Chicago" in text


def test_an_unknown_guess_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--guess month-first: expected two-digit-year or day-first"):
        run_catalog([study / "study/audio"], tmp_path / "t.csv", zones={}, guesses=["month-first"])
