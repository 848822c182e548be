import io

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from jobs.common.pages.pictures import (
    COLOUR_MAP,
    STRIPE_GREYS,
    bands_that_count,
    colour_table,
    coloured,
    level_histogram,
    level_range,
    picture,
    scaled,
    veil,
)

QUIET, LOUD = 50, 220
"""Codes of -99.5 and -14.5 dBFS."""


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def draw(codes: NDArray[np.uint8], width_px: int = 64, height_px: int = 48) -> NDArray[np.uint8]:
    return pixels_of(picture(codes, (-100.0, -20.0), width_px=width_px, height_px=height_px))


def test_a_low_tone_is_at_the_bottom_and_an_early_click_at_the_left() -> None:
    codes = np.full((96, 128), QUIET, dtype=np.uint8)
    codes[4:12] = LOUD
    brightness = draw(codes).sum(axis=2).mean(axis=1)
    assert np.all(brightness[-5:-2] > 500)
    assert np.all(brightness[:40] < 100)
    click = np.full((96, 128), QUIET, dtype=np.uint8)
    click[:, 2:12] = LOUD
    brightness = draw(click).sum(axis=2).mean(axis=0)
    assert brightness[1:6].mean() > 400
    assert np.all(brightness[12:] < 100)


def test_colours_are_those_of_the_map_at_both_ends_and_beyond() -> None:
    levels = np.array([[-120.0, -100.0, -60.0, -20.0, 0.0]], dtype=np.float32)
    found = coloured(levels, np.ones(levels.shape, dtype=np.bool_), (-100.0, -20.0))
    table = colour_table()
    theirs = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, 256))[:, :3]
    np.testing.assert_array_equal(table, np.rint(np.asarray(theirs) * 255))
    np.testing.assert_array_equal(found[0], table[[0, 0, 128, 255, 255]])


def test_louder_is_brighter() -> None:
    luminance = colour_table() @ np.array([0.2126, 0.7152, 0.0722])
    assert np.all(np.diff(luminance) > -0.5)
    assert luminance[0] < 5
    assert luminance[-1] > 240


def test_what_was_not_recorded_is_striped_in_neutral_greys() -> None:
    codes = np.full((96, 128), QUIET, dtype=np.uint8)
    codes[:, 96:] = 0
    codes[72:] = 0
    found = draw(codes).astype(int)
    grey = np.concatenate([found[:10].reshape(-1, 3), found[:, 52:].reshape(-1, 3)])
    assert np.all(np.ptp(grey, axis=1) < 12)
    assert grey.mean() == pytest.approx(np.mean(STRIPE_GREYS), abs=4)
    assert grey.std() > 4
    assert np.all(found[16:, :44].mean(axis=(0, 1)) < 40)


def test_stripes_are_two_greys_and_nothing_else() -> None:
    levels = np.zeros((40, 40), dtype=np.float32)
    found = coloured(levels, np.zeros(levels.shape, dtype=np.bool_), (-100.0, -20.0))
    assert {tuple(pixel) for pixel in found.reshape(-1, 3).tolist()} == {(g, g, g) for g in STRIPE_GREYS}


@given(arrays(np.uint8, (12, 8), elements=st.integers(0, 255)))
def test_a_pixel_is_the_mean_power_of_what_was_recorded_under_it(codes: NDArray[np.uint8]) -> None:
    levels, recorded = scaled(codes, width_px=4, height_px=3)
    for row in range(3):
        for column in range(4):
            under = codes[4 * row : 4 * row + 4, 2 * column : 2 * column + 2].astype(float)
            there = under > 0
            assert recorded[row, column] == (there.mean() >= 0.5)
            if recorded[row, column]:
                power = np.mean(10 ** ((under[there] * 0.5 - 124.5) / 10))
                assert levels[row, column] == pytest.approx(10 * np.log10(power), abs=0.01)


def test_sizes_that_do_not_divide_keep_the_whole() -> None:
    codes = np.full((100, 90), 100, dtype=np.uint8)
    levels, recorded = scaled(codes, width_px=37, height_px=41)
    assert levels.shape == (41, 37)
    assert recorded.all()
    np.testing.assert_allclose(levels, -74.5, atol=0.01)


def test_a_picture_is_never_larger_than_its_spectrogram() -> None:
    assert draw(np.full((20, 30), 100, dtype=np.uint8)).shape == (20, 30, 3)
    assert draw(np.full((200, 300), 100, dtype=np.uint8)).shape == (48, 64, 3)


def test_the_same_window_gives_the_same_bytes_and_no_metadata() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    first, second = (picture(codes, (-100.0, -20.0), width_px=32, height_px=32) for _ in range(2))
    assert first == second
    assert not Image.open(io.BytesIO(first)).getexif()


def test_the_range_is_the_percentiles_moved_outwards() -> None:
    codes = np.repeat(np.arange(101, 201), 10).astype(np.uint8)  # -74 to -24.5 dBFS, evenly
    missing = np.zeros(5000, dtype=np.uint8)
    histogram = level_histogram(codes) + level_histogram(missing)
    assert level_range(histogram, (10.0, 90.0)) == (-70.0, -25.0)
    assert level_range(histogram, (0.0, 100.0)) == (-75.0, -20.0)


def test_the_range_agrees_with_numpy_on_noise() -> None:
    codes = np.random.default_rng(1).normal(110, 15, 20_000).clip(1, 255).astype(np.uint8)
    low, high = np.percentile(codes * 0.5 - 124.5, [10, 99], method="inverted_cdf")
    assert level_range(level_histogram(codes), (10.0, 99.0)) == (np.floor(low / 5) * 5, np.ceil(high / 5) * 5)


def test_a_quiet_study_still_gets_twenty_decibels_and_an_empty_one_all() -> None:
    same = level_histogram(np.full((4, 4), 101, dtype=np.uint8))
    assert level_range(same, (10.0, 99.0)) == (-75.0, -55.0)
    assert level_range(level_histogram(np.zeros((4, 4), dtype=np.uint8)), (10.0, 99.0)) == (-124.0, 3.0)


def test_rumble_does_not_set_the_range_unless_it_is_what_was_studied() -> None:
    assert bands_that_count(np.array([20.0, 99.0, 100.0, 5000.0])).tolist() == [False, False, True, True]
    assert bands_that_count(np.array([10.0, 20.0, 40.0, 5000.0])).all()


def test_attention_is_a_veil_that_is_clear_where_it_is_greatest() -> None:
    image = Image.open(io.BytesIO(veil(np.array([[0.1, 0.4], [0.0, np.nan]], dtype=np.float16))))
    pixels = np.asarray(image.convert("RGBA")).astype(int)
    assert pixels[..., 3].tolist() == [[215, 215], [161, 0]], "the lowest band at the bottom"
    assert not pixels[..., :3].any()
    assert np.asarray(Image.open(io.BytesIO(veil(np.zeros((2, 2)))))).shape == (2, 2, 4)
