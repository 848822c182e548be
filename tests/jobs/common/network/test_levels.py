"""Levels of a cube: by plain numpy."""

import numpy as np
import pytest
from stores import random_codes

from jobs.common.network.levels import count_codes, level_statistics
from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB
from lake.errors import InputError


def test_level_statistics_by_plain_numpy() -> None:
    codes = random_codes()[0, :100]
    codes[:, 3] = 0
    mean, deviation = level_statistics(count_codes([codes[:60], codes[60:]], codes.shape[1]))
    levels = np.where(codes > 0, codes * CODE_STEP_DB + CODE_OFFSET_DB, np.nan)
    with np.errstate(invalid="ignore"):
        bands = [0, 1, 2, 4, 5, 6, 7]
        expected = np.nanmean(levels[:, bands], axis=(0, 2))
    np.testing.assert_allclose(mean[bands], expected)
    assert mean[3] == pytest.approx(expected.mean())
    spread = np.nanmean(np.square(levels[:, bands] - expected[:, None])) ** 0.5
    assert deviation == pytest.approx(spread)
    with pytest.raises(InputError, match="expected levels in the windows, found none"):
        level_statistics(np.zeros((3, 256), dtype=np.int64))


def test_the_code_that_is_missing_counts_for_nothing_whether_it_has_a_column_or_not() -> None:
    counts = np.random.default_rng(1).integers(0, 1000, (6, 256))
    with_it, without = level_statistics(counts), level_statistics(counts[:, 1:], first_code=1)
    np.testing.assert_array_equal(with_it[0], without[0])
    assert with_it[1] == pytest.approx(without[1], rel=1e-14)


def test_codes_are_counted_by_band() -> None:
    codes = np.array([[[0, 7, 7], [255, 0, 1]]], dtype=np.uint8)
    counts = count_codes([codes, codes], 2)
    assert counts.shape == (2, 256)
    assert {(band, code): int(counts[band, code]) for band, code in np.argwhere(counts).tolist()} == {
        (0, 0): 2, (0, 7): 4, (1, 0): 2, (1, 1): 2, (1, 255): 2,
    }  # fmt: skip
