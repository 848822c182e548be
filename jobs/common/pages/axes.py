"""Ticks of an axis: positions and texts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.common.pages.words import plain

LEAST_DISTANCE_PERCENT = 8.0
"""Nearest that two ticks of the frequency axis come, so that their labels do not touch."""


@dataclass(frozen=True)
class Tick:
    """A tick.

    Attributes
    ----------
    percent
        Distance from the start of the axis (left or bottom), in percent of its length.
    label
        The text next to it.
    """

    percent: float
    label: str


def linear_ticks(low: float, high: float, n_most: int = 8, *, least_step: float = 0) -> list[Tick]:
    """Return ticks at multiples of 1, 2 or 5 times a power of ten, on an axis from low to high.

    Parameters
    ----------
    low, high
        Ends of the axis.
    n_most
        Ticks at most, the one at ``low`` not counted.
    least_step
        Least distance of two ticks: 1 for counts.

    Examples
    --------
    >>> [(tick.percent, tick.label) for tick in linear_ticks(0, 6, 4)]
    [(0.0, '0'), (33.3333, '2'), (66.6667, '4'), (100.0, '6')]
    """
    step = 10.0 ** np.floor(np.log10((high - low) / n_most))
    step *= next(f for f in (1, 2, 5, 10) if (high - low) / (f * step) + 1e-6 < n_most + 1)
    step = max(step, least_step)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    values = np.arange(first, last + 1) * step + 0.0  # no negative zero
    return [Tick(_percent((v - low) / (high - low)), plain(v)) for v in values]


def frequency_ticks(mel_hz: NDArray[np.float64]) -> list[Tick]:
    """Return ticks in kHz on an axis of mel bands, from the bottom.

    Parameters
    ----------
    mel_hz
        Centre frequency of each band, ascending, shape (n_mels,); the bands are equally high.

    Returns
    -------
    list of Tick
        At round frequencies, as many as have room, rounder ones first. The outer edges of the outermost
        bands, half a band beyond the picture, stand at its ends.
    """
    n = len(mel_hz)
    if n < 2:
        return [Tick(50.0, plain(float(mel_hz[0]) / 1000))]
    edges = [2 * mel_hz[0] - mel_hz[1], *mel_hz, 2 * mel_hz[-1] - mel_hz[-2]]
    places = np.arange(-0.5, n + 1) / n
    # Spacing grows with frequency, so the edges lie a little beyond where a straight line puts them.
    slack_hz = 0.1 * np.diff(edges)[[0, -1]]
    ticks: list[Tick] = []
    for candidate in _round_frequencies_hz(float(edges[-1] + slack_hz[1])):
        if not edges[0] - slack_hz[0] <= candidate <= edges[-1] + slack_hz[1]:
            continue
        percent = _percent(float(np.clip(np.interp(candidate, edges, places), 0, 1)))
        if all(abs(percent - tick.percent) >= LEAST_DISTANCE_PERCENT for tick in ticks):
            ticks.append(Tick(percent, plain(candidate / 1000)))
    return sorted(ticks, key=lambda tick: tick.percent)


def _round_frequencies_hz(highest_hz: float) -> list[float]:
    """Return frequencies up to the highest, the roundest first."""
    decades = [10.0**e for e in range(int(np.floor(np.log10(max(highest_hz, 1)))), 0, -1)]
    sets = ((1,), (2, 5), (4, 8), (3, 6), (1.5, 7), (1.2, 2.5))
    return [0.0, *(factor * decade for factors in sets for decade in decades for factor in factors)]


def _percent(share: float) -> float:
    return round(100 * float(share), 4) + 0.0
