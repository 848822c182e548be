"""Counts of a study: samples of batches, sites and periods, and what is never a count."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lake.batches import COLUMNS as BATCH_COLUMNS
from lake.batches import Batch
from lake.counting.draws import draw
from lake.counting.periods import PERIODS, UNKNOWN, cells_per_window, period_of
from lake.counting.study import (
    MODEL_ASSISTED,
    UNIT,
    Answers,
    Windows,
    answers_on,
    count_sound,
    detection_history,
    sample_for,
)
from lake.grid import Grid
from lake.tables import make_table
from lake.verdicts import COLUMNS

ORIGIN = pd.Timestamp("2021-06-01")
RECORDERS = ["north", "south", "untimed:box"]
ORIGIN_MS = int(np.datetime64("2021-06-01", "ms").astype(np.int64))
GRID = Grid(ORIGIN_MS, ORIGIN_MS + 4 * 86_400_000, 6_000, 600_000)


def study(n: int = 40, *, offset_h: float | None = -5) -> Windows:
    """Return windows of two recorders, one an hour, and of a third without real times."""
    rows = []
    for i, recorder in enumerate(RECORDERS):
        for cell in range(0, 6 * n, 6):
            time = ORIGIN + pd.Timedelta(minutes=10 * cell)
            is_known = offset_h is not None and i < 2
            local = time + pd.Timedelta(hours=offset_h or 0) if is_known else pd.NaT
            rows.append((i, cell, recorder, time, local, ["wood", "lake", "box"][i]))
    names = ["i_recorder", "cell", "recorder", "time", "time_local", "site"]
    return Windows(pd.DataFrame(rows, columns=names), GRID, RECORDERS, ["box", "lake", "pond", "wood"], 3 * n)


def verdicts(windows: Windows, said: Sequence[tuple[int, str, str, str, int | None, str]]) -> pd.DataFrame:
    """Return verdicts on rows of windows: row, sound, verdict, batch, draw, delivery."""
    rows = [
        {
            "recorder": windows.table["recorder"][row], "time_utc": windows.table["time"][row], "duration_s": 6.0,
            "sound": sound, "verdict": verdict, "reviewer": "Ana", "decided_at": ORIGIN, "seconds": 1.0,
            "batch": batch, "draw": draw_, "recording": "", "offset_s": 0.0, "digest": "", "source": "",
        }
        for row, sound, verdict, batch, draw_, _ in said
    ]  # fmt: skip
    table = make_table(rows, COLUMNS)
    return table.assign(delivery=[one[-1] for one in said] if said else pd.Series(dtype="str"))


def batch_of(
    windows: Windows, rows: Sequence[int], name: str = "random-1", *, probability: Any = None, n_heard: int = 0,
    deliveries: Sequence[str] = (), **asked: Any,
) -> Batch:  # fmt: skip
    """Return a batch of rows of windows; a random one without probabilities of its own."""
    n_left = len(windows.table) - n_heard
    chances = [1 / (n_left - k) for k in range(len(rows))] if probability is None else probability
    table = [
        {
            "draw": k, "recorder": windows.table["recorder"][row], "time_utc": windows.table["time"][row],
            "duration_s": 6.0, "probability": chances[k], "stratum": "", "score": np.nan, "proposal": "",
        }
        for k, row in enumerate(rows)
    ]  # fmt: skip
    facts = {
        "order": name.partition("-")[0], "sounds": ["wren"], "n_population": n_left, "n_speech": 0, "n_heard": n_heard,
        "deliveries": list(deliveries), "windows_sha256": None,
    } | asked  # fmt: skip
    return Batch(name, make_table(table, BATCH_COLUMNS), facts, {})


def answered(windows: Windows, batch: Batch, rows: Sequence[int], truth: Any, delivery: str) -> list[Any]:
    return [(row, "wren", "yes" if truth[row] else "no", batch.name, k, delivery) for k, row in enumerate(rows)]


# Samples --------------------------------------------------------------------------------------------------


def test_a_random_batch_has_the_probability_of_its_prefix() -> None:
    windows = study()
    rows = [3, 50, 7, 90, 21]
    batch = batch_of(windows, rows)
    said = answered(windows, batch, rows, np.arange(120) < 10, "a")
    del said[3]
    said.append((100, "wren", "yes", "", None, "a"))
    answers = answers_on(windows, verdicts(windows, said), [batch])
    sample = sample_for("wren", windows, answers)
    drawn = sample[sample["probability"].notna()]
    assert drawn["window"].tolist() == [3, 50, 7]
    assert drawn["probability"].unique() == pytest.approx(3 / 120)
    assert sorted(sample.loc[sample["probability"].isna(), "window"]) == [21, 100]
    season = count_sound("wren", windows, answers, kinds=["season"])
    assert (season["unit"] == UNIT).all()
    assert season["n_left_out"].sum() == 2
    assert season["verified_minimum"].sum() == 3
    assert season["estimate"].sum() == pytest.approx(2 * 120 / 3)


def test_a_second_batch_knows_what_was_heard_before_it() -> None:
    """Over all pairs of batches, the second with a detector made of the first's answers, the mean is the truth."""
    all_sites = study(5)
    windows = replace(all_sites, table=all_sites.table.iloc[:5], sites=["wood"], n_usable=5)
    truth = np.array([True, False, False, True, False])
    found, chances = [], []
    for first in combinations(range(5), 2):
        one = batch_of(windows, first, "random-1")
        said = answered(windows, one, first, truth, "a")
        rest = [row for row in range(5) if row not in first]
        sizes = np.arange(1, 4) + 3.0 * truth[list(first)].sum()
        for k, row in enumerate(rest):
            chance = sizes[k] / sizes.sum()
            two = batch_of(windows, [row], "count-2", probability=[chance], n_heard=2, deliveries=["a"])
            table = verdicts(windows, [*said, *answered(windows, two, [row], truth, "b")])
            season = count_sound("wren", windows, answers_on(windows, table, [one, two]), kinds=["season"])
            found.append(season["estimate"].sum())
            chances.append(chance / 10)
    assert np.sum(chances) == pytest.approx(1)
    assert np.dot(found, chances) == pytest.approx(2)


