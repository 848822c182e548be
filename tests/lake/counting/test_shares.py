"""Counts of a season, shared out among nights."""

import numpy as np
import pytest

from lake.counting.shares import shared_out


def test_a_detector_that_is_always_right_gives_each_night_its_own() -> None:
    probability = np.array([1.0] * 30 + [0.0] * 70 + [1.0] * 5 + [0.0] * 95)
    estimate, low, high = shared_out((35.0, 35.0, 35.0), probability, np.repeat([0, 1], 100), 2, 0.95)
    assert estimate.tolist() == pytest.approx([30, 5], abs=0.1)
    assert estimate.sum() == pytest.approx(35)
    assert (low < estimate).all()
    assert (estimate < high).all()


def test_a_detector_that_knows_nothing_gives_no_limits() -> None:
    estimate, low, high = shared_out((40.0, 30.0, 50.0), np.full(400, 0.3), np.repeat([0, 1], 200), 2, 0.95)
    assert estimate.sum() == pytest.approx(40)
    assert (low < 0).all()
    assert (high > 200).all()


def test_nights_are_those_of_a_slow_twin() -> None:
    """Each night's prevalence is the likeliest by a search over all; calibrated scores of normal distributions."""
    rng = np.random.default_rng(1)
    night, rate = np.repeat(np.arange(3), 500), np.array([0.02, 0.1, 0.3])
    truth = rng.random(1500) < rate[night]
    scores, prevalence = rng.normal(size=1500) + 2.5 * truth, truth.mean()
    ratio = np.exp(2.5 * scores - 2.5**2 / 2)
    probability = prevalence * ratio / (prevalence * ratio + 1 - prevalence)
    found, _, _ = shared_out((probability.sum(),) * 3, probability, night, 3, 0.95)
    prevalence = probability.mean()
    ratio = probability / (1 - probability) * (1 - prevalence) / prevalence
    grid = np.linspace(0, 1, 5001)[:-1]
    likeliest = [500 * grid[np.log(1 + grid[:, None] * (ratio[night == i] - 1)).sum(axis=1).argmax()] for i in range(3)]
    expected = np.array(likeliest) * probability.sum() / np.sum(likeliest)
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.3)


def test_limits_hold_the_truth_where_nights_differ_and_the_detector_does_not() -> None:
    rng = np.random.default_rng(0)
    night, covered = np.repeat(np.arange(20), 300), []
    for _ in range(20):
        rate = np.clip(rng.lognormal(-2.5, 0.8, 20), 0, 0.8)
        truth = rng.random(6000) < rate[night]
        scores, prevalence = rng.normal(size=6000) + 2 * truth, truth.mean()
        odds = prevalence / (1 - prevalence) * np.exp(2 * scores - 2)
        true, total = np.bincount(night, weights=truth, minlength=20), float(truth.sum())
        _, low, high = shared_out((total, total, total), odds / (1 + odds), night, 20, 0.95)
        covered.append(((low <= true) & (true <= high)).mean())
    assert np.mean(covered) > 0.93
