"""The ``spectrograms`` job: what is missing of a cube is written, then the cube is finalised.

Planning needs no torch: only what computes or names numbers imports it, so a run with nothing to do ends at once.
"""

import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jobs.common.memory import Memory
from jobs.common.partitions import map_partitions, require_memory
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Recordings, Run, is_committed, listed
from jobs.spectrograms.config import Config
from jobs.spectrograms.days import Day, Written, missing_blocks, missing_days
from jobs.spectrograms.plan import Placed, Plan, make_plan
from jobs.spectrograms.sizes import described, memory_for, missing_bands, refuse_full
from jobs.spectrograms.store import commit_run, run_spec, stored_rows
from lake.claims import claim
from lake.errors import IdentityError, InputError, StoreError, TryAgainError
from lake.identity import content_id
from lake.recordings import assign_deployments, read_deployments, read_recordings, unused_deployments
from lake.schema import DEPLOYMENT_COLUMNS, RECORDING_COLUMNS

if TYPE_CHECKING:
    from jobs.spectrograms.partition import Partition

Deployments = Mapping[str, dict[str, Any]]


def execute(run: Run, options: Options) -> Outcome:
    """Write what is missing of a cube, and finalise it unless this is one share of several."""
    plan, deployments = _plan(run)
    _refuse_changed(run, plan)
    written = run.ledger.written()
    days = missing_days(plan, written, options.part)
    tasks = _partitions(run, plan, deployments, days, written=written, options=options) if days else []
    is_done = not days and (options.part is not None or _is_committed(run, written))
    run = options.begin(run, _outcome(run, plan, did=False))
    run.ledger.settle_grid(plan.grid, plan.recorders)
    if is_done:
        return _outcome(run, plan, did=False)
    counts = _write(run, days, [replace(task, ledger=run.ledger) for task in tasks], options)
    if options.part is None:
        commit_run(run, plan)
    return _outcome(run, plan, did=True, counts=counts)


def finalise(run: Run) -> Outcome:
    """Make the store readable after all shares are done.

    Raises
    ------
    StoreError
        With the list of all partitions that are missing.
    """
    plan, _ = _plan(run)
    written = run.ledger.written()
    missing = missing_days(plan, written)
    if missing:
        names = [f"  {day.recorder} {day.date}: {len(day.blocks)} shards" for day in missing]
        raise StoreError(
            f"run {run.name!r}: {len(missing)} partitions are not written yet:\n{listed(names)}\n"
            f"Write them (`dawnchorus run MANIFEST {run.name}`), then finalise."
        )
    with claim(run.ledger.storage, run.name, (0, 1), plan.digest) as held:
        run = replace(run, held=held)
        if _is_committed(run, written):
            return _outcome(run, plan, did=False)
        commit_run(run, plan)
    return _outcome(run, plan, did=True)


def progress_of(run: Run) -> tuple[int, int]:
    """Return how many windows are written, and how many there are to write."""
    plan, _ = _plan(run)
    total = sum(len(block.cells) for block in plan.blocks)
    return total - sum(len(block.cells) for block in missing_blocks(plan, run.ledger.written())), total


def describe(run: Run, options: Options) -> list[str]:
    """Return what a run would do, and what it would take, without writing anything."""
    plan, _ = _plan(run)
    _refuse_changed(run, plan)
    days = missing_days(plan, run.ledger.written(), options.part)
    total = sum(len(block.cells) for block in plan.blocks)
    n_recordings = f"{len(plan.recordings)} recordings of {len(plan.recorders)} recorders"
    aside = [f"{len(plan.quarantined)} recordings are set aside"] if plan.quarantined else []
    bands = missing_bands(plan, cast("Config", run.config))
    notes = [f"note: {note}" for note in (*plan.notes, *bands, *_absent_note(run, days))]
    return [f"{n_recordings}, {total} windows in all", *aside, *notes, *described(run, days, options)]


def planned_days(run: Run) -> list[Day]:
    """Return what is missing of a run's cube, a recorder's UTC day each."""
    plan, _ = _plan(run)
    return missing_days(plan, run.ledger.written())


def write_here(partition: "Partition", *, mix: bool) -> Counter[str]:
    """Write a partition in this process, which may be a worker on another machine.

    Raises
    ------
    InputError
        If the lake is not the driver's: the run has not begun in it.
    TryAgainError
        If this machine computes otherwise than the driver's, and may not.
    """
    from jobs.common.devices import backend_of  # noqa: PLC0415 (torch)
    from jobs.spectrograms.partition import write_partition  # noqa: PLC0415 (torch)

    if partition.ledger.record() is None:
        raise InputError(
            f"{partition.ledger.storage.url}: expected the ledger of the run, found none on {socket.gethostname()}. "
            "The workers of a scheduler must see the lake and the recordings under the same paths as this machine."
        )
    backend = backend_of()
    if backend != partition.backend and not mix:
        raise TryAgainError(
            f"worker {socket.gethostname()} computes as {backend}, the others as {partition.backend}, whose levels "
            "differ by one step here and there. Take workers of one kind, or add --mix."
        )
    return write_partition(replace(partition, backend=backend))


