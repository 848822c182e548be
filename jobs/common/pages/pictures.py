"""Spectrograms as small pictures: codes in, the bytes of a WebP file out."""

import io
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.common.network.levels import LEVELS_DB
from lake.constants import LEVEL_MAX_DB, LEVEL_MIN_DB

COLOUR_MAP = "magma"
"""A perceptually uniform colour map of matplotlib: brighter is louder, also in print and to the colour-blind."""
COLOURS = files("jobs.common.pages") / "magma.hex"
"""Its colours, six hexadecimal digits each: the light installation has no matplotlib."""
N_COLOURS = 256
STRIPE_GREYS = (128, 146)
STRIPE_PX = 8
RANGE_STEP_DB = 5.0
RANGE_LEAST_DB = 20.0
RUMBLE_HZ = 100.0
VEIL_ALPHA = 215
WEBP_QUALITY = 75
WEBP_METHOD = 2  # a higher one takes longer and makes spectrograms no smaller


def bands_that_count(mel_hz: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which bands the range of levels is taken from, bool, shape (n_mels,).

    Those from 100 Hz up: below, wind, handling and the recorder's own offset are often far louder than
    anything alive, and would leave the rest in the dark. All bands, if those are less than half.
    """
    above = mel_hz >= RUMBLE_HZ
    return above if above.mean() >= 0.5 else np.ones(len(mel_hz), dtype=np.bool_)


def level_histogram(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how often each code occurs, shape (256,)."""
    return np.bincount(codes.ravel(), minlength=256)


def level_range(histogram: NDArray[np.int64], percentiles: tuple[float, float]) -> tuple[float, float]:
    """Return the levels in dBFS of the darkest and the brightest colour.

    Parameters
    ----------
    histogram
        How often each code occurs in the pictures, shape (256,); code 0 (missing) does not count.
    percentiles
        Of the recorded levels.

    Returns
    -------
    tuple
        The percentiles, moved outwards to multiples of 5 dB and at least 20 dB apart. The whole range of
        codes if nothing was recorded.
    """
    recorded = histogram.copy()
    recorded[0] = 0
    share = np.cumsum(recorded)
    if share[-1] == 0:
        return LEVEL_MIN_DB, LEVEL_MAX_DB
    wanted = np.asarray(percentiles) / 100 * share[-1]
    low_db, high_db = (float(level) for level in LEVELS_DB[np.searchsorted(share, np.maximum(wanted, 1))])
    low_db = np.floor(low_db / RANGE_STEP_DB) * RANGE_STEP_DB
    high_db = max(np.ceil(high_db / RANGE_STEP_DB) * RANGE_STEP_DB, low_db + RANGE_LEAST_DB)
    return float(low_db), float(high_db)


def picture(
    codes: NDArray[np.uint8],
    level_range_db: tuple[float, float],
    *,
    width_px: int,
    height_px: int,
    quality: int = WEBP_QUALITY,
) -> bytes:
    """Draw the spectrogram of one window.

    Parameters
    ----------
    codes
        Level codes, lowest band first, 0 where nothing was recorded, shape (n_mels, n_frames).
    level_range_db
        Levels of the darkest and the brightest colour in dBFS; what lies beyond has the colour of the end.
    width_px, height_px
        Size of the picture; smaller where the spectrogram is, since enlarging adds nothing.
    quality
        WebP's, 0 to 100.

    Returns
    -------
    bytes
        A WebP file without metadata. Time runs to the right, the lowest band is at the bottom, what was
        not recorded is striped in two greys.
    """
    levels, recorded = scaled(codes, width_px=width_px, height_px=height_px)
    pixels = coloured(levels, recorded, level_range_db)[::-1]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=quality, method=WEBP_METHOD)
    return file.getvalue()


def scaled(codes: NDArray[np.uint8], *, width_px: int, height_px: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a smaller spectrogram: the level of the mean power of what was recorded under each pixel.

    Parameters
    ----------
    codes
        Level codes, shape (n_mels, n_frames).
    width_px, height_px
        Size at most.

    Returns
    -------
    levels
        dBFS, float32, shape (height, width), lowest band first; the lowest level where nothing was recorded.
    recorded
        Whether at least half of the pixel was recorded, same shape.
    """
    size = (min(width_px, codes.shape[1]), min(height_px, codes.shape[0]))
    power = _shrunk(_power_of_codes()[codes], size)
    recorded = np.ones(power.shape, dtype=np.bool_)
    if not codes.all():
        share = _shrunk((codes > 0).astype(np.float32), size)
        recorded = share >= 0.5
        power = (power / np.where(recorded, share, 1)).astype(np.float32)
    floor = np.float32(10 ** (LEVEL_MIN_DB / 10))
    levels = 10 * np.log10(np.maximum(np.where(recorded, power, floor), floor))
    return levels.astype(np.float32), recorded


def coloured(
    levels: NDArray[np.float32], recorded: NDArray[np.bool_], level_range_db: tuple[float, float]
) -> NDArray[np.uint8]:
    """Return levels in dBFS as colours, uint8, shape (height, width, 3); grey stripes where not recorded."""
    low_db, high_db = level_range_db
    places = np.rint((levels - low_db) / (high_db - low_db) * (N_COLOURS - 1))
    pixels: NDArray[np.uint8] = colour_table()[np.clip(places, 0, N_COLOURS - 1).astype(np.uint8)]
    if not recorded.all():
        rows, columns = np.indices(recorded.shape)
        greys = np.asarray(STRIPE_GREYS, dtype=np.uint8)[(rows + columns) // STRIPE_PX % 2]
        pixels[~recorded] = greys[~recorded][:, None]
    return pixels


def veil(attention: NDArray[np.floating[Any]]) -> bytes:
    """Draw a map of attention as a veil that leaves bright what is attended to.

    Parameters
    ----------
    attention
        Not negative, lowest bands first, shape (n_token_mels, n_token_frames).

    Returns
    -------
    bytes
        A PNG file of one pixel a token: black, clear at the greatest attention, nearly opaque at none.
    """
    known = np.nan_to_num(attention.astype(np.float64))
    pixels = np.zeros((*known.shape, 4), dtype=np.uint8)
    pixels[..., 3] = np.rint(VEIL_ALPHA * (1 - known / max(float(known.max()), 1e-12)))
    file = io.BytesIO()
    Image.fromarray(pixels[::-1]).save(file, "PNG", optimize=True)
    return file.getvalue()


@cache
def colour_table() -> NDArray[np.uint8]:
    """Return the colours of the map from quiet to loud, uint8, shape (256, 3)."""
    table = COLOURS.read_text(encoding="ascii")
    return np.frombuffer(bytes.fromhex(table), dtype=np.uint8).reshape(N_COLOURS, 3)


@cache
def _power_of_codes() -> NDArray[np.float32]:
    power = 10 ** (LEVELS_DB / 10)
    power[0] = 0
    return power.astype(np.float32)


def _shrunk(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return area means, shape (size[1], size[0])."""
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BOX))
