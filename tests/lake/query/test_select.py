from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from stores import make_clusters, make_cube, make_embeddings, random_codes

from jobs.common.run import Run
from lake.constants import STATUS
from lake.errors import InputError, StoreError, StoreFormatError, UsageError
from lake.query.find import Wanted, find
from lake.query.select import open_any, parse_dates

DAYS = ("2021-06-01", "2021-06-02")


@pytest.fixture(scope="module")
def codes() -> NDArray[np.uint8]:
    return random_codes()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, codes: NDArray[np.uint8]) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("lake")
    there = np.asarray(codes.any(axis=(2, 3)))
    cube = make_cube(folder, codes)
    vectors = np.where(there[..., None], np.arange(there.size * 3).reshape(*there.shape, 3), np.nan)
    embeddings = make_embeddings(folder, vectors.astype(np.float32), cube=cube)
    labels = np.where(there, np.arange(there.shape[1]) % 3, -1)
    return {
        "spectrograms": cube,
        "embeddings": embeddings,
        "clusters": make_clusters(folder, labels, embeddings=embeddings),
    }


def table(stores: dict[str, Run], kind: str, *recorders: str, dates: str = "", features: bool = False) -> pd.DataFrame:
    dataset = open_any(stores[kind].output.url)
    return find(dataset, Wanted(recorders, dates=parse_dates(dates) if dates else None), features=features)


# Dates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2021-07-14", "2021-07-14", "2021-07-14"),
        ("2021-07", "2021-07-01", "2021-07-31"),
        ("2020-02", "2020-02-01", "2020-02-29"),
        ("2021-12", "2021-12-01", "2021-12-31"),
        ("9999-12", "9999-12-01", "9999-12-31"),
        ("2021-07-14/2021-07-20", "2021-07-14", "2021-07-20"),
        ("2021-06/2021-07", "2021-06-01", "2021-07-31"),
        ("2021-06-30/2021-07", "2021-06-30", "2021-07-31"),
    ],
)
def test_dates(text: str, first: str, last: str) -> None:
    assert parse_dates(text) == (date.fromisoformat(first), date.fromisoformat(last))


@given(st.dates(), st.dates())
def test_any_two_days(a: date, b: date) -> None:
    first, last = sorted((a, b))
    assert parse_dates(f"{first}/{last}") == (first, last)
    assert parse_dates(str(a)) == (a, a)
    month = parse_dates(str(a)[:7])
    assert month[0].day == 1
    assert month[0] <= a <= month[1]
    assert month[1].toordinal() == date.max.toordinal() or date.fromordinal(month[1].toordinal() + 1).day == 1


