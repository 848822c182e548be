"""Measure samples in one pass."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.common.compiled import compiled

Float32Array = NDArray[np.float32]

_LANES = 512
"""Sums that are taken side by side: one alone waits for each addition."""


class Measures(NamedTuple):
    """Measures of one pass over samples.

    Attributes
    ----------
    energy
        Sum of squares.
    lowest, highest
        Extreme samples.
    longest_at_full_scale
        Most samples in a row at or beyond the clipping level, or at an extreme that is.
    n_not_finite
        Samples that are NaN or infinite; with any, the others are without meaning.
    """

    energy: float
    lowest: float
    highest: float
    longest_at_full_scale: int
    n_not_finite: int


@compiled
def _extent(samples: Float32Array) -> tuple[float, np.float32, np.float32]:
    """Return the sum of squares, the lowest and the highest sample."""
    energies = np.zeros(_LANES, dtype=np.float64)
    lows, highs = np.full(_LANES, samples[0]), np.full(_LANES, samples[0])
    for first in range(0, samples.shape[0] - _LANES + 1, _LANES):
        some = samples[first : first + _LANES]
        for i in range(_LANES):
            x = some[i]
            energies[i] += np.float64(x) * np.float64(x)
            lows[i] = min(lows[i], x)
            highs[i] = max(highs[i], x)
    energy, lowest, highest = energies.sum(), lows.min(), highs.max()
    for x in samples[samples.shape[0] // _LANES * _LANES :]:
        energy += np.float64(x) * np.float64(x)
        lowest = min(lowest, x)
        highest = max(highest, x)
    return energy, lowest, highest


@compiled
def _longest_run(samples: Float32Array, low: np.float32, high: np.float32) -> int:
    """Return how many samples in a row are at most at or beyond one of two levels."""
    run = longest = 0
    for x in samples:
        run = run + 1 if x >= high or x <= low else 0
        longest = max(longest, run)
    return longest


def measure(samples: Float32Array, clip_level: float, *, at_extremes: bool = False) -> Measures:
    """Return what samples, shape (n_samples,) with at least one, say of themselves.

    Parameters
    ----------
    samples
        The samples.
    clip_level
        What is at or beyond it, of either sign, is at full scale.
    at_extremes
        Count only samples that are the highest or the lowest of all as well.
    """
    energy, lowest, highest = _extent(samples)
    if not np.isfinite(energy):  # squares of numbers add up to one: float64 holds the square of any float32
        return Measures(energy, float(lowest), float(highest), 0, int(np.count_nonzero(~np.isfinite(samples))))
    level = np.float32(clip_level)
    is_near = max(-lowest, highest) >= level
    low, high = (min(lowest, -level), max(highest, level)) if at_extremes else (-level, level)
    longest = int(_longest_run(samples, np.float32(low), np.float32(high))) if is_near else 0
    return Measures(energy, float(lowest), float(highest), longest, 0)
