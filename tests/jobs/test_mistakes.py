"""Mistakes of newcomers: each message names the thing, what was expected, what was found and what to do next."""

import sys
from pathlib import Path

import pandas as pd
import pytest
from chains import store
from commands import Cli

import dawnchorus
from jobs.cli.help import in_plain_words
from jobs.runner.manifest import read_manifest
from lake.errors import InputError


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


# Each line as it was typed, with its exit code and what must be said --------------------------------------

TYPED: tuple[tuple[str, int, str], ...] = (
    ("query CLUSTERS --cluster Frog", 3, "--cluster 'Frog': expected a number from 0 to 2, or a name in"),
    ("query CLUSTERS --cluster 1.5", 3, "--cluster '1.5': expected a number from 0 to 2, or a name in"),
    ("export CLUSTERS --cluster Frog --out OUT/x.csv", 3, "--cluster 'Frog': expected a number from 0 to 2, or a name"),
    ("query CLUSTERS --date 22.06.2021", 2, "expected a day (2021-07-14), a month (2021-07) or two joined by /"),
    ("query CLUSTERS --hour 25", 2, "--hour '25': expected hours from 0 to 23"),
    ("query CLUSTERS --recorder z", 3, "recorder 'z' is not in the store; it has a, b"),
    ("query CLUSTERS --site z", 3, "site 'z' is not in the cube"),
    ("query CLUSTERS --out OUT/x.xlsx", 2, "expected a name that ends in .csv, .parquet or .json"),
    ("query MANIFEST", 4, "expected a store, a folder such as lake/clusters/RUN.zarr; found a file"),
    (
        "export CLUSTERS --to excel --out OUT/x",
        2,
        "--to 'excel': expected one of csv, parquet, raven,",
    ),
    ("export CLUSTERS --out OUT/x.xlsx", 2, "expected a name that ends in .csv"),
    ("export CLUSTERS --round-coordinates x --out OUT/x.csv", 2, "expected a whole number."),
    ("similar VECTORS --recorder a --time 1999-07-14T00:00:00", 3, "the store goes from 2021-07-01T00:00:00Z to"),
    (
        "similar CLUSTERS --recorder a --time 2021-07-14T00:00:00",
        3,
        "expected a store of embeddings, found clusters. Name one below `embeddings`.",
    ),
    ("trace CLUSTERS", 2, "name a window with --recorder and --time, or an exemplar with --cluster"),
    ("trace CLUSTERS --cluster 0 --exemplar 99", 3, "has 3 clusters of 12 exemplars, numbered from 0"),
    ("trace CLUSTERS --cluster 0 --audio OUT/x.mp3", 2, "expected a name that ends in .flac or .wav, and --root"),
    ("status nope.toml", 3, "nope.toml: no such manifest"),
    ("run MANIFEST nope", 3, "has no run 'nope'; there are clusters, mels, scores, vectors"),
    ("run MANIFEST --workers 0", 2, "expected 1 or more."),
    ("run MANIFEST --workers two", 2, "expected a whole number."),
    ("run MANIFEST vectors --device gpu", 2, "--device 'gpu': expected cpu or cuda"),
    ("run MANIFEST --device cuda:first", 2, "--device 'cuda:first': expected cpu or cuda"),
    ("catalog /nope", 3, "/nope: expected a folder of recordings, found nothing there"),
    ("catalog OUT --out OUT/o.csv", 3, "expected recordings (names ending in .aac"),
    ("catalog AUDIO --zone Chicago --out OUT/o.csv", 3, "zone 'Chicago' is unknown: expected an IANA name (America/Ch"),
    ("catalog AUDIO --zone x=America/Chicago --out OUT/o.csv", 3, "no recording is in a folder of that name; found a"),
    ("reproduce MANIFEST", 3, "not a receipt"),
    ("names CLUSTERS CLUSTERS", 3, "expected names (columns cluster, name, notes), found none"),
    ("events MANIFEST nope", 3, "has no run 'nope'"),
    ("review MANIFEST --order best", 2, "--order 'best': expected one of auto, typical"),
    ("submit MANIFEST --site nope", 3, "nope"),
    ("config", 2, "config: name a job, such as `dawnchorus config cluster`; there are "),
    ("config clusters", 2, "did you mean 'cluster'?"),
    ("querry", 2, "Did you mean 'query'?"),
    ("catalogue", 2, "Did you mean 'catalog'?"),
    ("versoin", 2, "Did you mean 'version'"),
    ("query CLUSTERS --clutser 1", 2, "--cluster"),
    ("query", 2, "Missing argument"),
    ("run", 2, "Missing argument"),
)


