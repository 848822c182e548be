"""The truth plays the reviewer: what a person would say of windows, from a table of labels."""

import csv
import io

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.common.labels.intervals import Labels
from lake.batches import Batch
from lake.grid import Grid, iso
from lake.read import Windows

REVIEWER = "truth"
MIN_OVERLAP_MS = 500
"""Milliseconds of a sound that must lie in a window for a person to hear it there."""
DECIDED_AT = "2021-06-26T00:00:00Z"
"""Time of all verdicts, so that the same demo has the same deliveries."""
COLUMNS = ("recorder", "time_utc", "duration_s", "sound", "verdict", "reviewer", "decided_at", "batch", "draw")


def sounds_in(truth: Labels, windows: Windows, recorders: list[str], grid: Grid) -> NDArray[np.bool_]:
    """Return whether each labelled sound is in each window, shape (n_windows, n_labels), in the order of the labels."""
    present = np.zeros((len(windows), len(truth.names)), dtype=np.bool_)
    for i, recorder in enumerate(recorders):
        if recorder not in truth.by_recorder:
            continue
        rows = np.flatnonzero(windows.recorder == i)
        start_ms = grid.origin_ms + windows.cell[rows] * grid.hop_ms
        found = truth.by_recorder[recorder]
        for begin, end, label in zip(found.start_ms, found.end_ms, found.label, strict=True):
            shared = np.minimum(start_ms + grid.window_ms, end) - np.maximum(start_ms, begin)
            present[rows[shared >= MIN_OVERLAP_MS], label] = True
    return present


def answers_to(batch: Batch, truth: Labels, recorders: list[str], grid: Grid) -> bytes:
    """Return the table that a page would give once every window of a batch was answered for every sound.

    Parameters
    ----------
    batch
        The batch; its sounds are labels of the truth, those that are not are answered ``no``.
    truth
        What is to be heard.
    recorders, grid
        Axes of the cube.

    Returns
    -------
    bytes
        CSV in UTF-8 with the columns :data:`COLUMNS`, as ``dawnchorus verdicts add`` takes it.
    """
    numbers = {name: i for i, name in enumerate(recorders)}
    start_ms = batch.table["time_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    recorder = np.array([numbers[name] for name in batch.table["recorder"]], dtype=np.int32)
    present = sounds_in(truth, Windows(recorder, (start_ms - grid.origin_ms) // grid.hop_ms), recorders, grid)
    heard = pd.DataFrame(present, columns=list(truth.names))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for i, row in enumerate(batch.table.itertuples(index=False)):
        for sound in batch.sounds:
            verdict = "yes" if sound in heard and heard[sound][i] else "no"
            where = (row.recorder, iso(int(start_ms[i])), f"{row.duration_s:g}")
            writer.writerow([*where, sound, verdict, REVIEWER, DECIDED_AT, batch.name, row.draw])
    return out.getvalue().encode()
