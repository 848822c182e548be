from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from lake.deployments import assign_deployments, camtrap_deployments, deployments_from, read_deployments
from lake.errors import InputError
from lake.recordings import make_recordings


def deployments_file(folder: Path, text: str) -> Path:
    path = folder / "deployments.csv"
    path.write_text(text)
    return path


DEPLOYMENTS = """deployment,recorder,site,latitude,longitude,start,end,gain_db,habitat,zone
d1,R,pond,41.5,-88,2021-06-01T00:00:00-05:00,2021-07-14T12:00Z,20,wet,America/Chicago
d2,R,wood,41.6,-88.1,2021-07-14 12:00:00,,25,,
d3,S,,,,2021-06-01,2021-06-02,,,
"""


def test_deployments_are_read_in_utc(tmp_path: Path) -> None:
    table = read_deployments(deployments_file(tmp_path, DEPLOYMENTS))
    assert table["start"].tolist() == [
        pd.Timestamp("2021-06-01T05:00"), pd.Timestamp("2021-07-14T12:00"), pd.Timestamp("2021-06-01"),
    ]  # fmt: skip
    assert table["end"].isna().tolist() == [False, True, False]
    assert table["start"].dtype == table["end"].dtype == np.dtype("datetime64[ms]")
    assert table["zone"].tolist() == ["America/Chicago", "", ""]


def test_deployments_may_lack_what_is_optional(tmp_path: Path) -> None:
    table = read_deployments(deployments_file(tmp_path, "start,recorder,deployment\n2021-06-01,R,d1\n"))
    assert table["gain_db"].isna().tolist() == [True]
    assert table["site"].tolist() == [""]
    assert table["end"].isna().tolist() == [True]


def test_the_columns_of_camtrap_dp_are_understood(tmp_path: Path) -> None:
    text = (
        "deploymentID,locationID,locationName,latitude,longitude,coordinateUncertainty,deploymentStart,deploymentEnd,"
        "cameraID,habitat,deploymentComments\n"
        "d1,l1,pond,41.5,-88,10,2021-06-01T00:00:00-05:00,2021-07-14T12:00:00Z,R,wet,moved later\n"
    )
    theirs = read_deployments(deployments_file(tmp_path, text))
    ours = read_deployments(
        deployments_file(
            tmp_path,
            "deployment,recorder,site,latitude,longitude,start,end,habitat\n"
            "d1,R,pond,41.5,-88,2021-06-01T05:00:00Z,2021-07-14T12:00:00Z,wet\n",
        )
    )
    assert_frame_equal(theirs, ours)
    both = text.replace("locationID", "deployment")
    with pytest.raises(InputError, match="column deployment is there 2 times"):
        read_deployments(deployments_file(tmp_path, both))


def test_a_recording_belongs_from_start_to_just_before_end(tmp_path: Path) -> None:
    deployments = read_deployments(deployments_file(tmp_path, DEPLOYMENTS))
    starts = {
        "a": ("R", datetime(2021, 6, 1, 4, 59, 59, 999_000)),
        "b": ("R", datetime(2021, 6, 1, 5)),
        "c": ("R", datetime(2021, 7, 14, 11, 59, 59, 999_000)),
        "d": ("R", datetime(2021, 7, 14, 12)),
        "e": ("R", datetime(2030, 1, 1)),
        "f": ("S", datetime(2021, 6, 2)),
        "g": ("T", datetime(2021, 6, 1, 12)),
        "h": ("R", None),
    }
    rows = [{"path": path, "recorder": recorder, "start_utc": start} for path, (recorder, start) in starts.items()]
    table = assign_deployments(make_recordings(rows), deployments)
    assert table["deployment"].tolist() == ["", "d1", "d1", "d2", "d2", "", "", ""]
    assert table["gain_db"].fillna(-1).tolist() == [-1, 20, 20, 25, 25, -1, -1, -1]
    assert table["latitude"].fillna(0).tolist() == [0, 41.5, 41.5, 41.6, 41.6, 0, 0, 0]


def test_what_a_row_says_already_stays(tmp_path: Path) -> None:
    deployments = read_deployments(deployments_file(tmp_path, DEPLOYMENTS))
    during: dict[str, object] = {"recorder": "R", "start_utc": datetime(2021, 6, 10)}
    rows: list[dict[str, object]] = [
        {"path": "a", "gain_db": 3.0, "latitude": 1.0, "longitude": 2.0},
        {"path": "b", "deployment": "d2"},
        {"path": "c", "deployment": "elsewhere"},
    ]
    before = make_recordings([during | row for row in rows])
    kept = before.copy()
    table = assign_deployments(before, deployments)
    assert table["deployment"].tolist() == ["d1", "d2", "elsewhere"]
    assert table["gain_db"].fillna(-1).tolist() == [3, 25, -1]
    assert table["longitude"].fillna(0).tolist() == [2, -88.1, 0]
    assert_frame_equal(before, kept)


