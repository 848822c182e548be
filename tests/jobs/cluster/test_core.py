import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.cluster import MiniBatchKMeans

from jobs.cluster.batches import batches
from jobs.cluster.config import Config, number_of_clusters
from jobs.cluster.core import (
    assign,
    first_centroids,
)
from jobs.cluster.kmeans import Schedule, fit, schedule


def blobs(n_windows: int, n_features: int, n_blobs: int, spread: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(n_blobs, n_features)) * 3
    noise = random.normal(size=(n_windows, n_features)) * spread
    return (centres[random.integers(n_blobs, size=n_windows)] + noise).astype(np.float32)


def inertia(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> float:
    gaps = vectors[:, None].astype(np.float64) - centroids[None]
    return float(np.square(gaps).sum(axis=2).min(axis=1).sum())


def fitted(vectors: NDArray[np.float32], config: Config, n_clusters: int) -> NDArray[np.float32]:
    plan = schedule(len(vectors), n_clusters, config.batch_size, config.n_epochs, config.max_batches)
    parts = np.array_split(vectors, 20)
    stream = batches(
        lambda pool: [parts[i] for i in pool], [len(p) for p in parts], plan, buffer_windows=300, seed=config.seed
    )
    return fit(stream, first_centroids(vectors, n_clusters, config.seed), config, plan)


@pytest.mark.parametrize(
    ("n_windows", "expected"), [(1, 1), (2, 2), (3, 2), (8, 2), (50, 5), (3_200, 40), (20_000, 100), (10**6, 100)]
)
def test_clusters_that_fit_the_number_of_windows(n_windows: int, expected: int) -> None:
    assert number_of_clusters("auto", n_windows) == expected
    assert number_of_clusters(7, n_windows) == 7


def test_schedules() -> None:
    assert schedule(1000, 10, 64, 3, None) == Schedule(64, 46, 15)
    assert schedule(1000, 10, 64, 3, 8) == Schedule(64, 8, 8)
    assert schedule(50, 10, 64, 3, None) == Schedule(50, 3, 1)
    assert schedule(1000, 100, 64, 1, None) == Schedule(100, 10, 10)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9))
def test_the_nearest_centroid_by_a_slow_twin(seed: int, n_windows: int, n_clusters: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n_windows, 5)).astype(np.float32)
    centroids = random.normal(size=(n_clusters, 5)).astype(np.float32)
    labels, distances = assign(vectors, centroids)
    gaps = np.linalg.norm(vectors[:, None].astype(np.float64) - centroids[None], axis=2)
    np.testing.assert_array_equal(labels, gaps.argmin(axis=1))
    np.testing.assert_allclose(distances, gaps.min(axis=1), rtol=1e-6)
    assert labels.dtype == np.int16
    assert distances.dtype == np.float32


def test_of_two_centroids_at_the_same_distance_the_first() -> None:
    centroids = np.array([[5, 5], [1, 0], [-1, 0], [1, 0]], dtype=np.float32)
    labels, distances = assign(np.array([[0, 0], [1, 0]], dtype=np.float32), centroids)
    assert labels.tolist() == [1, 1]
    assert distances.tolist() == [1, 0]


def test_far_blobs_are_found_and_their_means() -> None:
    random = np.random.default_rng(3)
    centres = np.array([[0, 0], [100, 0], [0, 100], [100, 100]], dtype=np.float32)
    vectors = (np.repeat(centres, 200, axis=0) + random.normal(size=(800, 2))).astype(np.float32)
    centroids = fitted(vectors, Config(batch_size=100), 4)
    found = centroids[np.lexsort((centroids[:, 0], centroids[:, 1]))]
    np.testing.assert_allclose(found, centres, atol=0.3)


@pytest.mark.parametrize("seed", [0, 1])
def test_as_good_as_scikit_learn_in_memory(seed: int) -> None:
    vectors = blobs(3000, 8, 30, spread=1.5, seed=seed)
    ours = inertia(vectors, fitted(vectors, Config(batch_size=256, seed=seed), 20))
    theirs = [
        MiniBatchKMeans(20, batch_size=256, n_init=1, max_iter=10, random_state=seed).fit(vectors).inertia_
        for seed in range(4)
    ]
    assert ours < np.mean(theirs) * 1.03


def test_no_cluster_starts_anew_at_the_end() -> None:
    vectors = np.concatenate([blobs(900, 4, 1), blobs(2, 4, 1, seed=9) + 50]).astype(np.float32)
    plan = Schedule(300, 30, 10)
    first = np.concatenate([vectors[:5], vectors[-1:]])
    seen: list[NDArray[np.float32]] = []

    def stream() -> Iterator[NDArray[np.float32]]:
        for i in range(30):
            batch = np.random.default_rng(i).permutation(vectors)[:300]
            seen.append(batch)
            yield batch

    eager = Config(reassignment_ratio=1.0)
    settled = fit(stream(), first, eager, plan)
    restless = fit(stream(), first, eager, Schedule(300, 30, 0))
    on_a_window = (restless[:, None] == seen[-1][None]).all(axis=2).any(axis=1)
    assert on_a_window.any()
    assert not (settled[:, None] == seen[-1][None]).all(axis=2).any()


def test_fewer_different_windows_than_clusters() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        centroids = fitted(vectors, Config(batch_size=16), 5)
    assert np.isfinite(centroids).all()
    assert inertia(vectors, centroids) < 1e-6


def test_the_seed_decides() -> None:
    vectors = blobs(500, 4, 8)
    same, again, other = (fitted(vectors, Config(batch_size=64, seed=seed), 6) for seed in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    assert not np.array_equal(same, other)


def test_config_bounds() -> None:
    for wrong in ({"n_clusters": 0}, {"n_clusters": 40_000}, {"n_clusters": "many"}, {"normalise": "minmax"}):
        with pytest.raises(ValidationError):
            Config.model_validate(wrong)
    assert Config(n_clusters="auto").n_clusters == "auto"
