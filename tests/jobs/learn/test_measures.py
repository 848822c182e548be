"""Figures of held-out scores: closed forms, scikit-learn as the slow twin, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from jobs.learn.core import strongest_penalty
from jobs.learn.measures import FLAT, RIDGE, Ranking, interval, platt, ranking, resampled, threshold_of

ONE = np.ones((1, 4))


def values(found: Ranking) -> list[float]:
    """Return the figures of the first row of weights."""
    return [float(one[0]) for one in (found.average_precision, found.auroc, found.best_f1, found.threshold)]


def test_a_perfect_order() -> None:
    found = ranking(np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, True, False, False]), ONE)
    assert values(found) == [1, 1, 1, 3]


def test_the_reverse_and_all_the_same() -> None:
    is_yes = np.array([True, False, False, False])
    found = ranking(np.array([1.0, 2.0, 3.0, 4.0]), is_yes, ONE)
    assert values(found)[:2] == [0.25, 0]
    found = ranking(np.zeros(4), is_yes, ONE)
    assert values(found)[:2] == [0.25, 0.5]


def test_one_kind_alone_has_no_figures() -> None:
    found = ranking(np.arange(4.0), np.ones(4, dtype=bool), ONE)
    assert np.isnan([found.average_precision, found.auroc, found.best_f1, found.threshold]).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=2, max_size=40))
def test_weights_are_repeats(rows: list[tuple[int, bool, int]]) -> None:
    scores, is_yes, times = (np.array(column) for column in zip(*rows, strict=True))
    y, s = np.repeat(is_yes, times), np.repeat(scores, times).astype(float)
    found = ranking(scores.astype(float), is_yes, times[None].astype(float))
    if y.all() or not y.any():
        assert np.isnan(found.auroc[0])
        return
    assert found.auroc[0] == pytest.approx(roc_auc_score(y, s))
    assert found.average_precision[0] == pytest.approx(average_precision_score(y, s))
    precision, recall, _ = precision_recall_curve(y, s)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert found.best_f1[0] == pytest.approx(f1.max())


def test_platt_is_a_logistic_regression_of_the_score() -> None:
    random = np.random.default_rng(0)
    is_yes = random.random(4000) < 0.3
    scores = random.normal(size=4000) * 2 + 3 * is_yes
    twin = LogisticRegression(C=np.inf).fit(scores[:, None], is_yes)
    slope, offset = platt(scores, is_yes, np.ones((1, 4000)))
    assert slope[0] == pytest.approx(twin.coef_[0, 0], rel=0.02)
    assert offset[0] == pytest.approx(twin.intercept_[0], rel=0.02)
    # scores of two normal distributions: the log odds are 0.75 x - 1.125 + log(3 / 7)
    assert (slope[0], offset[0]) == (pytest.approx(0.75, abs=0.06), pytest.approx(-1.125 + np.log(3 / 7), abs=0.15))


def test_platt_of_separated_scores_is_never_sure() -> None:
    slope, offset = platt(np.array([-3.0, -2, 2, 3]), np.array([False, False, True, True]), ONE)
    p = 1 / (1 + np.exp(-(slope * np.array([-3.0, 3.0]) + offset)))
    assert 0.05 < p[0] < 0.35
    assert 0.65 < p[1] < 0.95


@pytest.mark.parametrize("n", [1, 3, 40])
def test_the_slope_of_separated_scores_is_where_the_penalty_balances_the_likelihood(n: int) -> None:
    """Of n yes at 1 and n no at -1 the loss is 2 n log(1 + exp(-a)) + (RIDGE + 1 / n²) a² / 2."""
    scores = np.repeat([-1.0, 1.0], n)
    slope, offset = platt(scores, scores > 0, np.ones((1, 2 * n)))
    assert 2 * n / (1 + np.exp(slope[0])) == pytest.approx((RIDGE + 1 / n**2) * slope[0], rel=1e-4)
    assert offset[0] == pytest.approx(0, abs=1e-6)


def test_platt_of_scores_that_say_nothing_keeps_their_order() -> None:
    slope, offset = platt(np.array([1.0, 2, 3, 4]), np.array([True, True, False, False]), ONE)
    assert slope[0] == FLAT
    assert 1 / (1 + np.exp(-(FLAT * 2.5 + offset[0]))) == pytest.approx(0.5, abs=1e-3)
    assert np.isnan(threshold_of(0.9, slope, offset)[0])


@given(st.floats(0.01, 0.99), st.floats(0.01, 50), st.floats(-20, 20))
def test_a_threshold_is_where_the_probability_is_the_precision(precision: float, slope: float, offset: float) -> None:
    threshold = threshold_of(precision, np.array([slope]), np.array([offset]))[0]
    assert 1 / (1 + np.exp(-(slope * threshold + offset))) == pytest.approx(precision, rel=1e-6)


def test_resamples_take_groups_whole() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    drawn = resampled(groups, 200, 0)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 3] == drawn[:, 5]).all()
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert np.array_equal(drawn, resampled(groups, 200, 0))


def test_intervals_leave_out_what_is_not_known() -> None:
    low, high = interval(np.append(np.arange(101.0), [np.nan, np.inf]))
    assert (low, high) == (2.5, 97.5)
    assert np.isnan(interval(np.full(3, np.nan))).all()


def test_the_strongest_penalty_within_one_standard_error_of_the_best() -> None:
    """Of four verdicts: the first differs from the best by .1 on average, deviation .1, so by two standard errors."""
    best = np.full(4, 0.5)
    worse = np.array([0.5, 0.7, 0.5, 0.7])
    assert strongest_penalty([worse, best, best]) == 1
    near = np.array([0.5, 1.3, 0.1, 0.5])  # .1 ± .22
    assert strongest_penalty([near, best, worse]) == 0
    assert strongest_penalty([best, best]) == 0
    assert strongest_penalty([worse, worse, best]) == 2