def test_batches_that_are_no_sample_of_the_study_are_named() -> None:
    windows = study()
    listed = batch_of(windows, [1], "random-2", windows_sha256="ab")
    grown = batch_of(windows, [1], "random-3", n_population=100)
    chosen = batch_of(windows, [1], "margin-4", probability=[np.nan])
    answers = answers_on(windows, verdicts(windows, []), [listed, grown, chosen])
    assert not answers.batches
    assert "drawn from a list" in answers.notes[0]
    assert "drawn from 100 windows, the cube has 120 now" in answers.notes[1]


# Sites and periods -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "local", "name"),
    [
        ("night", "2021-06-01T11:59", "2021-05-31"), ("night", "2021-06-01T12:00", "2021-06-01"),
        ("night", "2021-06-02T00:30", "2021-06-01"), ("day", "2021-06-02T00:30", "2021-06-02"),
        ("week", "2021-06-06T23:00", "2021-05-31"), ("week", "2021-06-07T00:00", "2021-06-07"),
        ("hour", "2021-06-02T00:30", "00"), ("season", "2021-06-02T00:30", "season"),
    ],
)  # fmt: skip
def test_names_of_periods(kind: str, local: str, name: str) -> None:
    assert period_of(pd.Series(pd.to_datetime([local])), kind).tolist() == [name]


def test_windows_that_overlap_are_counted_once() -> None:
    assert [cells_per_window(Grid(0, 86_400_000, 6000, hop)) for hop in (3000, 4000, 6000, 10_000)] == [2, 2, 1, 1]


