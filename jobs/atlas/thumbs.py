"""Small pictures of many windows on a few sheets, for what the map shows under the pointer."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.common.pages.pictures import coloured, scaled

THUMB_WIDTH_PX, THUMB_HEIGHT_PX = 120, 80
COLUMNS, ROWS = 12, 16
PER_SHEET = COLUMNS * ROWS
WEBP_QUALITY = 60


def sheet_key(number: int) -> str:
    """Return the file of a sheet."""
    return f"map/{number}.webp"


def thumb(codes: NDArray[np.uint8], level_range_db: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a small picture of a window, uint8, shape (80, 120, 3); of fewer pixels each is repeated."""
    levels, recorded = scaled(codes, width_px=THUMB_WIDTH_PX, height_px=THUMB_HEIGHT_PX)
    pixels = coloured(levels, recorded, level_range_db)[::-1]
    if pixels.shape[:2] != (THUMB_HEIGHT_PX, THUMB_WIDTH_PX):
        image = Image.fromarray(pixels).resize((THUMB_WIDTH_PX, THUMB_HEIGHT_PX), Image.Resampling.NEAREST)
        pixels = np.asarray(image)
    return pixels


def sheet(thumbs: Sequence[NDArray[np.uint8]]) -> bytes:
    """Return up to 12 × 16 thumbs as a WebP file, row by row; where there are fewer, it may have fewer rows."""
    n_rows = -(-len(thumbs) // COLUMNS)
    out = np.zeros((n_rows * THUMB_HEIGHT_PX, COLUMNS * THUMB_WIDTH_PX, 3), dtype=np.uint8)
    for i, one in enumerate(thumbs):
        row, column = divmod(i, COLUMNS)
        out[row * THUMB_HEIGHT_PX :, column * THUMB_WIDTH_PX :][:THUMB_HEIGHT_PX, :THUMB_WIDTH_PX] = one
    file = io.BytesIO()
    Image.fromarray(out).save(file, "WEBP", quality=WEBP_QUALITY, method=2)
    return file.getvalue()
