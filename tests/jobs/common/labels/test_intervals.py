from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.common.labels.intervals import Intervals, joined, read_labels
from lake.errors import InputError

T0 = "2021-06-01T05:00:00"


def test_a_table_with_offsets_fractions_and_columns_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(
        "label,recorder,start_utc,end_utc,who,level_db\n"
        f"wren,north,{T0}Z,2021-06-01T05:00:02.25Z,me,-31.5\n"
        "rain,south,2021-06-01T00:00:00-05:00,2021-06-01 05:00:09,you,\n"
        f"blackbird,north,{T0},2021-06-01T05:00:01,me,-20\n"
    )
    labels = read_labels(path)
    assert labels.names == ("blackbird", "rain", "wren")
    assert labels.n_intervals == 3
    north, south = labels.by_recorder["north"], labels.by_recorder["south"]
    start = int(np.datetime64(T0, "ms").astype(np.int64))
    assert north.start_ms.tolist() == [start, start]
    assert north.end_ms.tolist() == [start + 2250, start + 1000]
    assert north.label.tolist() == [2, 0]
    assert north.level_db.tolist() == [-31.5, -20]
    assert (south.start_ms.tolist(), south.end_ms.tolist()) == ([start], [start + 9000])
    assert np.isnan(south.level_db).all()


def test_levels_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(f"recorder,start_utc,end_utc,label\nnorth,{T0},2021-06-01T06:00:00Z,wren\n")
    assert np.isnan(read_labels(path).by_recorder["north"].level_db).all()


def test_all_problems_of_a_table_at_once(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(
        "recorder,start_utc,end_utc,label,level_db\n"
        f"north,{T0}Z,{T0}Z,wren,-3\n"
        f",{T0}Z,2021-06-01T06:00:00Z,wren,-3\n"
        "north,yesterday,2021-06-01T06:00:00Z,wren,-3\n"
        f"north,{T0}Z,2021-02-31T06:00:00Z,,loud\n"
    )
    with pytest.raises(InputError) as caught:
        read_labels(path)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines[0] == f"{path} is not a table of labels; fix these and try again:"
    assert lines[1] == "row 2: end_utc is not after start_utc"
    assert lines[2] == "row 3: recorder should be a name, found ''"
    assert "row 4: start_utc should be a time such as" in lines[3]
    assert {line.split(" should")[0] for line in lines[4:]} == {"row 5: end_utc", "row 5: label", "row 5: level_db"}


def test_columns_rows_and_files_that_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("recorder,begin,label\nnorth,0,wren\n")
    with pytest.raises(InputError, match=r"column start_utc is missing\n  column end_utc is missing"):
        read_labels(path)
    path.write_text("recorder,start_utc,end_utc,label\n")
    with pytest.raises(InputError, match="it has no rows"):
        read_labels(path)
    path.write_text("")
    with pytest.raises(InputError, match="column recorder is missing"):
        read_labels(path)
    with pytest.raises(InputError, match=r"expected a table of labels, found no file; name a table with the columns"):
        read_labels(tmp_path / "none.csv")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_joined_intervals_cover_the_same_instants_once(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    start = random.integers(0, 60, n)
    intervals = Intervals(
        start, start + random.integers(1, 15, n), random.integers(0, 3, n), random.choice([np.nan, -3.0, -9.0], n)
    )
    found = joined(intervals)
    for label in range(3):
        whole = {
            int(t)
            for a, b, of in zip(intervals.start_ms, intervals.end_ms, intervals.label, strict=True)
            if of == label
            for t in range(a, b)
        }
        mine = [
            t
            for a, b, of in zip(found.start_ms, found.end_ms, found.label, strict=True)
            if of == label
            for t in range(a, b)
        ]
        assert sorted(whole) == mine
        starts = found.start_ms[found.label == label]
        assert (starts[1:] > found.end_ms[found.label == label][:-1]).all()
    loudest = [np.nanmax([lv for lv, a, of in zip(intervals.level_db, intervals.start_ms, intervals.label, strict=True)
                          if of == label and begin <= a < end] + [-99.0])
               for begin, end, label in zip(found.start_ms, found.end_ms, found.label, strict=True)]  # fmt: skip
    np.testing.assert_array_equal(np.nan_to_num(found.level_db, nan=-99.0), loudest)
