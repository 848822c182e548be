"""Spans from verdicts and events: closed forms."""

from pathlib import Path

import pandas as pd
import pytest
from judging import judge
from stores import finish, make_cube, random_codes

from lake.exports.collection import deployments_of, recordings_of
from lake.exports.spans import detected_spans, negative_spans, placed, rounded, verified_spans
from lake.layout import Lake
from lake.query.select import open_any
from lake.sounds import SPEECH
from lake.verdicts import read_verdicts

START = pd.Timestamp("2021-06-01")


def said(lake: Path) -> pd.DataFrame:
    return read_verdicts(Lake(str(lake)))


def test_only_what_holds_is_verified(tmp_path: Path) -> None:
    judge(tmp_path, [("north", 0, "wren", "yes"), ("north", 6000, "wren", "yes"), ("north", 0, SPEECH, "yes"),
                     ("south", 0, "frog", "no"), ("south", 6000, "frog", "yes")])  # fmt: skip
    judge(tmp_path, [("north", 0, "wren", "yes"), ("north", 6000, "wren", "no")], reviewer="Ben",
          decided_at=pd.Timestamp("2021-07-03"))  # fmt: skip
    found = verified_spans(said(tmp_path))
    assert found[["sound", "recorder", "reviewers"]].to_numpy().tolist() == [
        ["frog", "south", "Ana"], ["wren", "north", "Ana; Ben"],
    ]  # fmt: skip
    assert found["decided_at"].tolist() == [pd.Timestamp("2021-07-01"), pd.Timestamp("2021-07-03")]
    assert (found["end_utc"] - found["start_utc"]).unique().tolist() == [pd.Timedelta(6, "s")]
    assert verified_spans(said(tmp_path), ["wren"])["sound"].tolist() == ["wren"]
    assert verified_spans(said(tmp_path / "nothing")).empty


def test_spans_of_no_sound_are_those_where_all_said_no(tmp_path: Path) -> None:
    judge(tmp_path, [("north", 0, "wren", "no"), ("north", 0, "frog", "no"), ("north", 0, SPEECH, "no"),
                     ("north", 6000, "wren", "no"), ("north", 6000, "frog", "yes"),
                     ("north", 12_000, "wren", "no"), ("north", 12_000, "frog", "unsure"),
                     ("south", 0, "wren", "no"), ("south", 6000, SPEECH, "no")])  # fmt: skip
    judge(tmp_path, [("south", 0, "wren", "yes")], reviewer="Ben")
    found = negative_spans(said(tmp_path))
    assert found[["sound", "recorder", "verdict", "reviewers"]].to_numpy().tolist() == [["", "north", "no", "Ana"]]
    assert found["end_utc"].tolist() == [START + pd.Timedelta(6, "s")]
    of_wren = negative_spans(said(tmp_path), ["wren"])
    assert (of_wren["start_utc"] - START).dt.total_seconds().tolist() == [0, 6, 12]
    assert list(verified_spans(said(tmp_path)).dtypes) == list(found.dtypes), "they go into one table"
    assert negative_spans(said(tmp_path / "nothing")).empty
    assert negative_spans(said(tmp_path), ["owl"]).empty


def event(start_s: float, end_s: float, sound: str = "wren") -> dict[str, object]:
    return {"sound": sound, "recorder": "north", "start_utc": START + pd.Timedelta(start_s, "s"),
            "end_utc": START + pd.Timedelta(end_s, "s"), "highest_probability": 0.9}  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], ""),
        ([(0, "yes")], "yes"),
        ([(0, "no")], ""),
        ([(0, "no"), (6, "no")], "no"),
        ([(0, "no"), (6, "yes")], "yes"),
        ([(0, "unsure"), (6, "no")], "unsure"),
        ([(12, "yes")], ""),
        ([(11.8, "yes")], ""),
        ([(11.5, "yes")], "yes"),
        ([(-3, "no"), (3, "no"), (9, "no")], "no"),
        ([(0, "no"), (6.5, "no")], ""),
    ],
)
def test_what_people_said_of_an_event(tmp_path: Path, verdicts: list[tuple[float, str]], expected: str) -> None:
    rows = [("north", round(start_s * 1000), "wren", verdict) for start_s, verdict in verdicts]
    judge(tmp_path, [*rows, ("south", 0, "wren", "yes"), ("north", 0, "frog", "yes")])
    (row,) = detected_spans(pd.DataFrame([event(0, 12)]), said(tmp_path)).to_dict("records")
    assert row["verdict"] == expected
    assert row["reviewers"] == ("Ana" if expected else "")


def test_places_are_those_of_the_cube(tmp_path: Path) -> None:
    run = make_cube(tmp_path, random_codes(n_days=2, n_per_day=144))
    finish(run)
    cube = open_any(run.output.url)
    judge(tmp_path, [("north", 0, "wren", "yes"), ("gone", 0, "wren", "yes"), ("north", 10**12, "wren", "yes")])
    found = placed(verified_spans(said(tmp_path)), cube)
    assert found["recording"].tolist() == ["", "north/all.wav", ""]
    here = found.iloc[1]
    assert (here["start_s"], here["end_s"]) == (0.0, 6.0)
    assert here["start_local"] == START - pd.Timedelta(5, "h")
    recordings = recordings_of(cube)
    assert set(recordings["path"]) == {"north/all.wav", "south/all.wav"}
    deployments = deployments_of(cube, recordings, None)
    assert set(deployments["deployment"]) == set(recordings["deployment"]) - {""}
    assert here["deployment"] in {"", *deployments["deployment"]}


def test_rounding_leaves_what_is_not_known() -> None:
    table = pd.DataFrame({"latitude": [41.8167, float("nan")], "longitude": [-179.996, float("nan")], "other": 1.2345})
    assert rounded(table, 2)["longitude"][0] == -180.0
    assert rounded(table, 2)["latitude"].isna().tolist() == [False, True]
    assert rounded(table, 2)["other"].tolist() == [1.2345, 1.2345]
    assert rounded(table, None) is table
