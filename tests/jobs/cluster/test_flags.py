import numpy as np
import pytest

from jobs.cluster.flags import Shares, contrast_db, flags_of, largest_shares


def test_shares_in_closed_form() -> None:
    counts = np.array([[90, 10, 0], [0, 4, 36], [0, 0, 0], [10, 50, 40]])
    found = largest_shares(counts, 0.9)
    np.testing.assert_allclose(found.share, [0.9, 0.9, np.nan, 0.5], rtol=1e-6)
    # Group 0 has 100 and group 2 has 76 of all 240 windows: both less than half of 0.9.
    assert found.is_flagged.tolist() == [True, True, False, False]


def test_where_one_recorder_made_nearly_everything_its_share_says_nothing() -> None:
    assert not largest_shares(np.array([[95, 5], [40, 0]]), 0.9).is_flagged.any()
    assert not largest_shares(np.array([[95], [40]]), 0.9).is_flagged.any()


def test_the_contrast_of_steady_noise_and_of_a_call() -> None:
    power = np.random.default_rng(0).exponential(size=(20, 128, 400))
    codes = np.clip(np.round(2 * 10 * np.log10(power) + 100), 1, 255).astype(np.uint8)
    exact = 10 * np.log10(np.log(20) / np.log(2))  # 95th percentile over median of an exponential
    noise = contrast_db(codes)
    assert exact < noise.min()
    assert noise.max() < 8, "chance lifts the highest of 128 bands a little"
    codes[:, 60:64, 100:130] = 160
    assert contrast_db(codes).min() > 20


def test_frames_and_bands_that_are_not_there_say_nothing() -> None:
    codes = np.full((3, 6, 20), 80, dtype=np.uint8)
    codes[0, 2, :4] = 120
    codes[1] = codes[0]
    codes[1, :, 15:] = 0
    codes[1, 5] = 0
    codes[2] = 0
    found = contrast_db(codes)
    assert found[0] == pytest.approx(found[1], abs=3)
    assert np.isnan(found[2])


def test_flags_are_bits_and_an_unknown_contrast_flags_nothing() -> None:
    shares = [Shares(np.ones(4, dtype=np.float32), np.array(bits, dtype=bool)) for bits in ([1, 0, 1, 0], [0, 1, 1, 0])]
    contrast = np.array([20, np.nan, 3, 3], dtype=np.float32)
    assert flags_of(shares[0], shares[1], contrast, 8.0).tolist() == [1, 2, 7, 4]
