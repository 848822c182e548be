"""Mistakes of newcomers: each message names the thing, what was expected, what was found and what to do next."""

from pathlib import Path

import pytest
from chains import store
from commands import Cli


def test_a_lake_in_place_of_a_store(cli: Cli, whole: Path) -> None:
    lake = whole.parent / "lake"
    ended = cli("query", lake)
    assert ended.code == 3
    assert "expected a store, found a lake. Name one of its stores: " in ended.error
    assert store(whole, "clusters") in ended.error
    assert "found none (nothing is there)" in cli("query", lake / "nope").error


def test_a_query_that_finds_nothing_says_the_range(cli: Cli, whole: Path) -> None:
    for words in (("--date", "1999-01-01"), ("--cluster", 99)):
        ended = cli("query", store(whole, "clusters"), *words)
        assert ended.code == 0
        assert "no window is all of that; the store has " in ended.error
        assert " in clusters 0 to " in ended.error


@pytest.mark.parametrize("name", ["x.csv", "x.json"])
def test_out_makes_no_folder_by_a_typo(cli: Cli, whole: Path, tmp_path: Path, name: str) -> None:
    vectors, clusters = store(whole, "vectors"), store(whole, "clusters")
    for words in (("query", clusters), ("export", clusters), ("similar", vectors, "--recorder", "a", "--time", "2021")):
        ended = cli(*words, "--out", tmp_path / "nodir" / name)
        assert ended.code == 2, words
        assert f"expected a folder {tmp_path / 'nodir'}, found none" in ended.error or "--out" in ended.error
        assert not (tmp_path / "nodir").exists()


def test_raven_tables_go_into_a_new_folder_of_one_that_is_there(cli: Cli, whole: Path, tmp_path: Path) -> None:
    assert cli("export", store(whole, "clusters"), "--to", "raven", "--out", tmp_path / "new").code == 0
    ended = cli("export", store(whole, "clusters"), "--to", "raven", "--out", tmp_path / "nodir/new")
    assert ended.code == 2
    assert not (tmp_path / "nodir").exists()


@pytest.mark.parametrize(
    ("zone", "among"),
    [("CST", "America/Chicago"), ("IST", "Asia/Kolkata"), ("AEST", "Australia/Brisbane"), ("BST", "Europe/London")],
)
def test_an_abbreviation_of_several_zones(cli: Cli, whole: Path, tmp_path: Path, zone: str, among: str) -> None:
    ended = cli("catalog", whole.parent / "audio", "--out", tmp_path / "t.csv", "--zone", zone)
    assert ended.code == 3
    assert f"zone {zone!r} is short for several: expected one of them ({among}" in ended.error


def test_an_unknown_site_is_said_once(cli: Cli, whole: Path) -> None:
    ended = cli("submit", whole, "--site", "foo")
    assert ended.code == 3
    assert ended.error.count("slurm") == 1
    assert "did you mean 'slurm'?" in cli("submit", whole, "--site", "slrum").error
