"""The ``spectrograms`` job: recordings, cube and store around the pure core.

Planning needs no torch: only what computes or names numbers imports it, so a run with nothing to do ends at once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from jobs.common import gathered
from jobs.common.days import Written
from jobs.common.gathered import Gathered
from jobs.common.memory import Memory
from jobs.common.needs import grid_notes, seasons_of, store_space
from jobs.common.partitioned import Either, Partitioned, Work
from jobs.common.run import Outcome, Recordings, Run, listed
from jobs.common.space import Space
from jobs.spectrograms.config import Config
from jobs.spectrograms.mel import mel_centres_hz
from jobs.spectrograms.plan import Day, Placed, Plan, make_plan, missing_days
from jobs.spectrograms.sizes import memory_for, missing_sound, space_for
from lake.constants import UNTIMED
from lake.deployments import assign_deployments, read_deployments, unused_deployments
from lake.errors import IdentityError, InputError, StoreError
from lake.grid import Grid
from lake.read import open_store, table_rows
from lake.recordings import read_recordings
from lake.run_records import COMMIT_RECORD
from lake.schema import DEPLOYMENT_COLUMNS, RECORDING_COLUMNS, cube_spec
from lake.specs import StoreSpec
from lake.write import commit, row_key

if TYPE_CHECKING:
    from jobs.spectrograms.partition import Partition

Row = dict[str, Any]


class Spectrograms(Partitioned[Config, Plan, Day, "Partition"]):
    """The job's own part; :class:`Partitioned` does the rest."""

    step = "spectrograms"
    source = "the table of recordings"
    differ = "levels differ by one step here and there"
    keeps_windows = True

    def plan(self, run: Run[Config]) -> Plan:
        """Return all that the cube is to hold, from the table of recordings and that of deployments."""
        if run.recordings is None:
            raise InputError(
                f"run {run.name!r} makes spectrograms, but the manifest names no recordings. "
                'Add `recordings = { table = "recordings.csv", root = "…" }`.'
            )
        table = read_recordings(run.recordings.table, in_bounds=True)
        deployments: dict[str, dict[str, Any]] = {}
        notes: tuple[str, ...] = ()
        if run.recordings.deployments is not None:
            known = read_deployments(run.recordings.deployments)
            table = assign_deployments(table, known)
            notes = tuple(unused_deployments(table, known))
            names = [key for key, _ in DEPLOYMENT_COLUMNS.values()]
            rows = known[names].astype(object).where(known[names].notna(), None).to_dict(orient="records")
            deployments = {str(row["deployment"]): {str(key): value for key, value in row.items()} for row in rows}
        settled = run.ledger.grid()
        plan = make_plan(
            table,
            run.config,
            stored_grid=(settled[0].origin_ms, settled[0].end_ms) if settled else None,
            stored_recorders=tuple(settled[1]) if settled else (),
            span_ms=run.recordings.span_ms,
        )
        return replace(plan, notes=notes, deployments=deployments)

    def missing(self, plan: Plan, written: Written, part: tuple[int, int] | None = None) -> list[Day]:
        """Return the days with blocks to write, with the recordings that they touch."""
        return missing_days(plan, written, part)

    def check(self, run: Run[Config], plan: Plan) -> None:
        """Refuse a table from which recordings that the store holds are gone, or in which they changed."""
        _refuse_changed(run, plan)

    def require(self, work: Work[Config, Plan, Day]) -> str:
        """Refuse recordings that are not there; return the backend of this machine."""
        _refuse_absent(work.run, work.days)
        return _backend()

    def tasks(self, work: Work[Config, Plan, Day], backend: str) -> list["Partition"]:
        """Return the days as workers get them: each with what it needs itself, so that it travels light."""
        return partitions_of(work.run, work.plan, work.days, backend)

    def write(self, task: "Partition") -> Counter[str]:
        """Write the blocks of a day."""
        from jobs.spectrograms.partition import write_partition  # noqa: PLC0415 (torch)

        return write_partition(task)

    def backend_here(self, task: "Partition") -> str:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return the backend of this machine."""
        return _backend()

    def space(self, work: Work[Config, Plan, Day]) -> Space:
        """Return the most that days, index and tables take on disk."""
        plan, shards = work.plan, space_for(work.days, work.run.config)
        more = store_space(
            replace(_run_spec(work.run, plan.grid), data=()), n_recorders=len(plan.recorders), n_windows=work.n_windows,
            n_days=len(work.days), rows={"recordings": len(plan.recordings)},
        )  # fmt: skip
        return replace(shards, n_bytes=shards.n_bytes + more.n_bytes)

    def memory(self, work: Work[Config, Plan, Day]) -> Memory:
        """Return what a day needs at most."""
        return memory_for(work.days, work.run.config, work.options.max_memory_bytes)

    def workers(self, work: Work[Config, Plan, Day], tasks: Sequence["Partition"]) -> int:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return all of them."""
        return work.options.workers

    def commit(self, run: Run[Config], plan: Plan) -> None:
        """Write index variables and tables."""
        _commit(run, plan.grid, plan.recorders)

    def outcome(self, run: Run[Config], plan: Plan, *, did: bool, counts: Mapping[str, int], backend: str) -> Outcome:
        """Return what was counted, with the recordings that are set aside."""
        n = len(plan.recordings) + len(plan.quarantined)
        notes = (*plan.notes, *missing_sound(plan, run.config))
        return Outcome(did, dict(counts), quarantined=plan.quarantined, n_recordings=n, backend=backend, notes=notes)

    def heading(self, work: Work[Config, Plan, Day]) -> list[str]:
        """Return recordings and windows in all, and what is unusual about them."""
        plan = work.plan
        total = sum(len(block.cells) for block in plan.blocks)
        aside = [f"{len(plan.quarantined)} recordings are set aside"] if plan.quarantined else []
        bands = missing_sound(plan, work.run.config)
        days = (block.cells[0] // plan.grid.cells_per_day for block in plan.blocks)
        cost = grid_notes(plan.grid.n_cells, plan.grid.hop_ms / 1000, seasons_of(days))
        notes = [f"note: {note}" for note in (*plan.notes, *bands, *cost, *_absent_note(work.run, work.days))]
        n_recordings = f"{len(plan.recordings)} recordings of {len(plan.recorders)} recorders"
        return [f"{n_recordings}, {total} windows in all", *aside, *notes]


class GatheredCube(Gathered[Config]):
    """A cube of the windows of other cubes."""

    role = "spectrograms"
    differ = Spectrograms.differ

    def spec(self, run: Run[Config], grid: Grid) -> StoreSpec:
        """Return the schema of the cube."""
        return _run_spec(run, grid)

    def commit(self, run: Run[Config], plan: gathered.Plan) -> None:
        """Write index variables and tables."""
        _commit(run, plan.grid, plan.recorders)


SPECTROGRAMS = Spectrograms()
EITHER = Either(SPECTROGRAMS, GatheredCube(), GatheredCube.role)
execute, finalise, progress_of, describe = EITHER.execute, EITHER.finalise, EITHER.progress_of, EITHER.describe


def partitions_of(run: Run[Config], plan: Plan, days: Sequence[Day], backend: str) -> list["Partition"]:
    """Return the days as workers get them: each with what it needs itself, so that it travels light."""
    from jobs.spectrograms.partition import Partition  # noqa: PLC0415 (torch)

    spec, root = _run_spec(run, plan.grid), cast("Recordings", run.recordings).root
    numbers = {recorder: i for i, recorder in enumerate(plan.recorders)}
    made = []
    for day in days:
        here = {recording.deployment for recording in day.recordings}
        partition = Partition(
            store=run.output, ledger=run.ledger, spec=spec, config=run.config, root=root,
            recordings={recording.key: recording for recording in day.recordings},
            deployments={name: row for name, row in plan.deployments.items() if name in here},
            i_recorder=numbers[day.recorder], blocks=day.blocks, backend=backend,
        )  # fmt: skip
        made.append(partition)
    return made


def _backend() -> str:
    from jobs.common.network.devices import backend_of  # noqa: PLC0415 (torch)

    return backend_of()


def _refuse_changed(run: Run[Config], plan: Plan) -> None:
    """Refuse a table from which recordings that the store holds are gone, or in which they changed."""
    keys = ("recorder", "start_ms", "n_samples")
    now: dict[str, list[Placed]] = {}
    for recording in plan.recordings:
        now.setdefault(recording.sha256, []).append(recording)
    wrong = []
    for row in _stored_rows(run, RECORDING_COLUMNS):
        found = now.get(row["sha256"])
        if found is None:
            wrong.append(f"  {row['path']}: gone from the table, or set aside")
        elif not any(all(getattr(one, key) == row[key] for key in keys) for one in found):
            pairs = [(key, row[key], getattr(found[0], key)) for key in keys]
            wrong.append(f"  {row['path']}: " + ", ".join(f"{key} {a} -> {b}" for key, a, b in pairs if a != b))
    if wrong:
        raise IdentityError(
            f"run {run.name!r}: {len(wrong)} recordings that its store holds are gone from the table, or changed:\n"
            f"{listed(wrong)}\nRestore their rows, or give the run a new name."
        )


def _absent(root: Path, days: Sequence[Day]) -> list[str]:
    """Return the recordings that are to be read and are not there."""
    paths = sorted({recording.path for day in days for recording in day.recordings})
    return [path for path in paths if not (root / path).is_file()] if root.is_dir() else paths


def _absent_note(run: Run[Config], days: Sequence[Day]) -> list[str]:
    root = cast("Recordings", run.recordings).root
    absent = _absent(root, days)
    what = "nothing is at" if not root.exists() else f"{len(absent)} recordings of the table are not below"
    return [f"{what} {root}, the root in the manifest; a run is refused until they are there"] if absent else []


def _refuse_absent(run: Run[Config], days: Sequence[Day]) -> None:
    """Refuse to begin when recordings that are to be read are not there."""
    root = cast("Recordings", run.recordings).root
    absent, nothing = _absent(root, days), "" if root.exists() else ", where nothing is"
    if absent:
        raise InputError(
            f"{len(absent)} recordings of the table are not below {root}{nothing}:\n"
            f"{listed([f'  {path}' for path in absent])}\n"
            "Restore them, fix `root` in the manifest, or make the table again with `dawnchorus catalog`."
        )


def _run_spec(run: Run[Config], grid: Grid) -> StoreSpec:
    """Return the schema of a run's cube."""
    config = run.config
    attrs = {**run.store_attrs, "grid": grid.attrs, "title": "log-mel spectrograms with absolute levels"}
    n_cells = config.cells_per_shard
    return cube_spec(grid, n_mels=config.n_mels, n_frames=config.n_frames, cells_per_shard=n_cells, attrs=attrs)


def _commit(run: Run[Config], grid: Grid, recorders: Sequence[str]) -> None:
    """Write index variables, tables and metadata from the ledger: after this the store opens, or has grown."""
    config = run.config
    recordings, deployments = _tables(run)
    tables: dict[str, NDArray[Any]] = {
        "mel": mel_centres_hz(config),
        "frame": (np.arange(config.n_frames) + 0.5) * config.window_s / config.n_frames,
        "time_is_real": np.array([not name.startswith(UNTIMED) for name in recorders]),
        **{name: _column(recordings, key, fill) for name, (key, fill) in RECORDING_COLUMNS.items()},
        **{name: _column(deployments, key, fill) for name, (key, fill) in DEPLOYMENT_COLUMNS.items()},
    }
    maps = {
        "recording": {row_key(row): i for i, row in enumerate(recordings)},
        "deployment": {row_key(row): i for i, row in enumerate(deployments)},
    }
    commit(run.output, run.ledger, _run_spec(run, grid), recorders, tables, row_maps=maps)


def _stored_rows(run: Run[Config], columns: Mapping[str, tuple[str, Any]]) -> list[Row]:
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
    recordings = {row_key(row): row for row in _stored_rows(run, RECORDING_COLUMNS)}
    for row in sorted(fresh, key=lambda row: (row["recorder"], row["start_ms"], row["sha256"])):
        recordings.setdefault(row_key(row), row)
    known = [row["deployment"] for row in _stored_rows(run, DEPLOYMENT_COLUMNS)]
    order = dict.fromkeys([*known, *sorted(latest)])
    return list(recordings.values()), [latest[key] for key in order if key in latest]


def _column(rows: list[Row], key: str, fill: str | float) -> NDArray[Any]:
    values = [fill if row.get(key) is None else row[key] for row in rows]
    return np.array(values, dtype=object if isinstance(fill, str) else np.asarray(fill).dtype)