def test_hours_whose_zone_is_unknown_and_sites_without_effort_stand_by_themselves() -> None:
    windows = study()
    rows = [0, 45, 81, 100]
    batch = batch_of(windows, rows)
    table = verdicts(windows, answered(windows, batch, rows, np.arange(120) < 60, "a"))
    counts = count_sound("wren", windows, answers_on(windows, table, [batch]))
    season = counts[counts["kind"] == "season"].set_index("site")
    assert season["n_windows"].to_dict() == {"box": 40, "lake": 40, "pond": 0, "wood": 40}
    assert season["method"]["pond"] == "no effort"
    assert season[["estimate", "low", "high"]].loc["pond"].isna().all()
    assert season["effort_h"]["wood"] == pytest.approx(40 * 6 / 3600)
    for kind in set(PERIODS) - {"season"}:
        some = counts[counts["kind"] == kind]
        assert some["n_windows"].sum() == 120
        assert some.loc[some["site"] == "box", "period"].tolist() == [UNKNOWN]
        assert UNKNOWN not in some.loc[some["site"] != "box", "period"].tolist()


def test_nights_share_the_count_of_their_season() -> None:
    windows = study()
    truth = np.arange(120) % 7 == 0
    probability = np.where(truth, 0.9, 0.1)
    drawn = draw(probability, 60, seed=0)
    rows = drawn["window"].tolist()
    batch = batch_of(windows, rows, "count-1", probability=drawn["probability"].tolist())
    answers = answers_on(windows, verdicts(windows, answered(windows, batch, rows, truth, "a")), [batch])
    counts = count_sound("wren", windows, answers, probability=probability)
    season = counts[counts["kind"] == "season"].set_index("site")
    nights = counts[(counts["kind"] == "night") & (counts["method"] == MODEL_ASSISTED)]
    assert len(nights)
    assert not (season["method"] == MODEL_ASSISTED).any()
    assert set(nights["note"]) == {"by the detector: right as far as it errs alike in all periods of a site"}
    period = period_of(windows.table["time_local"], "night")
    for row in nights[nights["period"] != UNKNOWN].itertuples():
        true = truth[(windows.table["site"] == row.site) & (period == row.period)].sum()
        assert row.low <= true <= row.high
    assert (nights["low"] >= nights["verified_minimum"]).all()
    assert (nights["high"] <= nights["n_windows"]).all()


def test_a_sound_that_nobody_said_yes_to() -> None:
    windows = study()
    rows = list(range(0, 120, 4))
    batch = batch_of(windows, rows)
    answers = answers_on(windows, verdicts(windows, answered(windows, batch, rows, [False] * 120, "a")), [batch])
    season = count_sound("wren", windows, answers, kinds=["season"]).set_index("site").drop("pond")
    assert (season["estimate"] == 0).all()
    assert (season["low"] == 0).all()
    assert ((season["high"] > 5) & (season["high"] <= 30)).all()
    nothing = count_sound("robin", windows, answers, kinds=["season"]).set_index("site").drop("pond")
    assert nothing["method"].unique().tolist() == ["no sample"]
    assert nothing[["low", "high"]].to_numpy().tolist() == [[0, 40]] * 3


# Detection histories ---------------------------------------------------------------------------------------


def test_a_history_is_an_independent_recount() -> None:
    windows = study()
    rng = np.random.default_rng(0)
    rows = rng.permutation(120)[:50].tolist()
    said = [(row, "wren", str(rng.choice(["yes", "no", "unsure"])), "", None, "a") for row in rows]
    answers: Answers = answers_on(windows, verdicts(windows, said), [])
    history = detection_history("wren", windows, answers)
    expected: dict[tuple[str, str], list[str]] = {}
    for row, _, verdict, *_ in said:
        place = windows.table.iloc[row]
        if pd.notna(place["time_local"]):
            night = str((place["time_local"] - pd.Timedelta("12h")).date())
            expected.setdefault((str(place["site"]), night), []).append(verdict)
    nights = sorted(set(period_of(windows.table["time_local"], "night").dropna()))
    assert history["y"].index.tolist() == windows.sites
    assert history["y"].columns.tolist() == nights
    for site in windows.sites:
        for night in nights:
            found = [verdict for verdict in expected.get((site, night), []) if verdict != "unsure"]
            assert history["heard"].loc[site, night] == len(found)
            y = history["y"].loc[site, night]
            assert (np.isnan(y) and not found) or y == float("yes" in found)
    assert (history["recorded_h"].loc["pond"] == 0).all()
    assert history["recorded_h"].loc["wood"].sum() == pytest.approx(40 * 6 / 3600)
