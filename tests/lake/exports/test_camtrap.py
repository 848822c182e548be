"""Camtrap DP: what frictionless says of packages, and what is left out of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from exports import ABOUT, WREN, camtrap_problems, collection_of

from lake.deployments import read_deployments
from lake.errors import InputError
from lake.exports.camtrap import camtrap_dp
from lake.exports.collection import Collection
from lake.sounds import Sound

HOSTILE = ('=cmd|"/c calc"!A1', 'a "b", c', "two\nlines", "tab\there", "Zaunkönig")


def written(collection: Collection, folder: Path) -> tuple[dict[str, pd.DataFrame], dict[str, object], int]:
    files, n = camtrap_dp(collection)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    tables = {path.stem: pd.read_csv(path, dtype=str, keep_default_na=False) for path in folder.glob("*.csv")}
    return tables, json.loads(files["datapackage.json"]), n


def test_a_package_has_no_errors_and_all_its_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"recording": "b/y.flac", "recorder": "b", "deployment": "b-1"},
        {"verdict": "", "probability": 0.93},
    ]
    tables, package, n = written(collection_of(rows), tmp_path)
    assert camtrap_problems(tmp_path) == []
    assert n == len(tables["observations"]) == 3
    assert tables["observations"]["classificationMethod"].tolist() == ["human", "human", "machine"]
    assert tables["observations"]["classificationProbability"].tolist() == ["", "", "0.93"]
    assert tables["observations"]["eventStart"][1] == "2021-06-22T05:00:10Z"
    assert tables["media"]["filePath"].tolist() == ["recordings/a/x.wav", "recordings/b/y.flac"]
    assert tables["media"]["fileMediatype"].tolist() == ["audio/wav", "audio/flac"]
    assert package["taxonomic"] == [{"scientificName": "Troglodytes troglodytes", "taxonID": "5231630"}]


def test_the_check_finds_what_is_wrong(tmp_path: Path) -> None:
    written(collection_of(), tmp_path)
    for name, old, new in (
        ("observations.csv", "animal", "bird"), ("media.csv", "audio/wav", "text/plain"),
        ("deployments.csv", "41.81637", "141.81637"), ("datapackage.json", "opportunistic", "random"),
    ):  # fmt: skip
        path, before = tmp_path / name, (tmp_path / name).read_text()
        assert old in before
        path.write_text(before.replace(old, new))
        assert len(camtrap_problems(tmp_path)) == 1, name
        path.write_text(before)
    assert camtrap_problems(tmp_path) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_break_tables(tmp_path: Path, name: str) -> None:
    rows = [
        {
            **dict.fromkeys(("sound", "recorder", "site", "deployment", "reviewers"), name),
            "recording": f"{name}/x..y.wav",
        }
    ]
    tables, _, n = written(collection_of(rows, [Sound(name, name)]), tmp_path)
    assert camtrap_problems(tmp_path) == []
    assert n == len(tables["observations"]) == 1
    assert tables["observations"]["scientificName"][0].lstrip("'") == name
    assert tables["observations"]["deploymentID"][0] == tables["deployments"]["deploymentID"][0]
    assert "x.%2Ey.wav" in tables["media"]["filePath"][0]


def test_deployments_are_read_back(tmp_path: Path) -> None:
    collection = collection_of(
        [{}, {"recorder": "b", "deployment": "b-1", "recording": "b/y.wav", "longitude": -179.99}]
    )
    written(collection, tmp_path)
    found = read_deployments(tmp_path / "deployments.csv")
    pd.testing.assert_frame_equal(found, collection.deployments[found.columns], check_dtype=False)


def test_a_sound_without_a_scientific_name_is_unclassified(tmp_path: Path) -> None:
    tables, package, _ = written(collection_of([{"sound": "rain"}], [Sound("rain")]), tmp_path)
    assert camtrap_problems(tmp_path) == []
    row = tables["observations"].iloc[0]
    assert (row["observationType"], row["scientificName"], row["observationTags"]) == ("unclassified", "", "sound:rain")
    assert package["taxonomic"] == []


def test_what_has_no_place_is_left_out_and_said(tmp_path: Path) -> None:
    nowhere = {"latitude": np.nan, "longitude": np.nan}
    rows: list[dict[str, Any]] = [{}, {"recorder": "b", "deployment": "b-1", "recording": "b/y.wav", **nowhere},
            {"recorder": "c", "deployment": "", "recording": "c/z.wav"},
            {"recording": "", "recorder": "d"}]  # fmt: skip
    collection = collection_of(rows)
    tables, _, n = written(collection, tmp_path)
    assert camtrap_problems(tmp_path) == []
    assert n == len(tables["observations"]) == len(tables["media"]) == len(tables["deployments"]) == 1
    told = "\n".join(collection.notes)
    assert "1 spans are left out: no recording of the study is of their time (d)" in told
    assert "2 spans of deployments without coordinates, which Camtrap DP asks for: (none, of recorder c), b-1" in told
    with pytest.raises(InputError, match="nothing is left to export: 1 spans of deployments without coordinates"):
        camtrap_dp(collection_of([rows[1]]))
    with pytest.raises(InputError, match="no recording of the study is of the time of 1 spans"):
        camtrap_dp(collection_of([rows[3]]))


def test_rounded_coordinates_are_said(tmp_path: Path) -> None:
    tables, package, _ = written(collection_of(about=replace(ABOUT, decimals=2)), tmp_path)
    assert camtrap_problems(tmp_path) == []
    row = tables["deployments"].iloc[0]
    assert (row["latitude"], row["longitude"], row["coordinateUncertainty"]) == ("41.82", "-88.07", "788")
    assert package["coordinatePrecision"] == 0.01
    assert "rounded to 2 decimals of a degree (within 788 m)" in str(package["description"])
    assert package["spatial"] == {"type": "MultiPoint", "coordinates": [[-88.07, 41.82]]}
    assert not any("41.81637" in (tmp_path / name).read_text() for name in ("deployments.csv", "datapackage.json"))


def test_sites_on_both_sides_of_the_date_line_are_two_points(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"longitude": 179.9},
        {"longitude": -179.9, "deployment": "b-1", "recorder": "b", "recording": "b/y.wav"},
    ]
    _, package, _ = written(collection_of(rows, [WREN]), tmp_path)
    assert camtrap_problems(tmp_path) == []
    assert package["spatial"] == {"type": "MultiPoint", "coordinates": [[179.9, 41.81637], [-179.9, 41.81637]]}
