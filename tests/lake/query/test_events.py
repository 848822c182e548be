"""Events: closed forms, a slow twin in plain xarray, and the files for other programs."""

import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from detectors import detected, heard, learnt, vectors_with_sounds
from hypothesis import given
from hypothesis import strategies as st
from stores import finish, make_cube, make_embeddings, random_codes

from lake.errors import InputError, UsageError
from lake.exports.audacity import audacity_sheets
from lake.exports.raven import raven_sheets
from lake.query.events import COLUMNS, Joining, find_events, in_recordings, joined, thresholds_of
from lake.query.select import open_any


def spans(starts_s: list[float], window_s: float = 5.0, **joining: float) -> list[tuple[int, int]]:
    return list(joined(np.array(starts_s) * 1000, round(window_s * 1000), Joining(**joining)))


def test_windows_that_touch_or_overlap_are_one_event() -> None:
    assert spans([0, 5, 10, 20, 22]) == [(0, 3), (3, 5)]
    assert spans([0, 5, 10, 20, 22], gap_s=5) == [(0, 5)]
    assert spans([0, 5, 10, 20, 22], gap_s=4.999) == [(0, 3), (3, 5)]
    assert spans([0, 5, 10, 20, 22, 40], min_length_s=7) == [(0, 3), (3, 5)]
    assert spans([0, 5, 10, 20, 22, 40], min_length_s=7.001) == [(0, 3)]
    assert spans([]) == []


@given(st.sets(st.integers(0, 60)), st.integers(1, 4), st.integers(0, 6))
def test_every_window_is_in_one_event(cells: set[int], window: int, gap: int) -> None:
    starts = sorted(cells)
    found = spans([float(cell) for cell in starts], float(window), gap_s=float(gap))
    assert [i for first, last in found for i in range(first, last)] == list(range(len(starts)))
    for (_, last), (first, _) in pairwise(found):
        assert starts[first] - starts[last - 1] - window > gap


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, xr.Dataset]:
    """Return detections and their cube, of windows of 6 s every 10 minutes."""
    lake = tmp_path_factory.mktemp("lake")
    values, has = vectors_with_sounds(n_days=2)
    cube = make_cube(lake, random_codes(n_days=2, n_per_day=144))
    vectors = make_embeddings(lake, values, cube=cube)
    finish(vectors)
    heard(lake, values, has)
    found = detected(lake, vectors, learnt(lake, vectors))
    return open_any(found.output.url), open_any(cube.output.url)


def slow(detections: xr.Dataset, threshold: float, gap_s: float) -> list[tuple[object, ...]]:
    """Return events by walking through the windows one by one."""
    out: list[tuple[object, ...]] = []
    for recorder in detections["recorder"].to_numpy().tolist():
        for sound in sorted(detections["sound"].to_numpy().tolist()):
            p = detections["probability"].sel(recorder=recorder, sound=sound)
            running: list[tuple[pd.Timestamp, float]] = []
            for time, value in [
                *zip(pd.to_datetime(p["time"].to_numpy()), p.to_numpy().tolist(), strict=True),
                (None, 0),
            ]:
                if time is not None and not value >= threshold:
                    continue
                if running and (time is None or (time - running[-1][0]).total_seconds() - 6 > gap_s):
                    ps = [one for _, one in running]
                    end = running[-1][0] + pd.Timedelta(seconds=6)
                    out.append((recorder, sound, running[0][0], end, max(ps), sum(ps) / len(ps), len(ps)))
                    running = []
                if time is not None:
                    running.append((time, value))
    return out


@pytest.mark.parametrize("gap_s", [0, 594, 1800])
def test_they_are_those_of_a_slow_walk(store: tuple[xr.Dataset, xr.Dataset], gap_s: float) -> None:
    table = find_events(*store, "0.5", joining=Joining(gap_s))
    plain = xr.open_dataset(store[0].encoding["source"], engine="zarr", consolidated=True)
    expected = pd.DataFrame(slow(plain, 0.5, gap_s), columns=list(COLUMNS[:7]))
    assert len(table) == len(expected) > 5
    for name in ("recorder", "sound", "n_windows"):
        assert table[name].tolist() == expected[name].tolist()
    for name in ("start_utc", "end_utc"):
        assert (table[name] == expected[name]).all()
    np.testing.assert_allclose(table["mean_probability"], expected["mean_probability"], rtol=1e-6)
    np.testing.assert_allclose(table["highest_probability"], expected["highest_probability"], rtol=1e-6)


def test_both_ends_are_places_in_recordings(store: tuple[xr.Dataset, xr.Dataset]) -> None:
    table = find_events(*store, "0.5")
    inside = table[table["start_recording"] != ""]  # the recordings of the cube made for tests are an hour long
    assert len(inside)
    offset_s = (inside["start_utc"] - pd.Timestamp("2021-06-01")).dt.total_seconds()
    np.testing.assert_allclose(inside["start_s"], offset_s)
    np.testing.assert_allclose(inside["end_s"] - inside["start_s"], 6.0)
    assert (inside["start_recording"] == inside["recorder"] + "/all.wav").all()
    assert (find_events(store[0], None, "0.5")["start_recording"] == "").all()


def test_thresholds_of_the_heads(store: tuple[xr.Dataset, xr.Dataset]) -> None:
    for rule, name in (("best-f1", "detector_best_f1"), ("precision", "detector_precision")):
        found, _ = thresholds_of(store[0], rule, ["wren"])
        assert found == {"wren": float(store[0][name].sel(sound="wren"))}
        table = find_events(*store, rule, sounds=["wren"])
        score = store[0]["score"].sel(sound="wren").to_numpy()
        assert table["n_windows"].sum() == (score >= found["wren"]).sum()


@pytest.mark.parametrize("rule", ["high", "1.5", "-0.1", "nan", ""])
def test_other_thresholds_are_refused(store: tuple[xr.Dataset, xr.Dataset], rule: str) -> None:
    with pytest.raises(UsageError, match="expected best-f1, precision, or a probability from 0 to 1"):
        find_events(*store, rule)


def test_an_unknown_sound_is_named(store: tuple[xr.Dataset, xr.Dataset]) -> None:
    with pytest.raises(InputError, match=r"sound 'wrem' is not in the store.*wren"):
        find_events(*store, "0.5", sounds=["wrem"])


def test_files_for_other_programs(store: tuple[xr.Dataset, xr.Dataset]) -> None:
    table = find_events(*store, "0.5")
    inside = table[table["start_recording"] != ""]
    rows = in_recordings(table)
    lines = [line for sheet in raven_sheets(rows, high_hz=800.0) for line in sheet.text.splitlines()[1:]]
    assert len(lines) == len(inside)
    assert all(len(line.split("\t")) == 12 for line in lines)
    labels = [line for sheet in audacity_sheets(rows) for line in sheet.text.splitlines()]
    assert sorted(labels) == sorted(f"{row.start_s:.6f}\t{row.end_s:.6f}\t{row.sound}" for row in inside.itertuples())
    assert all(re.fullmatch(r"(north|south)/all\.labels\.txt", sheet.key) for sheet in audacity_sheets(rows))
