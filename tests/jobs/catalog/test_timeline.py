from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.catalog.timeline import Clock, mark_timeline
from lake.recordings import make_recordings

START = pd.Timestamp("2021-06-22")
LATEST = pd.Timestamp("2022-01-01")
DAY_S = 86_400


def recordings(
    spans_s: Sequence[tuple[float, float]], recorder: str = "A", name: str = "", first: pd.Timestamp = START
) -> list[dict[str, object]]:
    """Rows of recordings from (start, duration) in seconds."""
    return [
        {
            "path": f"{recorder}/{name}{i:06d}.wav", "recorder": recorder, "sha256": f"{i:064x}",
            "reading": "libsndfile",
            "start_utc": (first + pd.Timedelta(seconds=start)).to_pydatetime(), "duration_s": float(duration),
            "sample_rate_hz": 1000, "n_channels": 1, "n_samples": max(1, round(duration * 1000)),
        }
        for i, (start, duration) in enumerate(spans_s)
    ]  # fmt: skip


def marked(
    *groups: list[dict[str, object]], deployments: pd.DataFrame | None = None
) -> tuple[list[str], dict[str, Clock]]:
    table = make_recordings([row for group in groups for row in group])
    after, clocks = mark_timeline(table, deployments, latest=LATEST)
    return after["problems"].tolist(), clocks


def test_what_follows_without_a_gap_says_nothing() -> None:
    problems, clocks = marked(recordings([(60 * i, 60) for i in range(10)]))
    assert set(problems) == {""}
    assert clocks == {"A": Clock(n_joins=9)}


def test_jitter_of_whole_seconds_is_no_drift() -> None:
    spans = [(np.floor(60.4 * i), 60.4) for i in range(200)]
    problems, clocks = marked(recordings(spans))
    assert set(problems) == {""}
    assert clocks["A"].drift_s_per_day is None
    assert clocks["A"].n_joins == 199


def test_a_steady_overlap_is_a_clock_that_falls_behind() -> None:
    six_hours_s = 6 * 3600
    problems, clocks = marked(recordings([((six_hours_s - 17) * i, six_hours_s) for i in range(8)]))
    assert problems == [""] + ["overlap"] * 7
    assert clocks["A"] == Clock(7, 119.0, 0.0, 7, -17.0 * 4)


def test_such_overlaps_of_a_song_meter_have_a_code() -> None:
    spans = [((21_600 - 17) * i, 21_600) for i in range(5)]
    problems, _ = marked(recordings(spans, "N", name="S4A01207_20210622_"))
    assert problems == [""] + ["overlap;WA003"] * 4


def test_a_steady_small_gap_is_a_clock_that_runs_ahead_and_a_pause_is_none() -> None:
    _, clocks = marked(
        recordings([(3602 * i, 3600) for i in range(30)]), recordings([(60 * i, 55) for i in range(30)], "B")
    )
    assert clocks["A"].drift_s_per_day == pytest.approx(2 / 3600 * DAY_S, rel=1e-3)
    assert (clocks["A"].longest_gap_s, clocks["A"].n_overlaps) == (2.0, 0)
    assert clocks["B"] == Clock(longest_gap_s=5.0)


def test_overlaps_without_a_steady_way_are_no_drift() -> None:
    spans = [(0, 60), (55, 60), (115, 60), (175, 60), (240, 60), (298, 60), (358, 60)]
    _, clocks = marked(recordings(spans))
    assert clocks["A"].n_overlaps == 2
    assert clocks["A"].drift_s_per_day is not None, "two overlaps and nothing else that is not exact"
    _, clocks = marked(recordings([(0, 600), (595, 600), (1197, 600), (1789, 600), (2391, 600), (2988, 600)]))
    assert clocks["A"].drift_s_per_day is None, "two in five joins go the other way"


def test_a_long_recording_overlaps_all_within_it() -> None:
    problems, clocks = marked(recordings([(0, 1000), (100, 50), (200, 50), (999.5, 60)]))
    assert problems == ["", "overlap", "overlap", ""], "half a second is within what names can tell"
    assert clocks["A"].n_overlaps == 2
    assert clocks["A"].overlap_s == 900.0 + 800.0


def test_recorders_are_apart_and_what_cannot_be_used_is_not_counted() -> None:
    bad = recordings([(10, 60), (20, 60)], "A", name="x")
    for row in bad:
        row["reading"] = ""
    problems, _ = marked(recordings([(0, 60)]), recordings([(30, 60)], "B"), bad)
    assert set(problems) == {""}


def test_clocks_that_were_reset() -> None:
    usual = recordings([(3600 * i, 60) for i in range(30)])
    early = recordings([(0, 60)], name="e", first=pd.Timestamp("1970-01-01"))
    far = recordings([(0, 60), (60, 60)], name="f", first=pd.Timestamp("2015-01-01"))
    late = recordings([(0, 60)], name="l", first=pd.Timestamp("2031-01-01"))
    problems, clocks = marked(usual, early, far, late)
    assert problems == [""] * 30 + ["clock_reset"] * 4
    assert clocks["A"].n_resets == 4
    assert clocks["A"].longest_gap_s == 3540, "a clock that was reset makes no gap"
    two_seasons = recordings([(3600 * i, 60) for i in range(20)], name="o", first=pd.Timestamp("2018-01-01"))
    assert set(marked(usual, two_seasons)[0]) == {""}, "years apart, but no few"
    assert marked(early, far)[0] == ["clock_reset", "", ""]


def test_a_start_outside_all_deployments() -> None:
    table = pd.DataFrame({"recorder": ["A"], "deployment": ["A-1"]})
    inside = recordings([(0, 60)])
    inside[0]["deployment"] = "A-1"
    problems, _ = marked(inside, recordings([(90, 60)], name="x"), recordings([(0, 60)], "B"), deployments=table)
    assert problems == ["", "outside_deployment", ""], "a recorder without deployments is not missed"


def test_recordings_without_a_time_and_empty_tables() -> None:
    rows = recordings([(0, 60)])
    del rows[0]["start_utc"]
    assert marked(rows) == ([""], {"A": Clock()})
    assert marked([]) == ([], {})


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 60)), min_size=1, max_size=12, unique=True))
def test_overlaps_agree_with_a_plain_loop(spans: list[tuple[int, int]]) -> None:
    rows = recordings(spans)
    problems, clocks = marked(rows)
    ordered = sorted(range(len(spans)), key=lambda i: (spans[i][0], rows[i]["sha256"]))
    end, expected, total = -1e9, set(), 0.0
    for i in ordered:
        start, duration = spans[i]
        if start < end - 1:
            expected.add(i)
            total += end - start
        end = max(end, start + duration)
    assert {i for i, text in enumerate(problems) if "overlap" in text} == expected
    assert clocks["A"].overlap_s == pytest.approx(total)
