"""Batches of windows that somebody lists."""

from pathlib import Path

import pytest
from asking import ask, kept, places, refused, store_list, windows_of
from commands import Cli


def test_a_list_is_asked_in_its_order(cli: Cli, study: Path) -> None:
    wanted = windows_of(study).iloc[[5, 2, 9, 2]]
    said, error = ask(cli, study, "--windows", store_list(study, wanted))
    table = kept(study, said["batch"]).table
    assert table["time_utc"].tolist() == wanted["time"].iloc[:3].tolist()
    assert (said["asked"]["order"], said["asked"]["windows_sha256"] is not None) == ("listed", True)
    assert "1 windows are there more than once" in error
    drawn, _ = ask(cli, study, "--windows", store_list(study, wanted), "--order", "random")
    assert places(kept(study, drawn["batch"]).table) == places(wanted)
    assert kept(study, drawn["batch"]).table["probability"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("time", "header"),
    [
        ("%Y-%m-%d %H:%M:%S", "recorder;time"),
        ("%Y/%m/%d %H:%M:%S.000", "recorder\ttime_utc"),
        ("%Y-%m-%dT%H:%M:%S+00:00", "x,recorder,time"),
    ],
)
def test_a_list_in_other_forms(cli: Cli, study: Path, time: str, header: str) -> None:
    one = windows_of(study).iloc[3]
    separator = next(mark for mark in ";\t," if mark in header)
    path = study.parent / "list.csv"
    cells = ["7"] * header.startswith("x") + [one["recorder"], one["time"].strftime(time)]
    path.write_bytes(f"{header}\n{separator.join(cells)}\n".encode("utf-16"))
    assert ask(cli, study, "--windows", path)[0]["n"] == 1


def test_what_is_wrong_with_a_list_is_named_at_once(cli: Cli, study: Path) -> None:
    good = windows_of(study).iloc[:1]
    path = store_list(study, good, "a,14.07.2021 23:59", "c,2021-07-14T23:59:00Z", "a,2021-07-14T23:59:01Z", "a,")
    error = refused(cli, study, "--windows", path)
    assert "4 of 5 rows are no windows of 'mels'" in error
    assert "row 3: expected a time such as" in error
    assert "row 4: recorder 'c' is not in the cube; there is a, b" in error
    assert "row 5: recorder 'a' has no window at 2021-07-14T23:59:01Z; the nearest is at 2021-07-14T23:59:00Z" in error
    assert "row 6: expected a time" in error
    assert "row 2" not in error


@pytest.mark.parametrize(
    "text", ["", "recorder,time_utc\n", "recorder,when\na,b\n", "\0\0\0\1", "recorder,time_utc\n1,2,3\n"]
)
def test_no_list_at_all(cli: Cli, study: Path, text: str) -> None:
    path = study.parent / "list.csv"
    path.write_text(text)
    assert f"--windows {path}: expected" in refused(cli, study, "--windows", path)
    assert f"--windows {path}x: expected" in refused(cli, study, "--windows", f"{path}x")
