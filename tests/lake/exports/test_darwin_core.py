"""Darwin Core archives, read back with python-dwca-reader."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from exports import ABOUT, WREN, collection_of

from lake.errors import InputError
from lake.exports.collection import Collection
from lake.exports.darwin_core import darwin_core
from lake.sounds import Sound

DWC, AC = "http://rs.tdwg.org/dwc/terms/", "http://rs.tdwg.org/ac/terms/"


def read(collection: Collection, folder: Path) -> list[Any]:
    """Return the occurrences that the reader finds; each has its media."""
    data, n = darwin_core(collection)
    path = folder / "occurrences.zip"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reader's own dependencies
        from dwca.read import DwCAReader

        with DwCAReader(str(path)) as archive:
            rows = list(archive)
            for row in rows:
                _ = row.extensions
            assert archive.metadata is not None
    assert len(rows) == n
    return rows


def test_spans_are_occurrences_with_the_seconds_of_their_recording(tmp_path: Path) -> None:
    rows = read(collection_of([{}, {"verdict": "", "probability": 0.93, "reviewers": ""}]), tmp_path)
    first, second = (row.data for row in rows)
    assert first[f"{DWC}scientificName"] == "Troglodytes troglodytes"
    assert first[f"{DWC}eventDate"] == "2021-06-22T00:00:00-05:00/2021-06-22T00:00:05-05:00"
    assert (first[f"{DWC}decimalLatitude"], first[f"{DWC}decimalLongitude"]) == ("41.81637", "-88.06889")
    assert first[f"{DWC}identificationVerificationStatus"] == "verified by a person"
    assert second[f"{DWC}identificationVerificationStatus"] == "unverified"
    assert second[f"{DWC}identificationRemarks"] == "probability 0.93 by a detector"
    assert len({row.data[f"{DWC}occurrenceID"] for row in rows}) == 2
    media = rows[1].extensions[0].data
    assert (media[f"{AC}startTime"], media[f"{AC}endTime"], media[f"{AC}freqHigh"]) == ("10", "15", "8000")
    assert media["http://purl.org/dc/terms/identifier"] == "a/x.wav"


def test_the_same_export_is_the_same_bytes() -> None:
    assert darwin_core(collection_of([{}, {}])) == darwin_core(collection_of([{}, {}]))


@pytest.mark.parametrize(
    "name", ['=cmd|"/c calc"!A1', 'a "b", c', "two\nlines\r\n", "tab\there", "<b>&amp;", "Zaunkönig"]
)
def test_names_that_break_tables(tmp_path: Path, name: str) -> None:
    rows = [
        {"sound": name, "recorder": name, "site": name, "deployment": name, "recording": f"{name}/x.wav"},
        {"sound": "wren"},
    ]
    about = replace(ABOUT, title=name, creators=(name,))
    found = read(collection_of(rows, [Sound(name, "Parus major"), WREN], about), tmp_path)
    assert [row.data[f"{DWC}scientificName"] for row in found] == ["Parus major", "Troglodytes troglodytes"]
    assert all(len(row.extensions) == 1 for row in found)
    plain = name.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    assert found[0].data[f"{DWC}locality"].removeprefix("'") == plain


def test_sounds_without_a_scientific_name_are_named(tmp_path: Path) -> None:
    collection = collection_of([{}, {"sound": "rain"}, {"sound": "rain"}, {"sound": "?"}], [WREN, Sound("rain")])
    assert len(read(collection, tmp_path)) == 1
    assert "sounds without a scientific name in sounds.csv, and their spans: 'rain' (2), '?' (1)" in collection.notes[0]
    with pytest.raises(InputError, match=r"nothing is left to export: sounds without .* 'rain' \(1\)"):
        darwin_core(collection_of([{"sound": "rain"}], [Sound("rain")]))


def test_occurrences_without_coordinates_or_recording_stay(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"latitude": np.nan, "longitude": np.nan}, {"recording": "", "start_s": np.nan, "end_s": np.nan},
        {"start_local": pd.NaT},
    ]  # fmt: skip
    collection = collection_of(rows)
    found = read(collection, tmp_path)
    assert [len(row.extensions) for row in found] == [1, 0, 1]
    assert (found[0].data[f"{DWC}decimalLatitude"], found[0].data[f"{DWC}geodeticDatum"]) == ("", "")
    assert found[2].data[f"{DWC}eventDate"] == "2021-06-22T05:00:20Z/2021-06-22T05:00:25Z"
    assert [n.split(":")[0] for n in collection.notes] == [
        "1 occurrences have no coordinates",
        "1 occurrences have no media",
    ]


def test_an_hour_that_clocks_repeat_is_told_apart_by_its_offset(tmp_path: Path) -> None:
    instant = pd.Timestamp("2021-11-07T06:30:00")
    rows = [
        {"start_utc": at, "end_utc": at + pd.Timedelta(5, "s"), "start_local": at - pd.Timedelta(hours, "h")}
        for at, hours in ((instant, 5), (instant + pd.Timedelta(1, "h"), 6))
    ]
    dates = [row.data[f"{DWC}eventDate"] for row in read(collection_of(rows), tmp_path)]
    assert [date.split("/")[0] for date in dates] == ["2021-11-07T01:30:00-05:00", "2021-11-07T01:30:00-06:00"]


def test_rounded_coordinates_are_said(tmp_path: Path) -> None:
    (row,) = read(collection_of(about=replace(ABOUT, decimals=1)), tmp_path)
    data = row.data
    assert (data[f"{DWC}decimalLatitude"], data[f"{DWC}coordinatePrecision"]) == ("41.8", "0.1")
    assert data[f"{DWC}coordinateUncertaintyInMeters"] == "7872"
    assert "rounded to 1 decimals" in data[f"{DWC}dataGeneralizations"]