def _write(run: Run, days: Sequence[Day], tasks: Sequence["Partition"], options: Options) -> Counter[str]:
    if not tasks:
        return Counter()
    names = {id(task): day.name for task, day in zip(tasks, days, strict=True)}
    with progress(f"{run.name}: spectrograms", sum(day.n_windows for day in days), "windows") as advance:
        found = map_partitions(
            partial(write_here, mix=options.mix),
            tasks,
            workers=options.workers,
            advance=advance,
            n_units=lambda task: task.n_windows,
            name_of=lambda task: names[id(task)],
            memory=_memory(run, days, options),
        )
    return sum(found, Counter())


def _plan(run: Run) -> tuple[Plan, Deployments]:
    if run.recordings is None:
        raise InputError(
            f"run {run.name!r} makes spectrograms, but the manifest names no recordings. "
            'Add `recordings = { table = "recordings.csv", root = "…" }`.'
        )
    table = read_recordings(run.recordings.table, in_bounds=True)
    deployments: Deployments = {}
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
        cast("Config", run.config),
        stored_grid=(settled[0].origin_ms, settled[0].end_ms) if settled else None,
        stored_recorders=tuple(settled[1]) if settled else (),
        span_ms=run.recordings.span_ms,
    )
    return replace(plan, notes=notes), deployments


def _is_committed(run: Run, written: Written) -> bool:
    content = content_id(item for entry in written.values() for item in entry.files.items())
    return is_committed(run, content)


def _memory(run: Run, days: Sequence[Day], options: Options) -> Memory:
    return memory_for(days, cast("Config", run.config), options.max_memory_bytes)


def _partitions(
    run: Run, plan: Plan, deployments: Deployments, days: Sequence[Day], *, written: Written, options: Options
) -> list["Partition"]:
    """Return the days as workers get them, after refusing what cannot be written here."""
    _refuse_absent(run, days)
    refuse_full(run, days)
    require_memory(_memory(run, days, options), workers=options.workers)
    from jobs.common.devices import backend_of  # noqa: PLC0415 (torch)

    backend = backend_of()
    _refuse_mix(run, written, backend, mix=options.mix)
    return partitions_of(run, plan, deployments, days, backend)


def partitions_of(
    run: Run, plan: Plan, deployments: Deployments, days: Sequence[Day], backend: str
) -> list["Partition"]:
    """Return the days as workers get them: each with what it needs itself, so that it travels light."""
    from jobs.spectrograms.partition import Partition  # noqa: PLC0415 (torch)

    spec, root = run_spec(run, plan.grid), cast("Recordings", run.recordings).root
    numbers = {recorder: i for i, recorder in enumerate(plan.recorders)}
    made = []
    for day in days:
        here = {recording.deployment for recording in day.recordings}
        partition = Partition(
            store=run.output, ledger=run.ledger, spec=spec, config=cast("Config", run.config), root=root,
            recordings={recording.key: recording for recording in day.recordings},
            deployments={name: row for name, row in deployments.items() if name in here},
            i_recorder=numbers[day.recorder], blocks=day.blocks, backend=backend,
        )  # fmt: skip
        made.append(partition)
    return made


def _refuse_changed(run: Run, plan: Plan) -> None:
    """Refuse a table from which recordings that the store holds are gone, or in which they changed."""
    keys = ("recorder", "start_ms", "n_samples")
    now: dict[str, list[Placed]] = {}
    for recording in plan.recordings:
        now.setdefault(recording.sha256, []).append(recording)
    wrong = []
    for row in stored_rows(run, RECORDING_COLUMNS):
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


def _refuse_mix(run: Run, written: Written, backend: str, *, mix: bool) -> None:
    others = {entry.backend for entry in written.values()} - {backend}
    if others and not mix:
        raise TryAgainError(
            f"run {run.name!r} was begun on {', '.join(sorted(others))}; this machine computes as {backend}, whose "
            "levels differ by one step here and there. Go on where it was begun, or add --mix."
        )


def _absent(root: Path, days: Sequence[Day]) -> list[str]:
    """Return the recordings that are to be read and are not there."""
    paths = sorted({recording.path for day in days for recording in day.recordings})
    return [path for path in paths if not (root / path).is_file()] if root.is_dir() else paths


def _absent_note(run: Run, days: Sequence[Day]) -> list[str]:
    root = cast("Recordings", run.recordings).root
    absent = _absent(root, days)
    what = "nothing is at" if not root.exists() else f"{len(absent)} recordings of the table are not below"
    return [f"{what} {root}, the root in the manifest; a run is refused until they are there"] if absent else []


def _refuse_absent(run: Run, days: Sequence[Day]) -> None:
    """Refuse to begin when recordings that are to be read are not there."""
    root = cast("Recordings", run.recordings).root
    absent, nothing = _absent(root, days), "" if root.exists() else ", where nothing is"
    if absent:
        raise InputError(
            f"{len(absent)} recordings of the table are not below {root}{nothing}:\n"
            f"{listed([f'  {path}' for path in absent])}\n"
            "Restore them, mend `root` in the manifest, or make the table again with `dawnchorus catalog`."
        )


def _outcome(run: Run, plan: Plan, *, did: bool, counts: Mapping[str, int] | None = None) -> Outcome:
    n = len(plan.recordings) + len(plan.quarantined)
    backend = ""
    if did:
        from jobs.common.devices import backend_of  # noqa: PLC0415 (torch)

        backend = backend_of()
    notes = (*plan.notes, *missing_bands(plan, cast("Config", run.config)))
    return Outcome(did, dict(counts or {}), quarantined=plan.quarantined, n_recordings=n, backend=backend, notes=notes)
