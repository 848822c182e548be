"""Draws for counts: probabilities that are what they say, whatever the detector was worth."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lake.counting.draws import draw, guided_sizes, inclusion_of, pick
from lake.errors import InputError

PROBABILITIES = st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), min_size=1, max_size=40)


def exact_chances(inclusion: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the probability of each window to be picked, by following all ways through the parts.

    A slow twin: the share of a part that a window covers, and what happens at a border, over all that came before.
    """
    upper = np.cumsum(inclusion)
    lower = upper - inclusion
    chances = np.zeros(len(inclusion))
    ways = {-1: 1.0}
    for part in range(n):
        shares = np.clip(np.minimum(upper, part + 1) - np.maximum(lower, part), 0, None)
        across = [i for i in range(len(shares)) if shares[i] > 1e-12 and lower[i] < part - 1e-12]
        after: dict[int, float] = {}
        for last, way in ways.items():
            goes_on = dict(enumerate(shares.tolist()))
            for i in across:
                before = part - lower[i]
                goes_on[i] = 0.0 if last == i else shares[i] / (1 - before)
            rest = 1 - sum(goes_on[i] for i in across)
            free = sum(share for i, share in enumerate(shares) if i not in across)
            for i, share in goes_on.items():
                taken = share if i in across else (share / free * rest if free > 1e-12 else 0.0)
                if taken > 0:
                    after[i] = after.get(i, 0.0) + way * taken
        for i, way in after.items():
            chances[i] += way
        ways = after
    return chances


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8), st.integers(1, 7), st.floats(0.05, 1))
def test_the_way_of_picking_gives_each_window_its_probability(sizes: list[float], n: int, uniform: float) -> None:
    n = min(n, len(sizes))
    inclusion = inclusion_of(np.array(sizes), n, uniform)
    free = inclusion[inclusion < 1]
    np.testing.assert_allclose(exact_chances(free, n - int((inclusion >= 1).sum())), free, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_windows_are_picked_as_often_as_they_should(n: int) -> None:
    sizes = np.array([0.9, 0.5, 0.2, 0.2, 0.01, 0.0, 0.3])
    inclusion = inclusion_of(sizes, n, 0.3)
    n_repeats = 40_000
    order = np.array([3, 1, 0, 6, 5, 2, 4])
    picked = pick(inclusion, order, n, np.random.default_rng(3), n_repeats)
    assert (np.sort(picked, axis=1)[:, 1:] != np.sort(picked, axis=1)[:, :-1]).all(), "without replacement"
    shares = np.bincount(picked.ravel(), minlength=len(sizes)) / n_repeats
    np.testing.assert_allclose(shares, inclusion, atol=4.5 * np.sqrt(0.25 / n_repeats))


@settings(max_examples=100, deadline=None)
@given(PROBABILITIES, st.integers(1, 60), st.integers(0, 5), st.floats(0.05, 1))
def test_what_is_true_of_every_draw(given_: list[float], n: int, seed: int, uniform: float) -> None:
    drawn = draw(given_, n, seed=seed, uniform=uniform)
    n_windows = len(given_)
    assert len(drawn) == min(n, n_windows)
    assert drawn["window"].is_unique
    assert drawn["draw"].tolist() == list(range(len(drawn)))
    assert drawn["probability"].between(uniform * min(n, n_windows) / n_windows * 0.999, 1).all()
    inclusion = inclusion_of(guided_sizes(np.array(given_)[:, None], 0.75), min(n, n_windows), uniform)
    assert inclusion.sum() == pytest.approx(min(n, n_windows))
    np.testing.assert_allclose(drawn["probability"], inclusion[drawn["window"]])
    pd.testing.assert_frame_equal(drawn, draw(given_, n, seed=seed, uniform=uniform))


def test_equal_probabilities_are_a_plain_random_sample() -> None:
    for given_ in ([0.3] * 50, [0.0] * 50, [float("nan")] * 50, [1.0] * 50):
        drawn = draw(given_, 10, seed=1)
        np.testing.assert_allclose(drawn["probability"], 0.2)
    seen = np.zeros(12)
    pairs = 0
    for seed in range(1500):
        windows = draw([0.5] * 12, 3, seed=seed)["window"].to_numpy()
        seen[windows] += 1
        pairs += {0, 1} <= set(windows)
    np.testing.assert_allclose(seen / 1500, 0.25, atol=0.05)
    assert pairs / 1500 == pytest.approx(3 * 2 / (12 * 11), abs=0.02), "neighbours too are drawn together"


def test_unknown_windows_are_reached_by_the_even_share_alone() -> None:
    drawn = draw([float("nan")] * 90 + [0.5] * 10, 100, seed=0)
    assert set(drawn["probability"]) == {1.0}, "as many as there are: all"
    drawn = draw([float("nan")] * 90 + [0.5] * 10, 10, seed=0, uniform=0.5)
    assert set(drawn.loc[drawn["window"] < 90, "probability"].round(9)) <= {0.05}


def test_several_sounds_share_a_draw() -> None:
    first, second = np.zeros(1000), np.zeros(1000)
    first[:10], second[500:510] = 0.9, 0.3
    drawn = draw(np.column_stack([first, second]), 20, seed=0)
    windows = drawn["window"]
    assert (windows < 10).sum() == pytest.approx(((windows >= 500) & (windows < 510)).sum(), abs=2)
    assert (windows < 10).sum() >= 4


def test_each_stratum_has_its_windows() -> None:
    strata = ["a"] * 900 + ["b"] * 100 + ["c"] * 1
    drawn = draw([0.1] * 1001, 41, seed=0, strata=strata)
    assert drawn["stratum"].value_counts().to_dict() == {"a": 30, "b": 10, "c": 1}
    for stratum, rows in drawn.groupby("stratum"):
        assert rows["probability"].unique() == pytest.approx(len(rows) / strata.count(str(stratum)))
    assert drawn["stratum"].iloc[:12].nunique() > 1, "in a random order"


def test_windows_heard_before_are_certain() -> None:
    heard = np.zeros(20, bool)
    heard[[3, 4]] = True
    drawn = draw([0.5] * 20, 5, seed=0, heard=heard)
    assert drawn.loc[drawn["draw"].isna(), ["window", "probability"]].to_numpy().tolist() == [[3, 1], [4, 1]]
    rest = drawn[drawn["draw"].notna()]
    assert not set(rest["window"]) & {3, 4}
    assert rest["probability"].unique() == pytest.approx(5 / 18)
    assert len(draw([0.5] * 20, 5, seed=0, heard=[True] * 20)) == 20


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"probability": [0.5, 1.5]}, r"probability: .* 1 windows have others, first window 1 \(\[1.5\]\)"),
        ({"probability": [-3.0, np.inf]}, "2 windows have others"),
        ({"probability": []}, r"expected the shape \(windows,\)"),
        ({"probability": 0.5}, "expected the shape"),
        ({"probability": np.zeros((2, 2, 2))}, "expected the shape"),
        ({"probability": ["much", "little"]}, "expected numbers from 0 to 1"),
        ({"n": 0}, "n: expected a number of windows"),
        ({"n": 2.5}, "n: expected a number of windows"),
        ({"n": True}, "n: expected a number of windows"),
        ({"uniform": 0.0}, "uniform: expected a share above 0"),
        ({"uniform": 1.1}, "uniform: expected a share above 0"),
        ({"uniform": float("nan")}, "uniform: expected a share above 0"),
        ({"power": -1.0}, "power: expected"),
        ({"strata": ["a"]}, "strata: expected one value for each of 2"),
        ({"strata": ["a", None]}, "strata: 1 windows have none"),
        ({"strata": ["a", "b"], "n": 1}, "a window for each of 2 strata"),
        ({"heard": [True]}, "heard: expected one value for each of 2"),
        ({"heard": [0, 1]}, "heard: expected True or False"),
        ({"n": 0, "uniform": 0.0, "probability": [2.0, 1.0]}, "probability: (.|\n)*\nn: (.|\n)*\nuniform: "),
    ],
    ids=str,
)
def test_bad_input_is_named(changed: dict[str, Any], said: str) -> None:
    call: dict[str, Any] = {"probability": [0.5, 0.5], "n": 1, "seed": 0} | changed
    with pytest.raises(InputError, match=said):
        draw(**call)