@given(
    st.lists(st.tuples(st.sampled_from("RS"), st.integers(0, 9), st.integers(1, 4)), max_size=4),
    st.lists(st.tuples(st.sampled_from("RST"), st.integers(0, 12)), max_size=6),
)
def test_assigning_agrees_with_a_plain_loop(spans: list[tuple[str, int, int]], starts: list[tuple[str, int]]) -> None:
    day = datetime(2021, 1, 1)
    free: list[tuple[str, int, int]] = []
    for recorder, start, length in spans:
        if all(r != recorder or start >= e or start + length <= s for r, s, e in free):
            free.append((recorder, start, start + length))
    deployments = pd.DataFrame(
        {
            "deployment": [f"d{i}" for i in range(len(free))],
            "recorder": [recorder for recorder, _, _ in free],
            "start": [day + timedelta(start) for _, start, _ in free],
            "end": [day + timedelta(end) for _, _, end in free],
        }
    ).assign(gain_db=1.0, latitude=np.nan, longitude=np.nan)
    table = make_recordings(
        [{"path": str(i), "recorder": r, "start_utc": day + timedelta(t)} for i, (r, t) in enumerate(starts)]
    )
    expected = [
        next((f"d{i}" for i, (r, s, e) in enumerate(free) if r == recorder and s <= t < e), "")
        for recorder, t in starts
    ]
    assert assign_deployments(table, deployments)["deployment"].tolist() == expected


def test_wrong_deployments_are_all_named(tmp_path: Path) -> None:
    text = (
        "deployment,recorder,start,end,zone,latitude\n"
        "d1,R,2021-06-01,2021-07-01,America/Chicgo,41\n"
        "d1,R,2021-06-15,,,95\n"
        "d3,S,2021-06-15,2021-06-15,,\n"
        "d4,S,,tomorrow,,\n"
        "d5,T,2021-06-01,2021-06-02,,\n"
        "d6,T,2021-06-02,2021-06-03,,\n"
    )
    with pytest.raises(InputError) as caught:
        read_deployments(deployments_file(tmp_path, text))
    message = str(caught.value)
    for problem in (
        "row 2: zone should be an IANA zone such as America/Chicago, found 'America/Chicgo'",
        "row 3: latitude should be a number from -90 to 90, found '95'",
        "row 3: deployment d1 is in row 2 already",
        "row 3: overlaps the deployment of recorder R in row 2",
        "row 4: end is not after start",
        "row 5: start should be a time such as 2021-06-01T05:00:00-05:00 (UTC when it has no offset), found ''",
        "row 5: end should be a time such as",
    ):
        assert f"  {problem}" in message
    assert "row 6" not in message
    assert "row 7" not in message


def test_deployments_without_what_they_need(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column start is missing\n  column 'altitude' is unknown"):
        read_deployments(deployments_file(tmp_path, "deployment,recorder,altitude\n"))
    with pytest.raises(InputError, match=r"expected a table of deployments, found no file; name another"):
        read_deployments(tmp_path / "none.csv")


def positions(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    """Return recordings of an hour: recorder, start, latitude, longitude."""
    found = pd.DataFrame(rows, columns=["recorder", "start_utc", "latitude", "longitude"])
    return found.assign(start_utc=found["start_utc"].astype("datetime64[ms]"), duration_s=3600.0)


def test_positions_of_recordings_are_deployments() -> None:
    table = deployments_from(positions(
        ("b", "2021-06-01T00:00:00.5", 41.0, -88.0), ("b", "2021-06-01T02:00", 41.0004, -88.0),
        ("b", "2021-06-02", 42.0, -88.0),
        ("a", "2021-06-01", 10.0, 20.0), ("c", "2021-06-01", np.nan, np.nan),
    ))  # fmt: skip
    assert table["deployment"].tolist() == ["a", "b", "b-2"]
    assert table["start"].tolist() == [pd.Timestamp("2021-06-01")] * 2 + [pd.Timestamp("2021-06-02")]
    assert table["end"].tolist()[1:] == [pd.Timestamp("2021-06-01T03:00"), pd.Timestamp("2021-06-02T01:00")]
    assert table["latitude"].tolist() == [10.0, 41.0, 42.0]


def test_a_recorder_that_strays_over_the_date_line_was_not_moved() -> None:
    rows = [("a", f"2021-06-0{i}", -16.5, longitude) for i, longitude in enumerate((179.9998, -179.9999, 179.9999), 1)]
    assert deployments_from(positions(*rows))["deployment"].tolist() == ["a"]


def test_camtrap_dp_keeps_zone_and_gain(tmp_path: Path) -> None:
    path = tmp_path / "deployments.csv"
    path.write_text("deployment,recorder,site,latitude,longitude,start,end,gain_db,habitat,zone\n"
                    "d1,a,\"creek, east\",41.8,-88.1,2021-06-01T00:00:00.250Z,2021-06-09,24.5,oak,America/Chicago\n"
                    "d2,b,,,,2021-06-01,2021-06-02,,,\n")  # fmt: skip
    table = read_deployments(path)
    out = tmp_path / "camtrap.csv"
    camtrap_deployments(table).to_csv(out, index=False)
    back = read_deployments(out)
    pd.testing.assert_frame_equal(back.drop(columns="start"), table.drop(columns="start"))
    assert back["start"].tolist() == [pd.Timestamp("2021-06-01"), pd.Timestamp("2021-06-01")]


def test_tags_of_other_people_are_no_zone(tmp_path: Path) -> None:
    path = tmp_path / "deployments.csv"
    path.write_text("deploymentID,cameraID,deploymentStart,deploymentTags\n"
                    "d1,a,2021-06-01T00:00:00Z,forest edge | zone:Mars/Base | gain_db:loud | bait: none\n")  # fmt: skip
    (row,) = read_deployments(path).to_dict("records")
    assert row["zone"] == ""
    assert np.isnan(row["gain_db"])
