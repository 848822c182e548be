from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from stores import make_clusters, make_cube, make_embeddings, random_codes

from lake.errors import InputError, UsageError
from lake.query.find import Wanted, find, parse_hours
from lake.query.select import open_any

OFFSET = np.timedelta64(-5, "h")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, xr.Dataset]:
    folder = tmp_path_factory.mktemp("lake")
    codes = random_codes(n_days=4, n_per_day=40)
    there = np.asarray(codes.any(axis=(2, 3)))
    cube = make_cube(folder, codes)
    vectors = np.where(there[..., None], np.arange(there.size * 3).reshape(*there.shape, 3), np.nan)
    embeddings = make_embeddings(folder, vectors.astype(np.float32), cube=cube)
    labels = np.where(there, np.arange(there.shape[1]) % 3, -1)
    clusters = make_clusters(folder, labels, embeddings=embeddings)
    return {name: open_any(run.output.url) for name, run in [("c", cube), ("e", embeddings), ("k", clusters)]}


def slow_twin(stores: dict[str, xr.Dataset], wanted: Wanted) -> pd.DataFrame:
    """Return all windows by pandas alone, and then those that are wanted."""
    table = find(stores["e"], Wanted())
    table["time_local"] = table["time"] + OFFSET
    table["site"] = "site of " + table["recorder"]
    cells = (table["time"] - np.datetime64("2021-06-01")) // np.timedelta64(600, "s")
    table["cluster"] = cells % 3
    clock = table["time_local"] if wanted.is_local else table["time"]
    keep = pd.Series(data=True, index=table.index)
    if wanted.recorders:
        keep &= table["recorder"].isin(wanted.recorders)
    if wanted.sites:
        keep &= table["site"].isin(wanted.sites)
    if wanted.clusters:
        keep &= table["cluster"].isin(wanted.clusters)
    if wanted.dates:
        keep &= (clock.dt.date >= wanted.dates[0]) & (clock.dt.date <= wanted.dates[1])
    if wanted.hours:
        first, last = wanted.hours
        hours = set(range(first, last)) if first < last else {*range(first, 24), *range(last)}
        keep &= clock.dt.hour.isin(hours)
    return table[keep].reset_index(drop=True)


some_days = st.tuples(st.integers(-2, 6), st.integers(0, 3)).map(
    lambda pair: tuple(date.fromordinal(date(2021, 6, 1).toordinal() + pair[0] + i) for i in (0, pair[1]))
)
questions = st.builds(
    Wanted,
    recorders=st.sampled_from([(), ("north",), ("north", "south")]),
    sites=st.sampled_from([(), ("site of south",)]),
    clusters=st.sampled_from([(), (1,), (0, 2)]),
    dates=st.none() | some_days,
    hours=st.none() | st.tuples(st.integers(0, 23), st.integers(0, 24)).filter(lambda pair: pair[0] != pair[1]),
    is_local=st.booleans(),
)


@given(questions)
def test_any_question_by_a_slow_twin(stores: dict[str, xr.Dataset], wanted: Wanted) -> None:
    found = find(stores["e"], wanted, cube=stores["c"], clusters=stores["k"])
    expected = slow_twin(stores, wanted)
    assert list(found.columns[:5]) == ["recorder", "time", "time_local", "site", "cluster"]
    for column in ("recorder", "time", "time_local", "site", "cluster", "embedding_status"):
        assert found[column].tolist() == expected[column].tolist(), column


def test_columns_come_with_the_stores_that_are_given(stores: dict[str, xr.Dataset]) -> None:
    plain = find(stores["e"], Wanted(("south",)))
    assert list(plain.columns) == ["recorder", "time", "embedding_status"]
    full = find(stores["e"], Wanted(("south",), dates=(date(2021, 6, 2), date(2021, 6, 2))), features=True)
    assert list(full.columns) == ["recorder", "time", "embedding_status", "f0", "f1", "f2"]
    assert len(full) == 40
    own = find(stores["k"], Wanted(clusters=(2,)))
    assert set(own["cluster"]) == {2}


def test_recordings_in_sequence_have_no_hours_and_no_days(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, recorders=("untimed:a", "south"))
    store = open_any(cube.output.url)
    assert set(find(store, Wanted())["recorder"]) == {"untimed:a", "south"}
    for wanted in (Wanted(hours=(0, 24)), Wanted(dates=(date(2021, 1, 1), date(2022, 1, 1)))):
        assert set(find(store, wanted)["recorder"]) == {"south"}


@pytest.mark.parametrize(
    ("wanted", "given", "told"),
    [
        (Wanted(("east",)), {}, r"recorder 'east' is not in the store; it has north, south"),
        (Wanted(is_local=True), {}, r"local time and sites are in the cube .* --cube"),
        (Wanted(sites=("x",)), {"cube": "c"}, r"site 'x' is not in the cube; it has site of north, site of south"),
        (Wanted(clusters=(1,)), {}, r"clusters are in a store below `clusters`; name one with --clusters"),
    ],
)
def test_questions_that_cannot_be_answered(
    stores: dict[str, xr.Dataset], wanted: Wanted, given: dict[str, str], told: str
) -> None:
    more: dict[str, Any] = {key: stores[name] for key, name in given.items()}
    with pytest.raises(InputError, match=told):
        find(stores["e"], wanted, **more)


def test_a_cube_of_another_grid_answers_by_time(stores: dict[str, xr.Dataset], tmp_path: Path) -> None:
    everywhere = np.ones((2, 4 * 288, 8, 16), dtype=np.uint8)
    other = open_any(make_cube(tmp_path, everywhere, window_s=5.0, hop_s=300.0).output.url)
    table = find(stores["e"], Wanted(is_local=True, sites=("site of north",)), cube=other)
    expected = find(stores["e"], Wanted(is_local=True, sites=("site of north",)), cube=stores["c"])
    assert len(table)
    pd.testing.assert_frame_equal(table, expected)


def test_a_clustering_of_another_grid_is_refused(stores: dict[str, xr.Dataset], tmp_path: Path) -> None:
    other = open_any(make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int16), window_s=5.0).output.url)
    with pytest.raises(InputError, match=r"have other time grids .* name the store that it was made from"):
        find(stores["e"], Wanted(clusters=(0,)), clusters=other)


def test_hours() -> None:
    assert [parse_hours(text) for text in ("5", "5-8", "22-4", "0-24")] == [(5, 6), (5, 8), (22, 4), (0, 24)]
    for text in ("", "x", "5-", "-5", "24", "5-25", "5-5", "5-8-9"):
        with pytest.raises(UsageError, match="--hour"):
            parse_hours(text)
