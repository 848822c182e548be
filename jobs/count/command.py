"""The ``count`` job: a cube, verdicts, batches and detections in, tables out."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from jobs.common.folders import publish
from jobs.common.needs import LIBRARIES_BYTES, described
from jobs.common.run import Options, Outcome, Run
from jobs.common.space import Space
from jobs.count.config import Config
from lake.batch_files import batch_names
from lake.batches import read_batch
from lake.counting.periods import PERIODS
from lake.counting.study import UNIT, Answers, Windows, answers_on, count_sound, detection_history, windows_of
from lake.errors import InputError
from lake.layout import safe_name
from lake.query.select import open_any
from lake.read import open_detections, values_at
from lake.sounds import SPEECH
from lake.tables import defused_table
from lake.verdicts import read_verdicts

UNITS = "windows without overlap"
COUNTS_FILE, COUNTS_STORE, HISTORIES, HISTORY_FILE = "counts.csv", "counts.zarr", "histories", "history.csv"
NUMBERS = (
    "effort_h", "n_windows", "n_heard", "n_sample", "n_left_out", "verified_minimum", "estimate", "estimate_high",
    "low", "high",
)  # fmt: skip
ROW_BYTES, CELL_BYTES, WINDOW_BYTES = 400, 30, 400
N_FILES = 60
"""More than the files of the table and the store."""


def execute(run: Run[Config], options: Options) -> Outcome:
    """Count every sound that somebody answered or was asked about, by site and period.

    Raises
    ------
    InputError
        If there are no verdicts.
    """
    windows, answers, sounds = _study(run)
    run = options.begin(run, Outcome(did=True, counts={}))
    tables = [
        count_sound(sound, windows, answers, probability=_probability(run, sound, windows), level=run.config.level)
        for sound in sounds
    ]
    counts = pd.concat(tables, ignore_index=True)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write(defused_table(counts), folder / COUNTS_FILE)
        _write_store(counts, folder / COUNTS_STORE)
        for sound in sounds:
            history = detection_history(sound, windows, answers, run.config.occasion)
            _write_history(sound, history, folder / HISTORIES / safe_name(sound))
        publish(run, folder)
    season = counts[counts["kind"] == "season"]
    left_out = int(season["n_left_out"].sum())
    notes = list(answers.notes)
    n_unknown = int(windows.table["time_local"].isna().sum())
    if n_unknown:
        notes.append(
            f"{n_unknown} windows have no local time: they are in no night, day, week or hour, and in no detection "
            "history. Name the zone of their recorders in `catalog --zone`"
        )
    if left_out:
        notes.append(f"{left_out} answers are of no sample: they count for verified minima, not for estimates")
    known = season["estimate"].notna() & (season["n_windows"] > 0)
    told = {
        "sounds": len(sounds), "sites": len(windows.sites), "windows": len(windows.table),
        "batches": len(answers.batches), "seasons": len(season), "seasons_estimated": int(known.sum()),
        "answers_left_out": left_out,
    }  # fmt: skip
    return Outcome(did=True, counts=told, backend="numpy", notes=notes)


def describe(run: Run[Config], _options: Options) -> list[str]:
    """Return what a run would read, write and take."""
    windows, answers, sounds = _study(run)
    n_sites = len(windows.sites)
    n_periods = sum(min(len(windows.table), _most_periods(kind, windows)) for kind in PERIODS)
    n_rows = len(sounds) * n_sites * (n_periods + len(PERIODS))
    occasions = _most_periods(run.config.occasion, windows)
    n_bytes = n_rows * (ROW_BYTES + CELL_BYTES * len(NUMBERS)) + 6 * len(sounds) * n_sites * occasions * CELL_BYTES
    return described(
        run,
        read=[f"{len(windows.table)} windows, {len(answers.verdicts)} verdicts and {len(answers.batches)} batches"],
        written=f"counts of {len(sounds)} sounds at {n_sites} sites, and their detection histories",
        takes=Space(n_bytes + 200_000, N_FILES + 4 * len(sounds)),
        memory_bytes=LIBRARIES_BYTES + WINDOW_BYTES * windows.n_usable,
    )


def _study(run: Run[Config]) -> tuple[Windows, Answers, list[str]]:
    verdicts = read_verdicts(run.lake)
    batches = [read_batch(run.lake, name) for name in batch_names(run.lake)]
    sounds = sorted({*verdicts["sound"], *(sound for batch in batches for sound in batch.sounds)} - {SPEECH})
    if verdicts.empty:
        raise InputError(
            f"run {run.name!r}: the lake has no verdicts to count. Draw windows with `dawnchorus review MANIFEST "
            "--order count`, and bring the answers in with `dawnchorus verdicts add`."
        )
    with open_any(run.inputs["spectrograms"].output.url) as cube:
        windows = windows_of(cube)
    return windows, answers_on(windows, verdicts, batches), sounds


def _most_periods(kind: str, windows: Windows) -> int:
    """Return more periods of a kind than a study has."""
    days = windows.grid.n_days + 2
    return {"season": 1, "hour": 24, "week": days // 7 + 2}.get(kind, days) + 1


def _probability(run: Run[Config], sound: str, windows: Windows) -> NDArray[np.float64] | None:
    """Return a detector's probability of each window, if there is one of the sound."""
    if "detections" not in run.inputs:
        return None
    with open_detections(run.inputs["detections"].output.url) as store:
        known = [str(one) for one in store["sound"].to_numpy()]
        if sound not in known:
            return None
        one = store.isel(sound=known.index(sound))
        recorder, cell = (windows.table[name].to_numpy(np.int64) for name in ("i_recorder", "cell"))
        return values_at(one, "probability", recorder, cell).astype(np.float64)


def _write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table.to_csv(index=False, float_format="%.6g", na_rep="NA"), encoding="utf-8")


def _write_history(sound: str, history: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write a detection history, a file for each matrix, and all of them with a row for each site and occasion."""
    for name, table in history.items():
        _write(table.reset_index(names="site"), folder / f"{name}.csv")
    rows = pd.concat({name: table.stack(future_stack=True) for name, table in history.items()}, axis=1)
    rows = rows.rename_axis(["site", "occasion"]).reset_index()
    rows.insert(0, "sound", sound)
    rows.insert(3, "unit", UNIT)
    _write(defused_table(rows), folder / HISTORY_FILE)


def _write_store(counts: pd.DataFrame, path: Path) -> None:
    """Write counts on (sound, site, period); a period is named by its kind and name."""
    named = counts.assign(period=counts["kind"] + " " + counts["period"])
    store = xr.Dataset.from_dataframe(named.set_index(["sound", "site", "period"])[[*NUMBERS, "method"]])
    store["method"] = store["method"].fillna("").astype(object)
    for name in NUMBERS:
        store[name] = store[name].astype(np.float64)
        store[name].attrs["units"] = "h" if name == "effort_h" else UNITS
    store.attrs = {"title": "Counts of sounds", "unit": UNIT}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strings are of a data type that Zarr's specification does not name yet
        store.to_zarr(path, zarr_format=3, consolidated=False)