@pytest.mark.parametrize(
    "text", ["", "yesterday", "14.07.2021", "2021-13", "2021-02-30", "2021", "2021-07-14/", "a/b/c"]
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_dates(text)
    assert str(caught.value) == (f"--date {text!r}: expected a day (2021-07-14), a month (2021-07) or two joined by /.")
    assert caught.value.exit_code == 2


def test_dates_the_wrong_way_round() -> None:
    with pytest.raises(UsageError, match=r"'2021-07-14/2021-07-13': the last day is before the first"):
        parse_dates("2021-07-14/2021-07-13")


# Selections ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["spectrograms", "embeddings", "clusters"])
def test_every_window_that_is_not_missing(stores: dict[str, Run], codes: NDArray[np.uint8], kind: str) -> None:
    found = table(stores, kind)
    i, cells = np.nonzero(codes.any(axis=(2, 3)))
    assert found["recorder"].tolist() == [("north", "south")[n] for n in i]
    assert (found["time"].to_numpy() == np.datetime64(DAYS[0]) + cells * np.timedelta64(600, "s")).all()
    status = {"spectrograms": "status", "embeddings": "embedding_status", "clusters": "cluster_status"}[kind]
    assert (found[status] > 0).all()


@pytest.mark.parametrize(
    ("dates", "n"),
    [
        ("2021-06-01", 12), ("2021-06-02", 12), ("2021-06", 24), ("2021-06-01/2021-06-02", 24),
        ("2021-05/2021-06-01", 12), ("2021-06-02/9999-12-31", 12), ("1601-01-01/2021-06-01", 12),
        ("2021-05-31", 0), ("2021-06-03", 0), ("9999-12", 0), ("1066-10-14", 0),
    ],
)  # fmt: skip
def test_by_recorder_and_day(stores: dict[str, Run], dates: str, n: int) -> None:
    whole = table(stores, "spectrograms")
    found = table(stores, "spectrograms", "south", dates=dates)
    first, last = parse_dates(dates)
    days = whole["time"].dt.date
    expected = whole[(whole["recorder"] == "south") & (days >= first) & (days <= last)].reset_index(drop=True)
    assert len(found) == n
    assert list(found.columns) == list(whole.columns), "also of nothing"
    if n:
        pd.testing.assert_frame_equal(found, expected)


def test_recorders_come_as_asked_for_and_once(stores: dict[str, Run]) -> None:
    assert table(stores, "clusters", "south", "north", "south")["recorder"].unique().tolist() == ["south", "north"]
    assert len(table(stores, "clusters", "south", "north", "south")) == len(table(stores, "clusters"))
    with pytest.raises(InputError, match=r"^recorder 'east' is not in the store; it has north, south\.$"):
        table(stores, "clusters", "north", "east")


def test_values_are_the_stores_own(stores: dict[str, Run], codes: NDArray[np.uint8]) -> None:
    cells = np.nonzero(codes[0].any(axis=(1, 2)))[0]
    clusters = table(stores, "clusters", "north")
    assert clusters["cluster"].tolist() == (cells % 3).tolist()
    assert clusters["cluster"].dtype == np.int16, "a number of a cluster, not 2.0"
    assert clusters["distance"].tolist() == cells.tolist()
    cube = table(stores, "spectrograms", "north")
    assert cube["level_db"].tolist() == [-40.0] * len(cells)
    assert cube["recording"].tolist() == [0] * len(cells)
    assert (cube["status"] == STATUS["partial"]).sum() == 2
    assert "spectrogram" not in cube


def test_features_are_columns(stores: dict[str, Run], codes: NDArray[np.uint8]) -> None:
    found = table(stores, "embeddings", "south", dates="2021-06-02", features=True)
    there = np.asarray(codes.any(axis=(2, 3)))
    cells = np.nonzero(there[1])[0]
    cells = cells[cells >= 144]
    expected = np.arange(there.size * 3).reshape(*there.shape, 3)[1, cells]
    np.testing.assert_array_equal(found[["f0", "f1", "f2"]].to_numpy(), expected)
    assert "f0" not in table(stores, "embeddings")
    empty = table(stores, "embeddings", dates="2030-01-01", features=True)
    assert list(empty.columns) == list(found.columns)
    with pytest.raises(InputError, match="--features: the store has no embedding; name one below `embeddings`"):
        table(stores, "clusters", features=True)


# Stores ----------------------------------------------------------------------------------------------------


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"expected a finished store, found none \(nothing is there\)"):
        open_any(str(tmp_path / "x.zarr"))
    (tmp_path / "recordings.csv").touch()
    with pytest.raises(StoreError, match=r"expected a (finished )?store"):
        open_any(str(tmp_path / "recordings.csv"))
    other = tmp_path / "other.zarr"
    xr.Dataset({"a": ("x", [1, 2])}).to_zarr(other, zarr_format=3, consolidated=False)
    told = r"expected a store of spectrograms, embeddings, clusters, detections, found no dawnchorus store\.$"
    for path in (other, other / "a"):
        with pytest.raises(StoreFormatError, match=told):
            open_any(str(path))
    (other / "zarr.json").write_text('{"zarr_format"')
    with pytest.raises(StoreError, match=r"other\.zarr/zarr\.json: expected the metadata of a Zarr"):
        open_any(str(other))


def test_a_store_anywhere_says_itself_what_it_is(
    stores: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").symlink_to(stores["clusters"].output.url)
    monkeypatch.chdir(tmp_path)
    assert "cluster" in open_any("mine")
