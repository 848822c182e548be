"""When sounds are heard: closed forms, and a slow count window by window."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from stores import finish, make_cube, random_codes

from lake.counting.study import Windows, windows_of
from lake.query.find import Wanted, parse_wanted
from lake.query.phenology import Phenology, as_table, phenologies, wanted_windows
from lake.query.select import open_any


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    run = make_cube(tmp_path_factory.mktemp("lake"), random_codes(n_days=3, n_per_day=144))
    finish(run)
    return open_any(run.output.url)


def found_in(cube: xr.Dataset, seed: int = 0) -> tuple[Windows, np.ndarray, np.ndarray, list[Phenology]]:
    windows = windows_of(cube)
    random = np.random.default_rng(seed)
    has, there = (random.random(len(windows.table)) < share for share in (0.3, 0.8))
    return windows, has, there, list(phenologies("wren", windows, has=has, is_there=there, cube=cube, counts=None))


def test_it_is_what_a_slow_count_says(cube: xr.Dataset) -> None:
    windows, has, there, found = found_in(cube)
    effort: Counter[tuple[str, str, int]] = Counter()
    heard: Counter[tuple[str, str, int]] = Counter()
    for row, is_yes, is_there in zip(windows.table.to_dict("records"), has, there, strict=True):
        if is_there:
            key = (row["site"], f"{row['time_local']:%Y-%m-%d}", row["time_local"].hour)
            effort[key] += 1
            heard[key] += is_yes
    table = as_table(found)
    keys = list(zip(table["site"], table["date"], table["hour"], strict=True))
    assert dict(zip(keys, table["windows"], strict=True)) == dict(effort)
    assert dict(zip(keys, table["windows_with_sound"], strict=True)) == {key: heard[key] for key in effort}
    assert (table["sound"] == "wren").all()
    assert len({one.first_day for one in found}) == 1
    assert all(np.isnan(one.share[one.effort == 0]).all() for one in found)


def test_windows_without_local_time_have_no_part(cube: xr.Dataset) -> None:
    windows = windows_of(cube)
    table = windows.table.assign(time_local=np.datetime64("NaT", "ms"))
    blind = Windows(table, windows.grid, windows.recorders, windows.sites, windows.n_usable)
    yes = np.ones(len(table), np.bool_)
    assert list(phenologies("wren", blind, has=yes, is_there=yes, cube=cube, counts=None)) == []


def test_an_hour_that_clocks_repeat_has_twice_the_windows_and_no_larger_share() -> None:
    times = pd.date_range("2021-11-07T05:00", periods=18, freq="10min").as_unit("ms")
    offset = np.where(times < pd.Timestamp("2021-11-07T07:00"), -5, -6)
    table = pd.DataFrame({"time": times, "time_local": times + pd.to_timedelta(offset, unit="h"), "site": "creek"})
    positions = xr.Dataset({name: ("deployments", [value]) for name, value in
                            (("site", "creek"), ("latitude", 41.8), ("longitude", -88.0))})  # fmt: skip
    yes = np.ones(len(table), np.bool_)
    windows = Windows(table, None, [], ["creek"], len(table))  # type: ignore[arg-type]  # the grid has no part in it
    (one,) = phenologies("wren", windows, has=yes, is_there=yes, cube=positions, counts=None)
    assert one.effort[:3, 0].tolist() == [6, 12, 0]
    assert one.share[:2, 0].tolist() == [1.0, 1.0]
    assert one.offset_s.tolist() == [-6 * 3600]
    assert (one.latitude, one.longitude) == (41.8, -88.0)


def test_only_wanted_windows(cube: xr.Dataset) -> None:
    windows = windows_of(cube)
    assert wanted_windows(windows, Wanted()).all()
    kept = windows.table[wanted_windows(windows, parse_wanted(["north"], (), (), None, "4-6", local=True))]
    assert set(kept["recorder"]) == {"north"}
    assert set(pd.to_datetime(kept["time_local"]).dt.hour) == {4, 5}


def test_counts_are_those_of_the_sound_and_site(cube: xr.Dataset) -> None:
    windows, has, there, found = found_in(cube)
    site = found[0].site
    counts = pd.DataFrame({
        "sound": ["wren", "wren", "frog"], "site": [site, "elsewhere", site], "kind": "day", "period": "2021-06-01",
        "n_windows": 10, "estimate": [1.0, 2.0, 3.0], "low": 0.0, "high": 5.0,
    })  # fmt: skip
    (own, *_) = phenologies("wren", windows, has=has, is_there=there, cube=cube, counts=counts)
    assert own.counts["estimate"].tolist() == [1.0]
    assert own.period_kind == "day"
