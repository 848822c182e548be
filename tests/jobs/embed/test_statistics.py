"""Statistics of levels in closed form, and against plain numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.embed.core import MOST_BANDS, N_STATISTICS, logmel, statistics


def test_a_ramp_in_closed_form() -> None:
    """Codes that rise by two a frame: 1 dB a frame, so the differences are 1 and 8 dB."""
    codes = (100 + 2 * np.arange(16, dtype=np.uint8))[None, None].repeat(3, axis=1)
    mean, deviation, maximum, by_one, by_eight = statistics(codes).reshape(5, 3)
    np.testing.assert_allclose(mean, (100 + 15) * 0.5 - 124.5)
    np.testing.assert_allclose(deviation, np.sqrt((16**2 - 1) / 12), rtol=1e-6)
    np.testing.assert_allclose(maximum, 130 * 0.5 - 124.5)
    np.testing.assert_allclose(by_one, 1)
    np.testing.assert_allclose(by_eight, 8)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.5))
def test_plain_numpy_says_the_same(seed: int, missing: float) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(1, 256, (2, 5, 24)).astype(np.uint8)
    codes[random.random(codes.shape) < missing] = 0
    codes[:, :, 0] = codes[:, :, 9] = 77  # some level in every band
    found = statistics(codes).reshape(2, 5, 5)
    np.testing.assert_allclose(found[:, :3].reshape(2, -1), logmel(codes), rtol=1e-5, atol=1e-4)
    for window in range(2):
        for band in range(5):
            row = [c * 0.5 - 124.5 if c else None for c in codes[window, band].tolist()]
            for i, apart in enumerate((1, 8)):
                pairs = zip(row, row[apart:], strict=False)
                gaps = [abs(a - b) for a, b in pairs if a is not None and b is not None]
                assert found[window, 3 + i, band] == pytest.approx(np.mean(gaps) if gaps else 0, abs=1e-4)


def test_more_bands_are_reduced_first() -> None:
    codes = np.random.default_rng(0).integers(1, 256, (2, 4 * MOST_BANDS, 10)).astype(np.uint8)
    found = statistics(codes)
    assert found.shape == (2, N_STATISTICS * MOST_BANDS)
    levels = (codes * 0.5 - 124.5).reshape(2, MOST_BANDS, 4, 10).mean(axis=2)
    np.testing.assert_allclose(found[:, :MOST_BANDS], levels.mean(axis=2), rtol=1e-5)
    np.testing.assert_allclose(found[:, 2 * MOST_BANDS : 3 * MOST_BANDS], levels.max(axis=2), rtol=1e-5)


def test_bands_that_a_recording_lacks_take_the_nearest_lower_ones() -> None:
    codes = np.random.default_rng(1).integers(1, 256, (1, 4, 12)).astype(np.uint8)
    codes[:, 2:] = 0
    found = statistics(codes).reshape(5, 4)
    np.testing.assert_array_equal(found[:, 2], found[:, 1])
    np.testing.assert_array_equal(found[:, 3], found[:, 1])


def test_a_window_of_nothing_has_no_vector() -> None:
    with pytest.raises(ValueError, match="without a single level"):
        statistics(np.zeros((1, 4, 12), dtype=np.uint8))
