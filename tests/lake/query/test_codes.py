"""Codes of 8 bits: products are within their bounds, whatever the vectors; bytes come back or are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from lake.query.codes import encode, pack, unpack

FLOATS = (
    st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-100, 100, width=32) | st.sampled_from([0.0, 1e-45, 65504.0])
)


@settings(max_examples=200, deadline=None)
@given(
    vectors=hnp.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 12)), elements=FLOATS),
    seed=st.integers(0, 2**32 - 1),
    magnitude=st.sampled_from([1e-30, 1.0, 1e20]),
)
def test_a_product_is_within_its_bound(vectors: NDArray[np.float32], seed: int, magnitude: float) -> None:
    weights = np.random.default_rng(seed).normal(size=(vectors.shape[1],)) * magnitude
    about, bound = encode(vectors).products(weights)
    exact = vectors.astype(np.longdouble) @ weights.astype(np.longdouble)
    assert (np.abs(about - exact) <= bound).all()


@pytest.mark.parametrize("n_features", [3, 512])
def test_bounds_of_usual_vectors_are_narrow(n_features: int) -> None:
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(1000, n_features)) * 5 - 80).astype(np.float32)
    weights = random.normal(size=n_features)
    about, bound = encode(vectors).products(weights)
    off = np.abs(about - vectors.astype(np.float64) @ weights)
    spread = np.std(vectors @ weights)
    assert (off <= bound).all()
    assert bound.max() < 0.02 * spread * np.sqrt(n_features), "the bound is of use"
    assert np.sqrt(np.mean(off**2)) < 0.01 * spread


def test_features_that_do_not_vary_are_exact() -> None:
    vectors = np.full((7, 4), 1 / 3, dtype=np.float32)
    coded = encode(vectors)
    assert not coded.step.any()
    about, bound = coded.products(np.array([1.0, -2.0, 3.0, 0.0]))
    np.testing.assert_allclose(about, float(vectors[0, 0]) * 2.0, rtol=1e-12)
    assert (bound < 1e-12).all()


def test_vectors_too_large_to_say_anything_about() -> None:
    vectors = np.array([[3e38, -3e38], [-3e38, 3e38]], dtype=np.float32)
    about, bound = encode(vectors).products(np.array([1e300, 1e300]))
    assert np.isfinite(about).all()
    assert np.isinf(bound).all()


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), n_features=st.integers(1, 7))
def test_codes_come_back(sizes: list[int], n_features: int) -> None:
    random = np.random.default_rng(1)
    blocks = [encode(random.normal(size=(n, n_features)).astype(np.float32)) for n in sizes]
    data = pack(blocks)
    found = unpack(data, sum(sizes), n_features)
    assert found is not None
    for one, other in zip(blocks, found, strict=True):
        for name in ("middle", "step", "codes", "error", "length"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert unpack(data, sum(sizes) + 1, n_features) is None
    assert unpack(data, sum(sizes), n_features + 1) is None
    for place in {0, 8, 12, 16, 20, len(data) // 2, len(data) - 1}:
        damaged = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        assert unpack(damaged, sum(sizes), n_features) is None
    for length in (0, 5, len(data) - 1):
        assert unpack(data[:length], sum(sizes), n_features) is None
    assert unpack(data + b"\0", sum(sizes), n_features) is None