@pytest.mark.parametrize(("line", "code", "told"), TYPED, ids=[line for line, _, _ in TYPED])
def test_what_is_typed_wrong_is_told(cli: Cli, whole: Path, tmp_path: Path, line: str, code: int, told: str) -> None:
    (tmp_path / "notes.txt").write_text("no recording")
    places = {
        "CLUSTERS": store(whole, "clusters"), "VECTORS": store(whole, "vectors"), "MANIFEST": str(whole),
        "AUDIO": str(whole.parent / "audio"), "OUT": str(tmp_path),
    }  # fmt: skip
    words = [places.get(word, word.replace("OUT/", f"{tmp_path}/")) for word in line.split()]
    ended = cli(*words)
    assert ended.code == code, ended.error
    assert told in ended.error
    assert "Input should be" not in ended.error
    assert "Traceback" not in ended.error


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Input should be a valid integer, unable to parse string as an integer", "expected a whole number."),
        ("Input should be a valid number, unable to parse string as a number", "expected a number."),
        ("Input should be greater than or equal to 1", "expected 1 or more."),
        ("Input should be less than or equal to 6", "expected 6 at most."),
        ("Input should be greater than 0", "expected more than 0."),
        ("Input should be less than 1", "expected less than 1."),
        ("'x' is not one of 'a', 'b'.", "'x' is not one of 'a', 'b'."),
    ],
)
def test_values_are_refused_in_plain_words(said: str, told: str) -> None:
    assert in_plain_words(said) == told


def test_the_python_query_takes_what_the_command_takes(whole: Path) -> None:
    clusters = store(whole, "clusters")
    assert len(dawnchorus.query(clusters, cluster="0")) == len(dawnchorus.query(clusters, cluster=0)) > 0
    assert len(dawnchorus.query(clusters, recorder="a", date="2021-07-14", hour="23")) > 0
    with pytest.raises(dawnchorus.errors.InputError, match="'wren': expected a number from 0 to 2, or a name"):
        dawnchorus.query(clusters, cluster="wren")


def test_an_atlas_may_have_labels_of_its_own(whole: Path, tmp_path: Path) -> None:
    """As docs/atlas.md says; a job that reads no labels takes none."""
    text = whole.read_text().replace('labels = "labels.csv"\n', "").replace('root = "', f'root = "{whole.parent}/')
    page = '[runs.page]\njob = "atlas"\ninputs = { clusters = "clusters", spectrograms = "mels" }\n'
    path = tmp_path / "study.toml"
    path.write_text(f'{text}{page}files = {{ labels = "labels.csv" }}\n')
    assert read_manifest(path).runs["page"].labels == tmp_path / "labels.csv"
    path.write_text(text.replace("[runs.vectors]\n", '[runs.vectors]\nfiles = { labels = "labels.csv" }\n'))
    with pytest.raises(InputError, match="the job 'embed' reads no such file"):
        read_manifest(path)


def test_a_function_that_needs_more_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lake.counting.estimates", "scipy", "scipy.stats"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(vars(dawnchorus), "estimate", raising=False)
    with pytest.raises(ImportError, match=r"dawnchorus\.estimate needs the package .*Type `pip install .*\[cluster\]"):
        _ = dawnchorus.estimate


@pytest.mark.parametrize("words", [("demo",), ("init", "new", "--audio", "AUDIO")])
def test_an_interrupted_command_says_that_it_goes_on(
    cli: Cli, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    for name in (
        "jobs.workflows.quickstart.make_study",
        "jobs.workflows.quickstart.run_catalog",
        "jobs.workflows.begin.run_catalog",
    ):
        monkeypatch.setattr(name, stop)
    ended = cli(*[str(whole.parent / "audio") if word == "AUDIO" else word for word in words])
    assert ended.code == 75
    assert "interrupted. What was written before is whole; the same command again continues" in ended.error


def test_a_time_with_its_distance_from_utc_is_the_same_instant(cli: Cli, whole: Path) -> None:
    """Warnings are errors here: numpy has one for such times."""
    vectors = store(whole, "vectors")
    utc = dawnchorus.query(vectors, recorder="a")["time"].iloc[3]
    here = utc + pd.Timedelta("10h")
    found = [
        cli("similar", vectors, "--recorder", "a", "--time", time, "--n", 3)
        for time in (f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{here:%Y-%m-%d %H:%M:%S}+10:00")
    ]
    assert [ended.code for ended in found] == [0, 0], found
    assert found[0].out == found[1].out
