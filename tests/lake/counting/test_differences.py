"""Difference estimates: a detector's count corrected by the windows heard, unbiased by enumeration."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.counting.draws import draw
from lake.counting.estimates import estimate
from lake.errors import InputError


def sums(total: float, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"predicted": [total], **columns})


def sample(windows: Any, truth: Any, probability: Any, predicted: Any, **columns: Any) -> pd.DataFrame:
    """Return a sample that people answered as it is, with what was predicted of its windows."""
    at = list(windows)
    verdicts = np.where(np.asarray(truth)[at], "yes", "no")
    told = np.asarray(predicted, np.float64)[at]
    return pd.DataFrame({"window": at, "verdict": verdicts, "probability": probability, "predicted": told, **columns})


probabilities = st.lists(st.floats(0, 1), min_size=5, max_size=5)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.booleans(), min_size=5, max_size=5), probabilities, st.integers(1, 4))
def test_the_mean_over_all_samples_is_the_truth_whatever_was_predicted(
    truth: list[bool], predicted: list[float], n: int
) -> None:
    total = sums(sum(predicted))
    found = [
        estimate(sample(windows, truth, n / 5, predicted), 5, predicted=total)["estimate"][0]
        for windows in combinations(range(5), n)
    ]
    assert np.mean(found) == pytest.approx(sum(truth))


def test_right_predictions_leave_no_deviation_and_those_of_zero_change_nothing() -> None:
    truth = np.arange(500) % 9 == 0
    drawn = draw(np.where(truth, 0.8, 0.1), 50, seed=1)
    drawn["verdict"] = truth[drawn["window"]]
    plain = estimate(drawn, 500)
    zero = estimate(drawn.assign(predicted=0.0), 500, predicted=sums(0))
    pd.testing.assert_frame_equal(zero, plain)
    right = estimate(drawn.assign(predicted=truth[drawn["window"]].astype(float)), 500, predicted=sums(truth.sum()))
    assert right["estimate"][0] == pytest.approx(truth.sum())
    assert right["method"][0] == "difference"
    assert right["low"][0] <= truth.sum() <= right["high"][0]


def test_the_estimate_is_the_sum_of_predictions_corrected_by_weighted_errors() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.random(2000) < 0.1, rng.random(2000)
    drawn = draw(predicted, 100, seed=2)
    window = drawn["window"].to_numpy()
    drawn = drawn.assign(verdict=truth[window], predicted=predicted[window])
    row = estimate(drawn, 2000, predicted=sums(predicted.sum())).iloc[0]
    errors = (truth[window] - predicted[window]) / drawn["probability"]
    assert row["estimate"] == pytest.approx(predicted.sum() + errors.sum())


def test_intervals_cover_and_are_narrower_with_a_good_detector() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(4000) < 0.08
    predicted = np.clip(np.where(truth, rng.beta(6, 2, 4000), rng.beta(1, 12, 4000)), 0, 1)
    covered, ratio = [], []
    for seed in range(25):
        drawn = draw(predicted, 80, seed=seed)
        drawn = drawn.assign(verdict=truth[drawn["window"]], predicted=predicted[drawn["window"]])
        mine = estimate(drawn, 4000, predicted=sums(predicted.sum())).iloc[0]
        plain = estimate(drawn, 4000).iloc[0]
        covered.append(mine["low"] <= truth.sum() <= mine["high"])
        ratio.append((mine["high"] - mine["low"]) / (plain["high"] - plain["low"]))
    assert np.mean(covered) >= 0.9
    assert np.median(ratio) < 0.8


def test_batches_have_predictions_of_their_own_or_none() -> None:
    truth = np.arange(400) % 8 == 0
    predicted = np.where(truth, 0.7, 0.05)
    first = draw([0.1] * 400, 40, seed=0).assign(batch="a")
    heard = np.isin(np.arange(400), first["window"])
    second = draw(predicted, 40, seed=1, heard=heard).assign(batch="b")
    rows = pd.concat([first, second], ignore_index=True)
    window = rows["window"].to_numpy()
    is_drawn = rows["draw"].notna() & (rows["batch"] == "b")
    rows = rows.assign(verdict=truth[window], predicted=np.where(is_drawn, predicted[window], np.nan))
    row = estimate(rows, 400, predicted=sums(predicted[~heard].sum(), batch="b")).iloc[0]
    alone = [
        estimate(part, 400, predicted=of).iloc[0]["estimate"]
        for part, of in (
            (rows[rows["batch"] == "a"], None),
            (rows[rows["batch"] == "b"], sums(predicted[~heard].sum(), batch="b")),
        )
    ]
    assert row["estimate"] == pytest.approx(np.mean(alone))


def test_cells_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.random(900) < 0.2, rng.random(900)
    site = np.array(["n", "s"])[rng.integers(0, 2, 900)]
    drawn = draw(predicted, 60, seed=4, strata=site)
    window = drawn["window"].to_numpy()
    drawn = drawn.assign(verdict=truth[window], predicted=predicted[window], cell=site[window])
    of_sites = pd.Series(predicted).groupby(site).sum().rename_axis("cell").reset_index(name="predicted")
    by_site = estimate(drawn, pd.Series(site).value_counts().to_dict(), predicted=of_sites)
    whole = estimate(drawn, 900, predicted=sums(predicted.sum()))
    assert by_site["estimate"].sum() == pytest.approx(whole["estimate"][0])


@pytest.mark.parametrize(
    ("rows", "total", "message"),
    [
        ({}, sums(1).rename(columns={"predicted": "p"}), "expected a column of this name in the sample"),
        ({"predicted": [0.1, 1.5]}, sums(2), "expected probabilities from 0 to 1 in the sample"),
        ({"predicted": [0.1, 0.5]}, sums(-1), "expected sums of 0 or more"),
        ({"predicted": [0.1, 0.5]}, sums(np.nan), "expected sums of 0 or more"),
        ({"predicted": [0.1, 0.5]}, sums(1, cell="wood"), "of the cells"),
        ({"predicted": [0.1, 0.5]}, pd.concat([sums(1), sums(2)]), "found some twice"),
        ({"predicted": [0.1, 0.5]}, sums(0.2), "more than the sum over all windows"),
        ({"predicted": [0.1, 0.5], "batch": "a"}, sums(9, batch="b"), "more than the sum over all windows"),
    ],
)
def test_predictions_that_cannot_be_are_refused(rows: dict[str, Any], total: pd.DataFrame, message: str) -> None:
    given = pd.DataFrame({"window": [1, 2], "verdict": ["yes", "no"], "probability": 0.1, **rows})
    with pytest.raises(InputError, match=message):
        estimate(given, 20, predicted=total)
