"""Counts on a grid as a tiny picture, one pixel a count, that a page enlarges."""

import io
from dataclasses import dataclass
from functools import cache

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.common.pages.axes import Tick

HEAT_MAP = "viridis"
"""Perceptually uniform, as the spectrograms' map is, but told from it at a glance."""


@dataclass(frozen=True)
class Heat:
    """A picture of counts.

    Attributes
    ----------
    key
        Its file.
    highest
        What the brightest colour stands for.
    date_ticks
        Dates below it.
    """

    key: str
    highest: float
    date_ticks: tuple[Tick, ...]


def heat_png(values: NDArray[np.float64], highest: float) -> bytes:
    """Draw a grid of values.

    Parameters
    ----------
    values
        From 0 to ``highest``, first row at the bottom, shape (n_rows, n_columns); NaN is transparent.
    highest
        The value of the brightest colour.

    Returns
    -------
    bytes
        A PNG file of one pixel a value.
    """
    there = np.isfinite(values)
    places = np.rint(np.where(there, values, 0) / max(highest, 1e-12) * 255).clip(0, 255).astype(np.uint8)
    pixels = np.zeros((*values.shape, 4), dtype=np.uint8)
    pixels[..., :3], pixels[..., 3] = heat_table()[places], np.where(there, 255, 0)
    file = io.BytesIO()
    Image.fromarray(pixels[::-1]).save(file, "PNG", optimize=True)
    return file.getvalue()


@cache
def heat_table() -> NDArray[np.uint8]:
    """Return the colours of the map from low to high, uint8, shape (256, 3)."""
    table = matplotlib.colormaps[HEAT_MAP](np.linspace(0, 1, 256))
    return np.asarray(np.rint(np.asarray(table)[:, :3] * 255), dtype=np.uint8)


def share_of_effort(counts: NDArray[np.int64], effort: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return counts divided by effort, NaN where there was none."""
    return np.where(effort > 0, counts / np.maximum(effort, 1), np.nan)
