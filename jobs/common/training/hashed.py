"""Random numbers that are a hash of what they are for: the same whatever else is drawn, before or elsewhere."""

import numpy as np
from numpy.typing import NDArray


def uniforms(seed: int, samples: NDArray[np.int64], n_views: int, places: range) -> NDArray[np.float32]:
    """Return numbers in [0, 1), each a hash of seed, sample, view and its own place.

    Parameters
    ----------
    seed, samples, n_views
        The run's seed, the samples' numbers, shape (B,), and the views of each.
    places
        Which of a view's numbers.

    Returns
    -------
    NDArray
        Shape (n_views, B, len(places)). The hash is SplitMix64's finaliser (Steele et al. 2014), chained.
    """
    key = _scrambled(np.array([[[seed]]], dtype=np.uint64))
    key = _scrambled(key ^ samples.astype(np.uint64)[None, :, None])
    key = _scrambled(key ^ np.arange(n_views, dtype=np.uint64)[:, None, None])
    key = _scrambled(key ^ np.asarray(places, dtype=np.uint64))
    return (key >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def _scrambled(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)
