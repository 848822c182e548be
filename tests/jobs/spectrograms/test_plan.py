from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.spectrograms.config import Config
from jobs.spectrograms.plan import accept, coverage, make_plan
from lake.constants import MS_PER_DAY
from lake.errors import InputError
from lake.grid import Grid
from lake.ownership import own_segments

START = pd.Timestamp("2021-07-14T05:00:00Z")
CONFIG = Config(window_s=4.0, hop_s=2.0, n_mels=8, n_frames=8)


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return a table of recordings of 10 s at 8 kHz unless told otherwise; ``at`` is the start in seconds."""
    out = []
    for i, row in enumerate(rows):
        full = {
            "path": f"{row.get('recorder', 'a')}/{i}.wav", "recorder": "a", "deployment": "", "utc_offset": "",
            "sample_rate_hz": 8000, "n_channels": 1, "n_samples": 80_000, "sha256": f"{i:064x}",
            "reading": "libsndfile", "problems": "", **row,
        }  # fmt: skip
        at = full.pop("at", None)
        full["start_utc"] = pd.NaT if at is None else START + pd.Timedelta(milliseconds=round(1000 * at))
        out.append(full)
    frame = pd.DataFrame(out)
    frame["start_utc"] = pd.to_datetime(frame["start_utc"], utc=True)
    return frame


def test_each_recording_has_a_place_or_a_reason() -> None:
    rows = table(
        {"at": 0}, {"at": None, "problems": "zone_unknown"}, {"at": None},
        {"at": 0, "reading": "", "problems": "truncated"},
        {"at": 0, "n_samples": 0}, {"at": -50 * 365 * 86_400}, {"at": 0, "problems": "duplicate"},
        {"at": 20, "problems": "truncated"}, {"at": 10**9, "problems": "clock_reset"},
    )  # fmt: skip
    placed, reasons = accept(rows, CONFIG)
    assert [recording.path for recording in placed] == ["a/0.wav", "a/7.wav"], "a truncated one is read as far as it is"
    assert list(reasons.values()) == [
        "zone_unknown", "no_time", "truncated", "empty", "outside_study", "duplicate", "outside_study",
    ]  # fmt: skip
    placed, reasons = accept(rows.head(1), CONFIG, (None, int(START.timestamp() * 1000)))
    assert not placed
    assert reasons == {"a/0.wav": "outside_study"}


def test_nothing_to_place_says_why_and_what_to_do() -> None:
    with pytest.raises(InputError, match=r"none of 2 recordings .*2 zone_unknown.*--zone FOLDER=IANA.*untimed"):
        make_plan(table(*[{"at": None, "problems": "zone_unknown"}] * 2), CONFIG)


def test_recordings_without_a_time_follow_each_other_and_share_no_window() -> None:
    config = CONFIG.model_copy(update={"untimed": "sequence"})
    plan = make_plan(table({"at": None}, {"at": None}, {"at": None, "recorder": "b"}), config)
    assert plan.recorders == ("untimed:a", "untimed:b")
    first, second, other = plan.recordings
    assert first.start_ms == other.start_ms == plan.grid.origin_ms
    assert second.start_ms == first.start_ms + 12_000, "the next cell that no window of the first reaches"
    assert all(len(block.segments) == 2 or block.recorder == "untimed:b" for block in plan.blocks)
    for block in plan.blocks:
        for cell in block.cells:
            start = plan.grid.start_ms(cell)
            assert sum(s.from_ms < start + 4000 and s.to_ms > start for s in block.segments) == 1


def test_the_first_recording_owns_shared_seconds_and_the_clash_is_marked() -> None:
    plan = make_plan(table({"at": 0}, {"at": 6}, {"at": 7, "n_samples": 8000}), CONFIG)
    (block,) = plan.blocks
    spans = [(s.recording.path, s.to_ms - s.from_ms) for s in block.segments]
    assert spans == [("a/0.wav", 10_000), ("a/1.wav", 6000)]
    assert block.segments[0].to_ms == block.segments[1].from_ms
    starts = [(plan.grid.start_ms(cell) - START.timestamp() * 1000) / 1000 for cell in sorted(block.overlapped)]
    assert starts == [4, 6, 8], "cells whose windows touch the seconds 6 to 10 and were recorded"


def test_an_origin_stays_and_an_earlier_recording_is_told_which_a_new_run_would_need() -> None:
    before = make_plan(table({"at": 0}), CONFIG)
    stored = before.grid.origin_ms, before.grid.end_ms
    later = make_plan(table({"at": 0}, {"at": 40 * 86_400}), CONFIG, stored_grid=stored, stored_recorders=("a",))
    assert later.grid.origin_ms == before.grid.origin_ms
    assert later.grid.end_ms > before.grid.end_ms
    with pytest.raises(InputError, match=r"1 recordings start before the origin of the store, 2021-07-01.*2021-06-01"):
        make_plan(table({"at": 0}, {"at": -20 * 86_400}), CONFIG, stored_grid=stored)


def test_recorders_keep_their_order() -> None:
    rows = table({"at": 0, "recorder": "c"}, {"at": 0, "recorder": "b"})
    assert make_plan(rows, CONFIG).recorders == ("c", "b")
    assert make_plan(rows, CONFIG, stored_recorders=("b",)).recorders == ("b", "c")


@given(
    spans=st.lists(st.tuples(st.integers(0, 60_000), st.integers(1, 20_000)), min_size=1, max_size=8),
    window_s=st.sampled_from([1.0, 4.0, 6.0]),
    hop_s=st.sampled_from([1.0, 2.0, 5.0]),
)
def test_coverage_equals_counting_milliseconds(spans: list[tuple[int, int]], window_s: float, hop_s: float) -> None:
    config = Config(window_s=window_s, hop_s=hop_s, n_mels=4, n_frames=4, min_coverage=0.5, shard_windows=7)
    rows = [{"at": start / 1000, "n_samples": 8 * length} for start, length in spans]
    plan = make_plan(table(*rows), config)
    recorded = np.zeros(200_000, dtype=bool)
    for start, length in spans:
        recorded[start : start + length] = True
    zero = round(START.timestamp() * 1000) - plan.grid.origin_ms
    expected = []
    for cell in range((zero - 10_000) // plan.grid.hop_ms, (zero + 100_000) // plan.grid.hop_ms):
        first = cell * plan.grid.hop_ms - zero
        count = np.count_nonzero(recorded[max(first, 0) : max(first + plan.grid.window_ms, 0)])
        if count >= 0.5 * plan.grid.window_ms - 1:
            expected.append(cell)
    found = [cell for block in plan.blocks for cell in block.cells]
    assert found == expected
    assert all(cell // config.cells_per_shard == block.number for block in plan.blocks for cell in block.cells)
    segments, _ = own_segments(plan.recordings)
    assert all(a.to_ms <= b.from_ms for a, b in pairwise(segments))
    assert sum(s.to_ms - s.from_ms for s in segments) == pytest.approx(np.count_nonzero(recorded))


def test_a_season_of_nine_recorders_is_planned_cell_by_cell() -> None:
    rows = table(*[
        {"at": hour * 3600, "n_samples": 8000 * 3600, "recorder": f"r{i}"} for i in range(9) for hour in range(204)
    ])  # fmt: skip
    plan = make_plan(rows, Config(window_s=6.0, hop_s=3.0))
    assert sum(len(block.cells) for block in plan.blocks) == 9 * (204 * 1200 - 1)


def test_coverage_of_cells_before_and_after_everything_is_zero() -> None:
    plan = make_plan(table({"at": 0}), CONFIG)
    segments, _ = own_segments(plan.recordings)
    grid = Grid(plan.grid.origin_ms, plan.grid.origin_ms + 31 * MS_PER_DAY, 4000, 2000)
    assert coverage(grid, np.array([0, grid.n_cells - 1]), segments).tolist() == [0.0, 0.0]
