import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from jobs.embed.config import Config
from jobs.embed.core import faulty, logmel


def logmel_slowly(window: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Say again, band by band and in levels, what `logmel` should do for one window."""
    rows: list[tuple[float, float, float] | None] = []
    for band in window:
        levels = band[band > 0] * 0.5 - 124.5
        rows.append((levels.mean(), levels.std(), levels.max()) if len(levels) else None)
    filled = []
    for i, row in enumerate(rows):
        lower = [r for r in rows[: i + 1] if r is not None]
        filled.append(row or (lower[-1] if lower else next(r for r in rows if r is not None)))
    return np.array(filled).T.reshape(-1)


def test_logmel_in_closed_form() -> None:
    codes = np.array([[[1, 1, 3, 3], [255, 255, 255, 255]]], dtype=np.uint8)
    np.testing.assert_array_equal(logmel(codes), [[-123.5, 3.0, 0.5, 0.0, -123.0, 3.0]])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(0, 4))
def test_logmel_equals_a_slow_twin(seed: int, n_uncovered: int, n_absent: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(1, 256, (4, 5, 7), dtype=np.uint8)
    codes[1:3, :, random.permutation(7)[:n_uncovered]] = 0
    codes[2:, random.permutation(5)[:n_absent]] = 0
    found = logmel(codes)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [logmel_slowly(window) for window in codes], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(found[2], logmel(codes[2:3])[0])  # no window depends on another


def test_a_band_above_the_recordings_range_takes_the_highest_band_there_is() -> None:
    codes = np.array([[[1, 3], [101, 105], [0, 0], [0, 0]]], dtype=np.uint8)
    mean, deviation, highest = logmel(codes).reshape(3, 4)
    assert mean.tolist() == [-123.5, -73.0, -73.0, -73.0]
    assert deviation.tolist() == [0.5, 1.0, 1.0, 1.0]
    assert highest.tolist() == [-123.0, -72.0, -72.0, -72.0]


def test_logmel_refuses_a_window_without_codes() -> None:
    codes = np.ones((2, 3, 4), dtype=np.uint8)
    codes[1] = 0
    with pytest.raises(ValueError, match="without a single level"):
        logmel(codes)


def test_faulty_vectors() -> None:
    vectors = np.array([[0, 1], [0, 0], [np.nan, 1], [np.inf, 1], [-1, 0]], dtype=np.float32)
    assert faulty(vectors).tolist() == [False, True, True, True, False]


def test_logmel_takes_no_network_settings() -> None:
    with pytest.raises(ValidationError, match="uses no network; leave out weights and readout"):
        Config(features="logmel", weights="initial", readout="class")
    assert Config.model_validate_json(Config(features="logmel").model_dump_json()) == Config(features="logmel")
