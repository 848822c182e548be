"""Axes, colours and size that all pictures of a page share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.common.pages.axes import Tick, frequency_ticks, linear_ticks


@dataclass(frozen=True)
class Scale:
    """Axes, colours and size that all pictures of a page share.

    Attributes
    ----------
    window_s, band_hz
        Length of a window, and the centres of the lowest and the highest band.
    level_range_db
        Levels of the darkest and the brightest colour.
    time_ticks, frequency_ticks, level_ticks
        Ticks in seconds, kHz and dBFS.
    size_px
        Width and height.
    """

    window_s: float
    band_hz: tuple[float, float]
    level_range_db: tuple[float, float]
    time_ticks: Sequence[Tick]
    frequency_ticks: Sequence[Tick]
    level_ticks: Sequence[Tick]
    size_px: tuple[int, int]


def scale_of(
    mel_hz: NDArray[np.float64], window_s: float, level_range_db: tuple[float, float], size_px: tuple[int, int]
) -> Scale:
    """Return the scale of pictures of windows.

    Parameters
    ----------
    mel_hz
        Centre frequency of each band, ascending, shape (n_mels,).
    window_s
        Length of a window in seconds.
    level_range_db, size_px
        As in :class:`Scale`.
    """
    return Scale(
        window_s=window_s,
        band_hz=(float(mel_hz[0]), float(mel_hz[-1])),
        level_range_db=level_range_db,
        time_ticks=linear_ticks(0, window_s),
        frequency_ticks=frequency_ticks(mel_hz),
        level_ticks=linear_ticks(*level_range_db, 5),
        size_px=size_px,
    )
