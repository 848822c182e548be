"""Levels of the darkest and the brightest colour: one range for all pictures but those of much quieter recorders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.atlas.config import Config
from jobs.atlas.shown import Shown, places_of
from jobs.atlas.study import Stores
from jobs.atlas.windows import Table
from jobs.common.pages.pictures import bands_that_count, level_histogram, level_range
from jobs.common.progress import progress
from jobs.common.run import Run
from lake.query.across import ReadSpans
from lake.read import Windows

N_OF_RECORDER = 8
"""Windows of a recorder, evenly spaced, that say how loud it is, besides its exemplars."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Levels:
    """Levels in dBFS of the darkest and the brightest colour.

    Attributes
    ----------
    common
        Of all pictures but those of quiet recorders.
    own
        Of each quiet recorder, by its number in the clustering.
    """

    common: Range
    own: Mapping[int, Range]

    def of(self, recorder: int) -> Range:
        """Return the range of a recorder's pictures."""
        return self.own.get(recorder, self.common)


def levels_of(
    run: Run[Config],
    stores: Stores,
    read_codes: ReadSpans,
    shown: Sequence[Sequence[Shown]],
    *,
    table: Table,
    withheld: NDArray[np.bool_],
) -> Levels:
    """Return the ranges that the pictures call for.

    Parameters
    ----------
    run, stores, read_codes
        The atlas, and what its pictures are read from.
    shown
        The windows of each cluster's page; the exemplars among them decide the common range.
    table, withheld
        All windows, and which of them are not shown.

    Notes
    -----
    A recorder is quiet if its brightest levels, by the same percentiles, are below the middle of the common range: its
    pictures would be black. Levels that the settings name are those of all pictures.
    """
    config = run.config
    if config.level_range_db != "auto":
        return Levels(config.level_range_db, {})
    bands = bands_that_count(np.asarray(stores.cube["mel"].to_numpy(), dtype=np.float64))
    number = {name: i for i, name in enumerate(stores.recorders)}
    histograms = np.zeros((len(stores.recorders), 256), dtype=np.int64)
    chosen = [[one for one in group if one.kind == "exemplar"] for group in shown]
    sampled = _sampled(table, withheld) if len(stores.recorders) > 1 else []
    with progress(f"{run.name}: levels", sum(map(len, chosen)) + sum(map(len, sampled)), "windows") as advance:
        for group in chosen:
            for one, window in zip(group, read_codes(*places_of(group)), strict=True):
                histograms[number[one.recorder]] += level_histogram(window[bands])
                advance(1)
        common = level_range(histograms.sum(axis=0), config.level_percentiles)
        for rows in sampled:
            windows = Windows(table.recorder[rows], table.cell[rows])
            for window in read_codes(stores.cube_row[windows.recorder], stores.starts_ms(windows)):
                histograms[windows.recorder[0]] += level_histogram(window[bands])
                advance(1)
    heard = np.flatnonzero(histograms[:, 1:].any(axis=1)).tolist()
    found = {i: level_range(histograms[i], config.level_percentiles) for i in heard}
    return Levels(common, {i: own for i, own in found.items() if own[1] < sum(common) / 2})


def _sampled(table: Table, withheld: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Return rows of each recorder that has any, evenly spaced."""
    rows = np.flatnonzero(~withheld)
    edges = np.flatnonzero(np.diff(table.recorder[rows])) + 1
    groups = [group for group in np.split(rows, edges) if len(group)]
    return [group[np.unique(np.linspace(0, len(group) - 1, N_OF_RECORDER).astype(int))] for group in groups]
