"""The levels that pictures of windows show: of the windows, and of the time around them."""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.common.pages.pictures import bands_that_count, level_histogram, level_range
from jobs.common.pages.places import Place
from jobs.common.pages.scale import Scale, scale_of
from jobs.review.pictures import SIDE_SHARE, steps_aside, with_sides
from jobs.review.windows import Windows
from lake.heard import shares_speech
from lake.query.across import open_spans
from lake.shards import open_codes

PICTURE_PX = (480, 320)
"""Of a window, without its neighbours."""
PERCENTILES = (10.0, 99.9)
"""Of the levels of the windows shown: those of the darkest and the brightest colour."""
N_FOR_LEVELS = 200

Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Levels:
    """Codes of windows of shape (n_mels, n_frames).

    Attributes
    ----------
    scale
        Of all pictures: the range of levels is that of a sample of the windows.
    of_windows
        Yields the codes of windows, wider where the time around them is shown.
    """

    scale: Scale
    of_windows: Callable[[Sequence[Place]], Iterator[Codes]]


def open_levels(
    windows: Windows,
    shown: Sequence[Place],
    *,
    neighbours: bool,
    withheld: Set[tuple[int, int]],
    verdicts: pd.DataFrame,
) -> Levels:
    """Return what the pictures of a page show.

    Parameters
    ----------
    windows
        The study's, or those of imported vectors.
    shown
        The windows of the page.
    neighbours
        Whether the time before and after a window is shown.
    withheld
        Recorder number and cell of the windows that hold speech.
    verdicts
        All of the lake: they say where there is speech.
    """
    url = windows.run.output.url
    if windows.vectors is None:
        read_codes = open_codes(url)

        def alone(places: Sequence[Place]) -> Iterator[Codes]:
            yield from read_codes([place.cube_row for place in places], [place.cell for place in places])

        def wide(places: Sequence[Place]) -> Iterator[Codes]:
            return (_with_cells_beside(place, windows, read_codes, withheld) for place in places)

    else:
        length_ms, side_ms = windows.grid.window_ms, round(SIDE_SHARE * windows.grid.window_ms)
        read_window, read_wide = open_spans(url, length_ms), open_spans(url, length_ms + 2 * side_ms)

        def alone(places: Sequence[Place]) -> Iterator[Codes]:
            yield from read_window(*_spans(places))

        def wide(places: Sequence[Place]) -> Iterator[Codes]:
            rows, starts_ms = _spans(places)
            names = pd.Series([place.recorder for place in places], dtype="object")
            hides = [
                shares_speech(verdicts, names, first, first + side_ms)
                for first in (starts_ms - side_ms, starts_ms + length_ms)
            ]
            for i, codes in enumerate(read_wide(rows, starts_ms - side_ms)):
                n_side = round(codes.shape[1] * side_ms / (length_ms + 2 * side_ms))
                codes[:, :n_side] *= not hides[0][i]
                codes[:, codes.shape[1] - n_side :] *= not hides[1][i]
                yield codes

    share = (1 + 2 * SIDE_SHARE) if neighbours else 1
    size_px = (round(PICTURE_PX[0] * share), PICTURE_PX[1])
    return Levels(_scale(windows, shown, alone, size_px), wide if neighbours else alone)


def _scale(
    windows: Windows,
    shown: Sequence[Place],
    alone: Callable[[Sequence[Place]], Iterator[Codes]],
    size_px: tuple[int, int],
) -> Scale:
    mel_hz = np.asarray(windows.cube["mel"].to_numpy(), dtype=np.float64)
    bands, histogram = bands_that_count(mel_hz), np.zeros(256, dtype=np.int64)
    sample = [shown[i] for i in np.unique(np.linspace(0, len(shown) - 1, N_FOR_LEVELS).astype(int))]
    for place in sample:
        (codes,) = alone([place])
        histogram += level_histogram(codes[bands])
    return scale_of(mel_hz, windows.grid.window_ms / 1000, level_range(histogram, PERCENTILES), size_px)


def _spans(places: Sequence[Place]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = np.array([place.cube_row for place in places], dtype=np.int64)
    return rows, np.array([place.start_ms for place in places], dtype=np.int64)


def _with_cells_beside(
    place: Place,
    windows: Windows,
    read_codes: Callable[[Sequence[int], Sequence[int]], Codes],
    withheld: Set[tuple[int, int]],
) -> Codes:
    """Return a window of the cube between its neighbours that may be shown."""
    step, usable = steps_aside(windows.grid), windows.usable(place.cube_row)
    beside = [
        cell
        for cell in (place.cell - step, place.cell + step)
        if _has(usable, cell) and (place.cube_row, cell) not in withheld
    ]
    cells = [place.cell, *beside]
    found = dict(zip(cells, read_codes([place.cube_row] * len(cells), cells), strict=True))
    before, after = found.get(place.cell - step), found.get(place.cell + step)
    return with_sides(found[place.cell], before, after, windows.grid)


def _has(cells: NDArray[np.int64], cell: int) -> bool:
    at = int(np.searchsorted(cells, cell))
    return at < len(cells) and int(cells[at]) == cell
