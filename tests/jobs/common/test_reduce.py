import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.common.reduce import reduced_levels, reduced_size


def test_a_window_that_is_small_enough_keeps_its_levels() -> None:
    codes = np.array([[[1, 0], [255, 2]]], dtype=np.uint8)
    np.testing.assert_array_equal(reduced_levels(codes, (2, 2)), [[[-124, np.nan], [3, -123.5]]])


def test_whole_parts_are_plain_means() -> None:
    codes = np.random.default_rng(0).integers(1, 256, (3, 8, 12)).astype(np.uint8)
    expected = (codes * 0.5 - 124.5).reshape(3, 4, 2, 4, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(reduced_levels(codes, (4, 4)), expected, rtol=1e-6)


def test_a_band_across_a_border_counts_with_its_share() -> None:
    codes = np.array([10, 20, 30], dtype=np.uint8)[None, :, None]
    found = (reduced_levels(codes, (2, 1)) + 124.5) * 2
    np.testing.assert_allclose(found[0, :, 0], [(10 + 0.5 * 20) / 1.5, (0.5 * 20 + 30) / 1.5], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_what_is_missing_is_left_out(seed: int, n_bands: int, n_frames: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 4, (2, 7, 9)).astype(np.uint8)
    found = reduced_levels(codes, (n_bands, n_frames))
    assert found.shape[1:] == reduced_size((7, 9), (n_bands, n_frames))
    level = np.where(codes == 0, np.nan, codes * 0.5 - 124.5)
    if not np.isnan(level).all():
        assert np.nanmin(found) >= np.nanmin(level) - 1e-4
        assert np.nanmax(found) <= np.nanmax(level) + 1e-4
    even = np.where(codes == 0, 0, 100).astype(np.uint8)  # one level: no mean can be another
    there = ~np.isnan(reduced_levels(even, (n_bands, n_frames)))
    np.testing.assert_allclose(reduced_levels(even, (n_bands, n_frames))[there], 100 * 0.5 - 124.5, rtol=1e-6)
