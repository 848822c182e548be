"""The audit of nuisances: how well vectors and clusters tell recorder, gain, hour and day."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.evaluate.config import Config
from jobs.evaluate.measures import accuracies, explained, table_of, with_intervals
from jobs.evaluate.probes import Prepare, held_out, neighbours, standardised
from jobs.evaluate.splits import grouped_folds, leaky_folds
from lake.constants import MS_PER_DAY, MS_PER_HOUR, OFFSET_UNKNOWN_S, UNTIMED
from lake.grid import Grid
from lake.read import Windows, grid_of, recorder_names, values_at

Ints = NDArray[np.int64]
TARGETS = ("recorder", "gain", "hour", "day")


@dataclass(frozen=True)
class Nuisances:
    """Properties of windows other than their sound; numbers from 0, shape (n_windows,), -1 where not known.

    Attributes
    ----------
    recorder, gain, hour, day
        Recorder, gain of its deployment, hour of the day (local where the cube knows it) and day (UTC).
    recording
        Recording that it begins in; the recorder's day where that is not known.
    """

    recorder: Ints
    gain: Ints
    hour: Ints
    day: Ints
    recording: Ints


@dataclass(frozen=True)
class Audited:
    """One nuisance of one input.

    Attributes
    ----------
    role, run, target
        Input and nuisance.
    n_windows, n_values
        Windows that were looked at, and different values among them.
    grouped, low, high
        Balanced accuracy of k-NN, no recording on both sides, and its interval over resampled recordings; NaN
        for clusterings.
    leaky
        The same with windows split as if they were independent.
    chance
        Balanced accuracy of a guess.
    share
        Of vectors: the share of their variance (as the probes get them: whitened, or standardised features) between
        the values, less what chance would give. Of clusters: the share of their entropy, likewise.
    """

    role: str
    run: str
    target: str
    n_windows: int
    n_values: int
    grouped: float
    low: float
    high: float
    leaky: float
    chance: float
    share: float


def nuisances(store: xr.Dataset, windows: Windows, cube: xr.Dataset | None) -> Nuisances:
    """Return the nuisances of windows of a store; gain, recording and local time are the cube's."""
    grid, names = grid_of(store), recorder_names(store)
    start_ms = grid.origin_ms + windows.cell * grid.hop_ms
    real = np.array([not name.startswith(UNTIMED) for name in names])[windows.recorder]
    recorder = windows.recorder.astype(np.int64)
    gain, recording = np.full(len(windows), np.nan), np.full(len(windows), -1, dtype=np.int64)
    offset_s = np.zeros(len(windows), dtype=np.int64)
    if cube is not None:
        offset_s, gain, recording = _of_cube(cube, names, windows, grid)
    local_ms = start_ms + np.where(offset_s == OFFSET_UNKNOWN_S, 0, offset_s) * 1000
    day, n_days = start_ms // MS_PER_DAY, int(start_ms.max() // MS_PER_DAY) + 1 if len(windows) else 1
    own = -2 - (recorder * n_days + day)  # below every row of the cube's table
    return Nuisances(
        _numbered(recorder.astype(np.float64)),
        _numbered(gain),
        _numbered(np.where(real, local_ms % MS_PER_DAY // MS_PER_HOUR, np.nan)),
        _numbered(np.where(real, day, np.nan)),
        _numbered(np.where(recording < 0, own, recording).astype(np.float64)),
    )


def audit_vectors(
    role: str,
    run: str,
    vectors: NDArray[np.float32],
    found: Nuisances,
    config: Config,
    *,
    prepare: Prepare = standardised,
) -> list[Audited]:
    """Return what vectors, shape (n_windows, n_features), tell about each nuisance that has two values or more."""
    rows = []
    predict = neighbours(config.n_neighbours, prepare)
    for target in TARGETS:
        there, values, recordings = _known(found, target)
        if not len(there):
            continue
        x = vectors[there]
        folds = grouped_folds(recordings, values, config.n_folds, config.seed)
        grouped = accuracies(held_out(predict, x, values, folds), values)
        told = with_intervals(grouped, recordings, n_bootstrap=config.n_bootstrap, seed=config.seed)
        mixed = leaky_folds(values, config.n_folds, config.seed)
        leaky = accuracies(held_out(predict, x, values, mixed), values)(np.ones(len(values), dtype=np.int64))
        n_values = len(np.unique(values))
        value, low, high = (round(v, 4) for v in told["balanced_accuracy"])
        leak, chance = round(leaky["balanced_accuracy"], 4), round(1 / n_values, 4)
        share = round(between(prepare(x, x)[0], values), 4)
        rows.append(Audited(role, run, target, len(there), n_values, value, low, high, leak, chance, share))
    return rows


def audit_clusters(role: str, run: str, clusters: Ints, found: Nuisances) -> list[Audited]:
    """Return the share of the clusters' entropy that each nuisance explains."""
    rows = []
    for target in TARGETS:
        there, values, _ = _known(found, target)
        if len(there):
            table = table_of(clusters[there], values, np.ones(len(there), dtype=np.int64))
            n_values, nothing = len(np.unique(values)), float("nan")
            chance = round(1 / n_values, 4)
            share = round(explained(table), 4)
            rows.append(
                Audited(role, run, target, len(there), n_values, nothing, nothing, nothing, nothing, chance, share)
            )
    return rows


def between(vectors: NDArray[np.float32], values: Ints) -> float:
    """Return the share of the vectors' variance that lies between groups, less what chance gives.

    Notes
    -----
    1 - (SSW / (n - g)) / (SST / (n - 1)), the adjusted coefficient of determination, over all features.
    """
    x = vectors - vectors.mean(axis=0, dtype=np.float64)
    n, groups = len(x), np.unique(values, return_inverse=True)[1]
    sizes = np.bincount(groups)
    if n <= len(sizes):
        return float("nan")
    means = np.zeros((len(sizes), x.shape[1]))
    np.add.at(means, groups, x)
    within = np.square(x).sum() - (np.square(means).sum(axis=1) / sizes).sum()
    total = np.square(x).sum()
    return float(1 - (within / (n - len(sizes))) / (total / (n - 1))) if total > 0 else 0.0


def _known(found: Nuisances, target: str) -> tuple[Ints, Ints, Ints]:
    """Return the rows where a nuisance is known, its values and their recordings; no rows where there is one value."""
    values: Ints = getattr(found, target)
    there = np.flatnonzero(values >= 0)
    recordings = np.unique(found.recording[there], return_inverse=True)[1].astype(np.int64)
    kept = np.unique(values[there], return_inverse=True)[1].astype(np.int64)
    if not len(there) or kept.max() == 0 or recordings.max() == 0:
        return np.empty(0, dtype=np.int64), kept, recordings
    return there, kept, recordings


def _of_cube(
    cube: xr.Dataset, names: list[str], windows: Windows, grid: Grid
) -> tuple[Ints, NDArray[np.float64], Ints]:
    """Return offset from UTC in seconds, gain in dB and recording of windows, by the cube's cell at their start."""
    theirs, known = grid_of(cube), recorder_names(cube)
    cell = (grid.origin_ms + windows.cell * grid.hop_ms - theirs.origin_ms) // theirs.hop_ms
    offset_s, recording = np.full(len(cell), OFFSET_UNKNOWN_S, dtype=np.int64), np.full(len(cell), -1, dtype=np.int64)
    deployment = np.full(len(cell), -1, dtype=np.int64)
    for i in np.unique(windows.recorder):
        rows = np.flatnonzero((windows.recorder == i) & (cell >= 0) & (cell < theirs.n_cells))
        if names[i] not in known or not len(rows):
            continue
        own = np.full(len(rows), known.index(names[i]))
        for name, out in (("utc_offset_s", offset_s), ("recording", recording), ("deployment", deployment)):
            out[rows] = values_at(cube, name, own, cell[rows])
    gains = np.concatenate([cube["gain_db"].to_numpy().astype(np.float64), [np.nan]])
    return offset_s, gains[deployment], recording


def _numbered(values: NDArray[np.float64]) -> Ints:
    out = np.full(len(values), -1, dtype=np.int64)
    there = ~np.isnan(values)
    out[there] = np.unique(values[there], return_inverse=True)[1]
    return out
