"""Scaling and whitening against closed forms and slow twins."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lake.scaling import (
    Normalise,
    Scaling,
    merge,
    moments,
    scale_of,
    scaled,
    scaled_set,
    shrinkage_of,
    whitening,
)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_moments_of_parts_are_those_of_the_whole(seed: int, sizes: list[int]) -> None:
    vectors = np.random.default_rng(seed).normal(5, 3, (sum(sizes), 3)).astype(np.float32)
    found = reduce(merge, (moments(part) for part in np.split(vectors, np.cumsum(sizes)[:-1])))
    assert found.n == len(vectors)
    np.testing.assert_allclose(found.mean, vectors.mean(axis=0, dtype=np.float64), atol=1e-12)
    np.testing.assert_allclose(found.squares, vectors.var(axis=0, dtype=np.float64) * len(vectors), atol=1e-9)


def test_scales_in_closed_form() -> None:
    vectors = np.array([[1, 7, 3], [3, 7, 5]], dtype=np.float32)
    expected: dict[Normalise, list[list[float]]] = {
        "none": [[1, 7, 3], [3, 7, 5]],
        "zscore": [[-1, 0, -1], [1, 0, 1]],
        "zscore_l2": [[-(0.5**0.5), 0, -(0.5**0.5)], [0.5**0.5, 0, 0.5**0.5]],
        "l2": [[1 / 59**0.5, 7 / 59**0.5, 3 / 59**0.5], [3 / 83**0.5, 7 / 83**0.5, 5 / 83**0.5]],
    }
    for normalise, rows in expected.items():
        np.testing.assert_allclose(scaled_set(vectors, scale_of(moments(vectors), normalise)), rows, rtol=1e-6)


def test_a_feature_that_only_rounding_varies_is_no_feature() -> None:
    vectors = np.full((50, 2), 0.1, dtype=np.float32)
    vectors[:, 1] = np.arange(50)
    vectors[::2, 0] = np.nextafter(np.float32(0.1), np.float32(1))
    assert np.abs(scaled_set(vectors, scale_of(moments(vectors), "zscore"))[:, 0]).max() < 1e-6


def test_a_vector_at_the_mean_stays_finite() -> None:
    vectors = np.array([[1, 1], [2, 2], [3, 3]], dtype=np.float32)
    assert scaled_set(vectors, scale_of(moments(vectors), "zscore_l2"))[1].tolist() == [0, 0]


def correlated(n: int = 400, n_features: int = 6, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    mix = random.normal(size=(n_features, n_features)) * 1.5 ** -np.arange(n_features)[:, None]
    return (random.normal(size=(n, n_features)) @ mix + 50).astype(np.float32)


def whitened_by_hand(vectors: NDArray[np.float32], shrinkage: float) -> NDArray[np.float64]:
    """Whiten as the formula is written, without a thought for memory."""
    x = vectors.astype(np.float64)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    variance, axes = np.linalg.eigh(np.cov(z.T, bias=True))
    y = z @ axes / np.sqrt(variance + shrinkage * variance.max())
    return np.asarray(y / np.linalg.norm(y, axis=1, keepdims=True))


@pytest.mark.parametrize("shrinkage", [0.01, 0.1, 1.0])
def test_whitening_is_the_formula(shrinkage: float) -> None:
    vectors = correlated()
    found = scaled(vectors, whitening([moments(vectors, products=True)], shrinkage=shrinkage))
    by_hand = whitened_by_hand(vectors, shrinkage)
    # Axes may come in another order, and with another sign: angles between windows do not care.
    np.testing.assert_allclose(found @ found.T, by_hand @ by_hand.T, atol=2e-5)


def test_two_features_in_closed_form() -> None:
    """Equal features have one axis, and every window lies on one side of it or the other."""
    vectors = np.array([[0, 0], [2, 20], [4, 40]], dtype=np.float32)
    scaling = whitening([moments(vectors, products=True)])
    assert scaling.n_scaled == 1
    np.testing.assert_allclose(scaled(vectors, scaling), [[-1], [0], [1]], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_products_of_parts_are_those_of_the_whole(seed: int, sizes: list[int]) -> None:
    vectors = correlated(sum(sizes), 4, seed)
    parts = np.split(vectors, np.cumsum(sizes)[:-1])
    found = reduce(merge, (moments(part, products=True) for part in parts))
    assert found.products is not None
    gap = vectors - vectors.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(found.products, gap.T @ gap, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.squares, np.diagonal(gap.T @ gap), rtol=1e-4, atol=1e-3)


def test_joined_sets_are_whitened_alone_and_the_strongest_axes_are_kept() -> None:
    one, other = correlated(seed=1), correlated(n_features=9, seed=2) * 100
    scaling = whitening([moments(each, products=True) for each in (one, other)], n_axes=7)
    assert scaling.n_scaled == 7
    found = scaled(np.concatenate([one, other], axis=1), scaling)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    n_first = scaling.scales[0].n_scaled
    alone = scaled(one, Scaling(scaling.scales[:1]))
    np.testing.assert_allclose(found[:, :n_first] * np.sqrt(2), alone, atol=1e-6)
    # Which axes: those with the largest share of their variance left by the shrinkage, counted by hand.
    weights: list[tuple[float, bool]] = []
    for each in (one, other):
        z = (each - each.mean(axis=0)) / each.std(axis=0)
        variance = np.linalg.eigvalsh(np.cov(z.T, bias=True))
        weights += [(v / (v + 0.1 * variance.max()), len(weights) >= 6) for v in variance]
    kept = sorted(weights, reverse=True)[:7]
    assert [scale.n_scaled for scale in scaling.scales] == [7 - sum(k[1] for k in kept), sum(k[1] for k in kept)]


def test_constant_features_say_nothing() -> None:
    vectors = correlated()
    with_constant = np.concatenate([vectors, np.full((len(vectors), 2), 7, np.float32)], axis=1)
    found = scaled(with_constant, whitening([moments(with_constant, products=True)]))
    plain = scaled(vectors, whitening([moments(vectors, products=True)]))
    np.testing.assert_allclose(found @ found.T, plain @ plain.T, atol=1e-5)
    same = np.ones((5, 3), dtype=np.float32)
    assert not scaled(same, whitening([moments(same, products=True)])).any()


def test_few_windows_are_shrunk_further() -> None:
    vectors = correlated(5, 20)
    over_all = moments(vectors, products=True)
    assert shrinkage_of(over_all, 0.1) == pytest.approx(0.4)
    scaling = whitening([over_all])
    assert scaling.n_scaled == 4  # five windows span no more
    assert np.isfinite(scaled(vectors, scaling)).all()
    assert shrinkage_of(moments(correlated(20, 20), products=True), 0.1) == 0.1


def test_whitening_needs_products() -> None:
    with pytest.raises(ValueError, match="sums of products"):
        whitening([moments(correlated())])
