import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from jobs.cluster.config import Config
from jobs.cluster.kmeans import Schedule, fit, fit_sample

NO_RESTARTS = Config(reassignment_ratio=0)


def blobs(seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return (random.normal(size=(12, 6))[random.integers(12, size=900)] * 4 + random.normal(size=(900, 6))).astype(
        np.float32
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_same_batches_give_scikit_learns_centroids(seed: int) -> None:
    vectors = blobs(seed)
    stream = [vectors[i : i + 100] for i in range(0, 900, 100)] * 4
    model = MiniBatchKMeans(7, init=vectors[:7], n_init=1, batch_size=100, reassignment_ratio=0)
    for batch in stream:
        model.partial_fit(batch)
    ours = fit(stream, vectors[:7], NO_RESTARTS, Schedule(100, len(stream), 9))
    np.testing.assert_allclose(ours, model.cluster_centers_, rtol=2e-4, atol=2e-4)


def test_one_batch_in_closed_form() -> None:
    batch = np.array([[0, 0], [2, 0], [10, 0], [10, 4]], dtype=np.float32)
    first = np.array([[1, 1], [9, 1], [500, 500]], dtype=np.float32)
    found = fit([batch], first, NO_RESTARTS, Schedule(4, 1, 1))
    assert found.tolist() == [[1, 0], [10, 2], [500, 500]], "what takes no window stays"
    again = fit([batch, batch[:1] - 1], first, NO_RESTARTS, Schedule(4, 2, 1))
    np.testing.assert_allclose(again[0], [1 / 3, -1 / 3], atol=1e-6)


def test_a_centroid_far_from_all_starts_anew_on_a_window() -> None:
    vectors = blobs()
    first = np.concatenate([vectors[:6], np.full((1, 6), 1e4, dtype=np.float32)])
    stream = [vectors[i : i + 100] for i in range(0, 900, 100)] * 3
    stuck = fit(stream, first, NO_RESTARTS, Schedule(100, 27, 9))
    moved = fit(stream, first, Config(), Schedule(100, 27, 9))
    assert np.abs(stuck).max() == 1e4
    assert np.abs(moved).max() < np.abs(vectors).max()


def test_a_rare_kind_keeps_the_centroid_that_was_put_on_it() -> None:
    """One window in thirty, all of them in a few batches: the first batches have none of the kind."""
    random = np.random.default_rng(3)
    kinds = np.where(np.arange(600) % 300 // 10 == 7, 0, random.integers(1, 4, 600))
    vectors = (np.eye(4)[kinds] * 9 + random.normal(size=(600, 4)) * 0.1).astype(np.float32)
    stream = [vectors[i : i + 30] for i in range(0, 600, 30)] * 10
    for seed in range(5):
        config = Config(seed=seed, reassignment_ratio=0.05)
        found = fit(stream, np.eye(4, dtype=np.float32) * 9, config, Schedule(30, 200, 20))
        assert sorted(found.argmax(axis=1)) == [0, 1, 2, 3]
        assert (found.max(axis=1) > 8.5).all()


@pytest.mark.parametrize("size", [100, 512, 700, 1024])
def test_threads_share_products_and_change_no_byte(size: int) -> None:
    vectors = np.concatenate([blobs(seed) for seed in range(8)])
    stream = [vectors[i : i + size] for i in range(0, len(vectors) - size + 1, size)] * 2
    plan = Schedule(size, len(stream), len(stream) // 2)
    alone = fit(stream, vectors[:9], Config(), plan)
    for threads in (2, 3):
        np.testing.assert_array_equal(alone, fit(stream, vectors[:9], Config(), plan, threads=threads))


def test_a_sample_in_memory_is_seen_evenly() -> None:
    vectors = blobs()
    found = fit_sample(vectors, 12, Config(batch_size=64), seed=1)
    nearest = np.linalg.norm(vectors[:, None] - found[None], axis=2).min(axis=1)
    assert np.square(nearest).mean() < 6 * 1.3, "six features of variance one each"
    np.testing.assert_array_equal(found, fit_sample(vectors, 12, Config(batch_size=64), seed=1))
