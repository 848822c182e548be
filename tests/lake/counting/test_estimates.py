"""Estimates of counts: unbiased by enumeration, exact where they say so, and honest where nothing is known."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, hypergeom

from lake.counting.draws import draw, inclusion_of, order_of, pick
from lake.counting.estimates import METHODS, estimate, hypergeometric_limits
from lake.counting.limits import Rows, limits
from lake.errors import InputError


def sample(windows: Any, truth: Any, probability: Any, **columns: Any) -> pd.DataFrame:
    """Return a sample in which people answered as it is."""
    verdicts = np.where(np.asarray(truth)[list(windows)], "yes", "no")
    return pd.DataFrame({"window": list(windows), "verdict": verdicts, "probability": probability, **columns})


def one(table: pd.DataFrame) -> dict[str, Any]:
    """Return the only row of a table."""
    (row,) = table.to_dict("records")
    return {str(name): value for name, value in row.items()}


# Unbiased ---------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=6), st.data())
def test_the_mean_over_all_samples_is_the_truth(truth: list[bool], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(truth)))
    found = [
        one(estimate(sample(windows, truth, n / len(truth)), len(truth)))["estimate"]
        for windows in combinations(range(len(truth)), n)
    ]
    assert np.mean(found) == pytest.approx(sum(truth))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.booleans(), min_size=3, max_size=5), st.data())
def test_the_mean_over_unequal_designs_is_the_truth(truth: list[bool], data: st.DataObject) -> None:
    """Any list of samples with probabilities is a design; those of windows follow from it."""
    n_windows = len(truth)
    samples = [list(windows) for n in (1, 2) for windows in combinations(range(n_windows), n)]
    weights = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(samples), max_size=len(samples))))
    chances = weights / weights.sum()
    has_window = np.array([[i in windows for windows in samples] for i in range(n_windows)])
    inclusion = np.minimum(has_window @ chances, 1.0)
    found = [one(estimate(sample(s, truth, inclusion[s]), n_windows))["estimate"] for s in samples]
    assert np.dot(chances, found) == pytest.approx(sum(truth))


def two_batches(truth: list[bool]) -> Iterator[tuple[float, float]]:
    """Yield probability and estimate of all pairs of batches; the second's detector learnt from the first's answers."""
    n_windows = len(truth)
    for first in combinations(range(n_windows), 2):
        of_first = 1 / len(list(combinations(range(n_windows), 2)))
        rest = [i for i in range(n_windows) if i not in first]
        n_yes = sum(truth[i] for i in first)
        sizes = np.array([1.0 + n_yes * i for i in range(len(rest))])
        one_batch = sample(first, truth, 2 / n_windows, batch="a", draw=[0, 1])
        known = sample(first, truth, 1.0, batch="b", draw=pd.array([pd.NA, pd.NA], dtype="Int64"))
        for place, window in enumerate(rest):
            chance = sizes[place] / sizes.sum()
            drawn = sample([window], truth, chance, batch="b", draw=[0])
            rows = pd.concat([one_batch, drawn, known], ignore_index=True)
            yield of_first * chance, one(estimate(rows, n_windows))["estimate"]


@pytest.mark.parametrize("truth", [[True, False, False, True, False], [False] * 4 + [True], [True] * 5])
def test_batches_whose_detector_was_fitted_anew_are_unbiased_together(truth: list[bool]) -> None:
    chances, found = np.array(list(two_batches(truth))).T
    assert chances.sum() == pytest.approx(1)
    assert np.dot(chances, found) == pytest.approx(sum(truth))


def test_cells_and_strata_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(3000) < 0.1
    site = np.array(["n", "s", "w"])[rng.integers(0, 3, 3000)]
    drawn = draw(np.clip(truth * 0.6 + 0.1, 0, 1), 200, seed=4, strata=site)
    drawn["verdict"], drawn["cell"] = truth[drawn["window"]].astype(object), site[drawn["window"]]
    sizes = pd.Series(site).value_counts().to_dict()
    by_site = estimate(drawn, sizes)
    whole = one(estimate(drawn, 3000))
    assert by_site["estimate"].sum() == pytest.approx(whole["estimate"])
    assert by_site["verified_minimum"].sum() == whole["verified_minimum"]
    assert whole["high"] - whole["low"] < (by_site["high"] - by_site["low"]).sum()


# Intervals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_windows", "n", "n_yes"), [(40, 10, 3), (40, 10, 0), (40, 10, 10), (200_000, 100, 2), (3, 1, 1)]
)
def test_equal_probabilities_have_the_exact_interval(n_windows: int, n: int, n_yes: int) -> None:
    truth = np.arange(n_windows) < n_yes
    row = one(estimate(sample(range(n), truth, n / n_windows), n_windows))
    assert row["method"] == "hypergeometric"
    totals = np.arange(n_yes, min(n_windows, 20_000) + 1)
    likely = (hypergeom.sf(n_yes - 1, n_windows, totals, n) > 0.025) & (
        hypergeom.cdf(n_yes, n_windows, totals, n) > 0.025
    )
    assert (row["low"], row["high"]) == (totals[likely].min(), totals[likely].max())
    assert row["estimate"] == pytest.approx(n_windows / n * n_yes)


@pytest.mark.parametrize(("n_windows", "n"), [(1, 1), (5, 2), (12, 4), (30, 7)])
def test_the_exact_interval_covers(n_windows: int, n: int) -> None:
    for total in range(n_windows + 1):
        covered = 0.0
        for n_yes in range(n + 1):
            chance = hypergeom.pmf(n_yes, n_windows, total, n)
            if chance > 0:
                low, high = hypergeometric_limits(n_yes, n, n_windows, 0.95)
                covered += chance * (low <= total <= high)
        assert covered >= 0.95 - 1e-9


@pytest.mark.parametrize("n_yes", [1, 3, 20])
def test_the_weighted_interval_of_equal_weights_is_clopper_and_pearsons(n_yes: int) -> None:
    n, n_windows = 50, 1e9
    rows = Rows(np.zeros(n, int), np.zeros(n, int), np.full(n, n / n_windows), np.ones(n))
    found = limits(rows, np.arange(n) < n_yes, np.array([n_windows]), 0.95)
    assert found.low[0] / n_windows == pytest.approx(beta.ppf(0.025, n_yes, n - n_yes + 1), rel=0.07)
    assert found.high[0] / n_windows == pytest.approx(beta.ppf(0.975, n_yes + 1, n - n_yes), rel=0.07)


def test_no_positive_heard_has_an_exact_upper_limit() -> None:
    """The limit is at most that of windows that all have the smallest probability."""
    given_ = np.r_[np.full(50, 0.9), np.full(9950, 0.01)]
    drawn = draw(given_, 100, seed=0)
    drawn["verdict"] = "no"
    row = one(estimate(drawn, 10_000))
    assert row["method"] == "none heard"
    assert (row["low"], row["estimate"]) == (0, 0)
    assert row["high"] == pytest.approx(-np.log(0.025) / drawn["probability"].min(), rel=0.02)


@pytest.mark.parametrize(
    ("n_windows", "share", "distance"),
    [(20_000, 0.01, 3.0), (20_000, 0.05, 0.0), (20_000, 0.03, -2.0), (2000, 0.3, 1.0), (300, 0.05, 2.0)],
)
def test_intervals_cover(n_windows: int, share: float, distance: float) -> None:
    rng = np.random.default_rng(1)
    truth = np.arange(n_windows) < share * n_windows
    scores = rng.normal(size=n_windows) + distance * truth
    given_ = 1 / (1 + np.exp(4 - 2 * scores))
    rng, n, n_repeats = np.random.default_rng(2), 80, 1500
    inclusion = inclusion_of(given_**0.75, n, 0.45)
    windows = pick(inclusion, order_of(given_[:, None], inclusion, rng), n, rng, n_repeats).ravel()
    cell = np.repeat(np.arange(n_repeats), n)
    rows = Rows(cell, cell, inclusion[windows], np.ones(len(windows)))
    found = limits(rows, truth[windows], np.full(n_repeats, float(n_windows)), 0.95)
    total = truth.sum()
    assert np.mean((found.low <= total) & (total <= found.high)) >= 0.93
    assert abs(found.estimate.mean() - total) < 4 * found.estimate.std() / np.sqrt(n_repeats)


def test_a_slow_twin_of_the_weighted_sums() -> None:
    """Two batches, two strata, a cell that is part of them; sums written out."""
    rng = np.random.default_rng(2)
    rows = pd.DataFrame(
        {
            "window": np.arange(60), "batch": np.repeat(["a", "b"], [20, 40]), "stratum": np.tile(["u", "v"], 30),
            "cell": np.tile(["x", "x", "y"], 20), "probability": rng.uniform(0.05, 0.6, 60),
            "verdict": np.where(rng.random(60) < 0.4, "yes", "no"),
        }
    )  # fmt: skip
    found = estimate(rows, {"x": 5000, "y": 3000}).set_index("cell")
    for cell in ("x", "y"):
        total, spread, top = 0.0, 0.0, 0.0
        for (batch, _), part in rows.groupby(["batch", "stratum"]):
            share = {"a": 1 / 3, "b": 2 / 3}[str(batch)]
            p = part["probability"].to_numpy()
            y = ((part["verdict"] == "yes") & (part["cell"] == cell)).to_numpy() * share / p
            middle = np.sum((1 - p) * y) / np.sum(1 - p)
            total += y.sum()
            spread += len(p) / (len(p) - 1) * np.sum((1 - p) * (y - middle) ** 2)
            top = max(top, (share / p).max())
        assert found.loc[cell, "estimate"] == pytest.approx(total)
        n = {"x": 5000, "y": 3000}[cell]
        mine = rows[(rows["verdict"] == "yes") & (rows["cell"] == cell)]
        p = mine["probability"].to_numpy()
        w = mine["batch"].map({"a": 1 / 3, "b": 2 / 3}).to_numpy() / p
        heard = np.sum(1 - p)
        typical = np.sum((1 - p) * w**2) / np.sum((1 - p) * w)
        caution = 0.35 + 0.65 * np.exp(-heard / 2)
        top = max(top, n / len(rows[rows["cell"] == cell]))
        more = typical ** (1 - caution) * top**caution
        mean = (total + more) / (n + more)
        size = mean * (1 - mean) * (n + more) ** 2 / (spread + more**2 * (1 - total / n) ** 2 * n / (n + more))
        assert found.loc[cell, "high"] == pytest.approx(n * beta.ppf(0.975, size * mean, size * (1 - mean)))


# What counts and what does not --------------------------------------------------------------------------------


def test_windows_heard_for_other_reasons_never_enter() -> None:
    truth = np.arange(100) < 10
    drawn = sample(range(5, 25), truth, 0.2)
    other = sample(range(5), truth, np.nan)
    row, alone = one(estimate(pd.concat([drawn, other]), 100)), one(estimate(drawn, 100))
    assert (row["n_heard"], row["n_sample"], row["n_left_out"], row["verified_minimum"]) == (25, 20, 5, 10)
    assert row["estimate"] == alone["estimate"] == 25
    assert row["low"] >= row["verified_minimum"] > alone["verified_minimum"]


def test_only_what_was_answered_without_a_gap_is_the_sample() -> None:
    truth = np.arange(100) < 50
    drawn = sample(range(40, 60), truth, 0.2, draw=range(20)).astype({"verdict": object})
    drawn.loc[6, "verdict"] = None
    row = one(estimate(drawn.sample(frac=1, random_state=0), 100))
    assert (row["n_heard"], row["n_sample"], row["n_left_out"], row["verified_minimum"]) == (19, 6, 13, 9)
    assert row["estimate"] == pytest.approx(6 / (0.2 * 6 / 20))
    first = one(estimate(sample(range(40, 46), truth, 0.06), 100))
    assert (row["method"], row["high"]) == (first["method"], min(first["high"], 100 - 10))
    none = one(estimate(drawn.assign(verdict=pd.Series([None, *["yes"] * 19], dtype="object")), 100))
    assert (none["method"], none["low"], none["high"]) == ("no sample", 19, 100)
    assert np.isnan(none["estimate"])


def test_unsure_is_no_below_and_yes_above() -> None:
    verdicts = ["yes"] * 4 + ["unsure"] * 3 + ["no"] * 13
    rows = pd.DataFrame({"window": range(20), "verdict": verdicts, "probability": 0.1})
    row = one(estimate(rows, 200))
    least, most = (one(estimate(rows.replace("unsure", answer), 200)) for answer in ("no", "yes"))
    assert (row["estimate"], row["estimate_high"]) == (40, 70)
    assert (row["low"], row["high"]) == (least["low"], most["high"])
    assert row["verified_minimum"] == 4
    weighted = rows.assign(probability=np.linspace(0.05, 0.3, 20))
    row = one(estimate(weighted, 200))
    least, most = (one(estimate(weighted.replace("unsure", answer), 200)) for answer in ("no", "yes"))
    assert (row["low"], row["high"]) == (least["low"], most["high"])
    all_unsure = one(estimate(rows.assign(verdict="unsure"), 200))
    assert (all_unsure["low"], all_unsure["high"], all_unsure["estimate"]) == (0, 200, 0)


def test_a_cell_without_effort_is_not_zero_and_one_without_a_sample_is_not_known() -> None:
    rows = sample(range(10), np.arange(10) < 4, 0.5, cell="a")
    table = estimate(rows, {"a": 20, "b": 30, "c": 0}).set_index("cell")
    assert table["method"].to_dict() == {"a": "hypergeometric", "b": "no sample", "c": "no effort"}
    assert (table["low"]["b"], table["high"]["b"]) == (0, 30)
    assert table["estimate"].isna().tolist() == [False, True, True]
    assert table["low"].isna().tolist() == table["high"].isna().tolist() == [False, False, True]
    assert set(table["method"]) <= set(METHODS)


def test_all_windows_heard_leave_nothing_open() -> None:
    truth = np.arange(8) < 3
    drawn = draw(np.linspace(0, 1, 8), 50, seed=0)
    drawn["verdict"] = truth[drawn["window"]]
    row = one(estimate(drawn, 8))
    assert (row["estimate"], row["low"], row["high"], row["method"]) == (3, 3, 3, "all heard")
    unsure = one(estimate(drawn.assign(verdict=["unsure"] * 8), 8))
    assert (unsure["low"], unsure["high"]) == (0, 8)


def test_a_perfect_detector_leaves_what_it_may_have_missed() -> None:
    truth = np.arange(10_000) < 100
    drawn = draw(truth.astype(float), 300, seed=0)
    drawn["verdict"] = truth[drawn["window"]]
    row = one(estimate(drawn, 10_000))
    assert row["estimate"] == pytest.approx(100)
    assert row["low"] >= 99
    assert 100 < row["high"] < 500


def test_an_empty_sample_is_all_unknown() -> None:
    rows = pd.DataFrame({"window": [], "verdict": [], "probability": []})
    row = one(estimate(rows, 10))
    assert (row["n_heard"], row["low"], row["high"], row["method"]) == (0, 0, 10, "no sample")


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 70), st.sampled_from(["noise", "perfect", "reverse", "constant", "nan", "zero"]),
    st.floats(0, 1), st.integers(0, 3), st.integers(1, 4),
)  # fmt: skip
def test_what_is_true_of_every_estimate(
    n_windows: int, n: int, kind: str, share: float, seed: int, n_strata: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(n_windows) < share
    given_ = {
        "noise": rng.random(n_windows), "perfect": truth.astype(float), "reverse": 1.0 - truth,
        "constant": np.full(n_windows, 0.4), "nan": np.full(n_windows, np.nan), "zero": np.zeros(n_windows),
    }[kind]  # fmt: skip
    strata = rng.integers(0, n_strata, n_windows)
    drawn = draw(given_, max(n, n_strata), seed=seed, strata=strata)
    drawn["verdict"] = truth[drawn["window"]].astype(object)
    drawn["cell"] = strata[drawn["window"]]
    sizes = {int(k): int((strata == k).sum()) for k in np.unique(strata)}
    for table in (estimate(drawn, n_windows), estimate(drawn, sizes)):
        assert (table["verified_minimum"] <= table["low"]).all()
        assert (table["low"] <= table["high"]).all()
        assert (table["high"] <= table["n_windows"]).all()
        assert np.isfinite(table["estimate"]).all()
        wide = estimate(drawn, sizes, level=0.99) if len(table) > 1 else None
        assert wide is None or ((wide["high"] >= table["high"]) & (wide["low"] <= table["low"])).all()


@pytest.mark.parametrize(
    ("changed", "n_windows", "said"),
    [
        (
            {"verdict": ["yes", "perhaps"]},
            10,
            "verdict: expected yes, no, unsure, True, False or nothing, found 'perhaps'",
        ),
        ({"probability": [0.0, 0.5]}, 10, "probability: expected numbers above 0"),
        ({"probability": [1.2, 0.5]}, 10, "probability: expected numbers above 0"),
        ({"window": [1, 1]}, 10, "window: 1 are twice in their batch, first 1"),
        ({"window": [1, 1], "batch": ["a", "b"]}, 10, "verdict: 1 windows have two verdicts, first 1"),
        ({}, 1, "n_windows of 'all': 1, but 2 windows of it were heard"),
        ({}, -1, "n_windows of 'all': expected a whole number"),
        ({}, 2.5, "n_windows of 'all': expected a whole number"),
        ({}, {"a": 10}, r"expected the columns \['cell'\]"),
        ({"cell": ["a", "b"]}, {"a": 10}, r"cell: \['b'\] are not in n_windows"),
        ({"window": None}, 10, r"expected the columns \['window'\]"),
    ],
    ids=str,
)
def test_bad_input_is_named(changed: dict[str, Any], n_windows: Any, said: str) -> None:
    columns = {"window": [1, 2], "verdict": ["yes", "no"], "probability": [0.5, 0.5]} | changed
    rows = pd.DataFrame({name: values for name, values in columns.items() if values is not None})
    with pytest.raises(InputError, match=said):
        estimate(rows, n_windows)
    with pytest.raises(InputError, match="level: expected a number between 0 and 1"):
        estimate(rows, 10, level=95)
