import numpy as np
from numpy.typing import NDArray

from jobs.cluster.config import Config
from jobs.cluster.stability import columns, scan, stability


def sample(spread: float) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    centres = np.eye(4) * 20
    return (centres[np.arange(400) % 4] + random.normal(size=(400, 4)) * spread).astype(np.float32)


def test_clusters_that_are_there_are_found_again_and_others_are_not() -> None:
    true = stability(sample(1.0), (np.eye(4) * 20).astype(np.float32), Config(n_clusters=4, batch_size=64))
    np.testing.assert_array_equal(true, 1)
    one_blob = np.random.default_rng(1).normal(size=(400, 8)).astype(np.float32)
    arbitrary = stability(one_blob, one_blob[:8], Config(n_clusters=8, batch_size=64))
    assert (arbitrary < 0.7).all()


def test_where_nothing_can_be_said_there_is_no_number() -> None:
    vectors, far = sample(1.0), np.full((1, 4), 1e4, dtype=np.float32)
    centroids = np.concatenate([(np.eye(4) * 20).astype(np.float32), far])
    assert np.isnan(stability(vectors, centroids, Config(batch_size=64))[4]), "no window is nearest to it"
    assert np.isnan(stability(vectors, centroids, Config(n_refits=0))).all()
    assert np.isnan(stability(vectors[:8], centroids, Config())).all(), "halves of four windows have no five clusters"


def test_the_scan_prefers_the_number_that_is_there() -> None:
    config = Config(batch_size=64, scan_n_clusters=(2, 4, 8, 300))
    tried = scan(sample(2.0), config)
    assert [row.n_clusters for row in tried] == [2, 4, 8]
    assert max(tried, key=lambda row: row.silhouette).n_clusters == 4
    assert max(tried, key=lambda row: row.ari_subsamples).n_clusters == 4
    assert tried[1].ari_seeds == tried[1].ari_subsamples == 1
    assert abs(tried[1].mean_square_distance / (4 * 4) - 1) < 0.1, "four features of variance four"
    counts, values = columns(tried)
    assert counts.tolist() == [2, 4, 8]
    assert values.shape == (4, 3)
    assert columns([])[1].shape == (4, 0)
