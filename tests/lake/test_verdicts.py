"""Deliveries of verdicts: only added to, and what holds of several reviewers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from lake.deliveries import FOLDER, damaged_deliveries
from lake.errors import StoreError
from lake.layout import Lake
from lake.tables import make_table
from lake.verdicts import (
    COLUMNS,
    add_verdicts,
    agreement,
    last_decisions,
    read_verdicts,
    settled,
)

NOON = pd.Timestamp("2021-07-14T12:00:00")


def table(*rows: tuple[int, str, str, str, int]) -> pd.DataFrame:
    """Return verdicts of rows of window, sound, verdict, reviewer and the second of the decision."""
    return make_table(
        [
            {
                "recorder": "north", "time_utc": NOON + pd.Timedelta(seconds=6 * window), "duration_s": 6.0,
                "sound": sound, "verdict": verdict, "reviewer": reviewer,
                "decided_at": NOON + pd.Timedelta(days=1, seconds=second),
            }
            for window, sound, verdict, reviewer, second in rows
        ],
        COLUMNS,
    )  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_an_empty_lake_has_none(lake: Lake) -> None:
    assert read_verdicts(lake).empty
    assert list(damaged_deliveries(lake)) == []
    assert settled(read_verdicts(lake)).empty
    assert agreement(last_decisions(read_verdicts(lake))).empty


def test_a_delivery_is_written_once_and_read_back(lake: Lake) -> None:
    rows = table((0, "wren", "yes", "Ana", 1), (1, "=wren", "no", "Ana", 2))
    for column, value in (("seconds", 1.25), ("batch", "b1"), ("draw", 3), ("offset_s", 12.5)):
        rows.loc[0, column] = value
    first = add_verdicts(lake, rows)
    assert first.n_added == 2
    path = Path(lake.storage.root) / FOLDER / first.key
    stamp, data = path.stat().st_mtime_ns, path.read_bytes()
    assert add_verdicts(lake, rows.iloc[::-1]).n_added == 0, "in another order they are the same"
    again = add_verdicts(lake, pd.concat([rows, table((2, "wren", "no", "Bo", 9))]))
    assert again.n_added == 1
    assert (path.stat().st_mtime_ns, path.read_bytes()) == (stamp, data)
    back = read_verdicts(lake)
    assert len(back) == 3
    assert back.loc[back["delivery"] == first.key, "sound"].to_list() == ["wren", "=wren"]
    assert back.iloc[0][["seconds", "batch", "draw", "offset_s"]].to_list() == [1.25, "b1", 3, 12.5]
    assert b",2021-07-15T12:00:01Z," in data


@pytest.mark.parametrize("damage", ["flip", "rename", "strange"])
def test_a_damaged_delivery_is_named(lake: Lake, damage: str) -> None:
    path = Path(lake.storage.root) / FOLDER / add_verdicts(lake, table((0, "wren", "yes", "Ana", 1))).key
    if damage == "flip":
        path.write_bytes(path.read_bytes().replace(b"yes", b"no"))
    elif damage == "rename":
        path.rename(path.with_name("mine.csv"))
    else:
        (path.parent / "notes.txt").write_text("frogs")
    assert len(list(damaged_deliveries(lake))) == 1
    with pytest.raises(StoreError, match=FOLDER):
        read_verdicts(lake)
    with pytest.raises(StoreError, match=FOLDER):
        add_verdicts(lake, table((5, "wren", "yes", "Ana", 1)))


def test_the_last_decision_of_a_reviewer_counts() -> None:
    found = settled(table((0, "wren", "yes", "Ana", 1), (0, "wren", "no", "Ana", 5), (0, "wren", "yes", "Ana", 3)))
    assert found["verdict"].tolist() == ["no"]


def test_two_decisions_at_one_time_are_unsure() -> None:
    assert settled(table((0, "wren", "yes", "Ana", 1), (0, "wren", "no", "Ana", 1)))["verdict"].tolist() == ["unsure"]


def test_reviewers_who_differ_are_unsure_until_they_agree() -> None:
    rows = [(0, "wren", "yes", "Ana", 1), (0, "wren", "no", "Bo", 2), (1, "wren", "yes", "Bo", 2)]
    found = settled(table(*rows))
    assert found["verdict"].tolist() == ["unsure", "yes"]
    assert found["is_disputed"].tolist() == [True, False]
    assert found["n_reviewers"].tolist() == [2, 1]
    assert settled(table(*rows, (0, "wren", "yes", "Bo", 7)))["verdict"].tolist() == ["yes", "yes"]


def test_sounds_of_one_window_are_apart() -> None:
    found = settled(table((0, "wren", "yes", "Ana", 1), (0, "robin", "no", "Ana", 1)))
    assert dict(zip(found["sound"], found["verdict"], strict=True)) == {"wren": "yes", "robin": "no"}


def test_kappa_in_closed_form() -> None:
    """Of ten windows 4 yes-yes, 3 no-no, 2 yes-no, 1 no-yes: p_o = .7, p_e = .6 × .5 + .4 × .5 = .5."""
    pairs = [("yes", "yes")] * 4 + [("no", "no")] * 3 + [("yes", "no")] * 2 + [("no", "yes")]
    rows = [
        (i, "wren", verdict, who, 0) for i, pair in enumerate(pairs) for verdict, who in zip(pair, "AB", strict=True)
    ]
    (found,) = agreement(last_decisions(table(*rows))).itertuples(index=False)
    assert (found.reviewer, found.other, found.n_both, found.n_agreed) == ("A", "B", 10, 7)
    assert found.kappa == pytest.approx(0.4)


def test_kappa_of_one_verdict_throughout_is_unknown() -> None:
    found = agreement(last_decisions(table((0, "wren", "yes", "A", 0), (0, "wren", "yes", "B", 0))))
    assert np.isnan(found["kappa"]).all()


@given(
    st.lists(st.tuples(st.sampled_from(["yes", "no", "unsure"]), st.sampled_from(["yes", "no", "unsure"])), min_size=2)
)
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    rows = [
        (i, "wren", verdict, who, 0) for i, pair in enumerate(pairs) for verdict, who in zip(pair, "AB", strict=True)
    ]
    (found,) = agreement(last_decisions(table(*rows))).itertuples(index=False)
    if len({verdict for pair in pairs for verdict in pair}) > 1:
        assert found.kappa == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))


@given(st.permutations(range(6)))
def test_the_order_of_rows_says_nothing(order: list[int]) -> None:
    rows = table(
        (0, "wren", "yes", "Ana", 1), (0, "wren", "no", "Ana", 1), (0, "wren", "no", "Bo", 1),
        (1, "wren", "no", "Ana", 4), (1, "wren", "yes", "Ana", 5), (1, "wren", "yes", "Bo", 2),
    )  # fmt: skip
    pd.testing.assert_frame_equal(settled(rows.iloc[order]), settled(rows))
