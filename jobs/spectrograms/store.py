"""The cube's schema, tables and commit for a run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.common.run import Run
from jobs.spectrograms.config import Config
from jobs.spectrograms.mel import mel_centres_hz
from jobs.spectrograms.plan import Plan
from lake.errors import StoreError
from lake.grid import Grid
from lake.read import open_store, table_rows
from lake.run_records import COMMIT_RECORD
from lake.schema import DEPLOYMENT_COLUMNS, RECORDING_COLUMNS, StoreSpec, cube_spec
from lake.write import commit, row_key

Row = dict[str, Any]


def run_spec(run: Run[Config], grid: Grid) -> StoreSpec:
    """Return the schema of a run's cube."""
    config = run.config
    attrs = {**run.store_attrs, "grid": grid.attrs, "title": "log-mel spectrograms with absolute levels"}
    n_cells = config.cells_per_shard
    return cube_spec(grid, n_mels=config.n_mels, n_frames=config.n_frames, cells_per_shard=n_cells, attrs=attrs)


def commit_run(run: Run[Config], plan: Plan) -> None:
    """Write index variables, tables and metadata from the ledger: after this the store opens, or has grown."""
    config = run.config
    recordings, deployments = _tables(run)
    tables: dict[str, NDArray[Any]] = {
        "mel": mel_centres_hz(config),
        "frame": (np.arange(config.n_frames) + 0.5) * config.window_s / config.n_frames,
        "time_is_real": np.array(plan.real_time),
        **{name: _column(recordings, key, fill) for name, (key, fill) in RECORDING_COLUMNS.items()},
        **{name: _column(deployments, key, fill) for name, (key, fill) in DEPLOYMENT_COLUMNS.items()},
    }
    maps = {
        "recording": {row_key(row): i for i, row in enumerate(recordings)},
        "deployment": {row_key(row): i for i, row in enumerate(deployments)},
    }
    commit(run.output, run.ledger, run_spec(run, plan.grid), plan.recorders, tables, row_maps=maps)


def stored_rows(run: Run[Config], columns: Mapping[str, tuple[str, Any]]) -> list[Row]:
    """Return the rows of a table of the store as it was last finalised, none before that.

    Raises
    ------
    StoreError
        If it was finalised and its root metadata are gone: the rows that it had would get other numbers.
    """
    if not run.output.exists("zarr.json"):
        if run.ledger.committed() is not None and not run.ledger.is_committing():
            record = run.ledger.storage.path(COMMIT_RECORD)
            raise StoreError(
                f"{run.output.path('zarr.json')}: expected the metadata of a finalised store, found no file. Restore "
                f"it from a copy; or remove {record} as well, and type the command again: both are written again."
            )
        return []
    is_listed = run.ledger.committed() is not None or run.ledger.is_committing()
    with open_store(run.output.url, "spectrograms", mask_and_scale=False, compared=is_listed) as cube:
        return table_rows(cube, columns)


def _tables(run: Run[Config]) -> tuple[list[Row], list[Row]]:
    """Return the rows of both tables: those of the store first, as they stand, then new ones in order."""
    fresh: list[Row] = []
    latest: dict[str, Row] = {}
    for _, _, day in run.ledger.entries():
        for entry in day.values():
            fresh += entry.recordings
            latest.update({row_key(row): row for row in entry.deployments})
    recordings = {row_key(row): row for row in stored_rows(run, RECORDING_COLUMNS)}
    for row in sorted(fresh, key=lambda row: (row["recorder"], row["start_ms"], row["sha256"])):
        recordings.setdefault(row_key(row), row)
    known = [row["deployment"] for row in stored_rows(run, DEPLOYMENT_COLUMNS)]
    order = dict.fromkeys([*known, *sorted(latest)])
    return list(recordings.values()), [latest[key] for key in order if key in latest]


def _column(rows: list[Row], key: str, fill: str | float) -> NDArray[Any]:
    values = [fill if row.get(key) is None else row[key] for row in rows]
    return np.array(values, dtype=object if isinstance(fill, str) else np.asarray(fill).dtype)
