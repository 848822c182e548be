"""Counts of a season, shared out among nights."""

import numpy as np
import pytest

from lake.counting.shares import shared_out


def test_shares_add_up_and_certain_windows_leave_the_seasons_limits() -> None:
    probability = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    night = np.array([0, 0, 0, 1, 1])
    estimate, low, high = shared_out((3.0, 1.5, 6.0), probability, night, 2, 0.95)
    assert estimate.tolist() == pytest.approx([2, 1])
    assert low.tolist() == pytest.approx([1, 0.5]), "every window holds the sound for certain: nothing else varies"
    assert high.tolist() == pytest.approx([4, 2])


def test_windows_vary_by_themselves() -> None:
    """With a season that is known, the limits of a night are those of a binomial count."""
    estimate, low, high = shared_out((40.0, 40.0, 40.0), np.full(400, 0.3), np.repeat([0, 1], 200), 2, 0.95)
    expected = 1.959964 * np.sqrt(200 * 0.1 * 0.9)
    assert estimate.tolist() == pytest.approx([20, 20])
    assert (high - estimate).tolist() == pytest.approx([expected] * 2, rel=1e-5)
    assert (estimate - low).tolist() == pytest.approx([expected] * 2, rel=1e-5)


def test_limits_hold_the_truth_where_the_detector_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    night, covered = np.repeat(np.arange(20), 200), []
    for _ in range(50):
        probability = rng.beta(0.3, 3, 4000)
        truth = np.bincount(night[rng.random(4000) < probability], minlength=20)
        total = float(truth.sum())
        _, low, high = shared_out((total, total, total), probability, night, 20, 0.95)
        covered.append(((low <= truth) & (truth <= high)).mean())
    assert np.mean(covered) > 0.93


def test_a_detector_that_says_nothing_shares_nothing() -> None:
    assert np.isnan(shared_out((3.0, 1.0, 9.0), np.zeros(4), np.array([0, 0, 1, 1]), 2, 0.95)[0]).all()
