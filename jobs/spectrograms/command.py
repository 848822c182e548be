"""The ``spectrograms`` job: what is missing of a cube is written, then the cube is finalised."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, cast

from jobs.common.devices import backend_of
from jobs.common.partitions import map_partitions, share
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Recordings, Run, is_committed, listed
from jobs.spectrograms.config import Config
from jobs.spectrograms.partition import Partition, write_partition
from jobs.spectrograms.plan import Block, Placed, Plan, make_plan
from jobs.spectrograms.store import RECORDING_COLUMNS, commit_run, run_spec, stored_rows
from lake.claims import claim
from lake.errors import IdentityError, InputError, StoreError, TryAgainError
from lake.recordings import assign_deployments, read_deployments, read_recordings

EXPECTED_COMPRESSION = 0.6
"""Stored bytes per byte of codes, on the safe side."""

Deployments = Mapping[str, dict[str, Any]]


def execute(run: Run, options: Options) -> Outcome:
    """Write what is missing of a cube, and finalise it unless this is one share of several."""
    plan, deployments = _plan(run)
    _refuse_changed(run, plan)
    with claim(run.ledger.storage, run.name, options.part or (0, 1), plan.digest):
        run.ledger.settle_grid(plan.grid, plan.recorders)
        mine = _partitions(run, plan, deployments, options.part)
        if not mine and (options.part is not None or is_committed(run)):
            return _outcome(plan, did=False, counts={})
        counts = _write(run, mine, options)
        if options.part is None:
            commit_run(run, plan)
    return _outcome(plan, did=True, counts=counts)


def finalise(run: Run) -> Outcome:
    """Make the store readable after all shares are done.

    Raises
    ------
    StoreError
        With the list of all partitions that are missing.
    """
    plan, deployments = _plan(run)
    missing = _partitions(run, plan, deployments)
    if missing:
        firsts = [(partition.blocks[0], len(partition.blocks)) for partition in missing]
        names = [f"  {block.recorder} {plan.grid.day_of(block.cells[0])}: {n} shards" for block, n in firsts]
        raise StoreError(
            f"run {run.name!r}: {len(missing)} partitions are not written yet:\n{listed(names)}\n"
            f"Write them (`dawnchorus run MANIFEST {run.name}`), then finalise."
        )
    with claim(run.ledger.storage, run.name, (0, 1), plan.digest):
        if is_committed(run):
            return _outcome(plan, did=False, counts={})
        commit_run(run, plan)
    return _outcome(plan, did=True, counts={})


def progress_of(run: Run) -> tuple[int, int]:
    """Return how many windows are written, and how many there are to write."""
    plan, _ = _plan(run)
    total = sum(len(block.cells) for block in plan.blocks)
    return total - sum(len(block.cells) for block in _missing(run, plan)), total


def _write(run: Run, mine: Sequence[Partition], options: Options) -> Counter[str]:
    if not mine:
        return Counter()
    _refuse_mix(run, mine[0].backend, mix=options.mix)
    _refuse_absent(mine)
    _refuse_full(run, sum(partition.n_windows for partition in mine))
    with progress(f"{run.name}: spectrograms", sum(partition.n_windows for partition in mine), "windows") as advance:
        written = map_partitions(
            write_partition, mine, workers=options.workers, advance=advance, n_units=lambda task: task.n_windows
        )
    return sum(written, Counter())


def _plan(run: Run) -> tuple[Plan, Deployments]:
    if run.recordings is None:
        raise InputError(
            f"run {run.name!r} makes spectrograms, but the manifest names no recordings. "
            'Add `recordings = { table = "recordings.csv", root = "…" }`.'
        )
    table = read_recordings(run.recordings.table)
    deployments: Deployments = {}
    if run.recordings.deployments is not None:
        known = read_deployments(run.recordings.deployments)
        table = assign_deployments(table, known)
        names = ["deployment", "recorder", "site", "latitude", "longitude", "gain_db", "habitat", "zone"]
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
    return plan, deployments


def _missing(run: Run, plan: Plan) -> set[Block]:
    """Return the blocks that are not written, or were written from other recordings."""
    written = {key: entry.inputs for key, entry in run.ledger.written().items()}
    return {block for block in plan.blocks if written.get((block.recorder, block.number)) != block.inputs}


def _partitions(run: Run, plan: Plan, deployments: Deployments, part: tuple[int, int] | None = None) -> list[Partition]:
    """Return the partitions with blocks to write, a recorder's UTC day each, in the store's order.

    A share is counted over all partitions of the plan, so it is the same whatever is written already.
    """
    spec, missing = run_spec(run, plan.grid), _missing(run, plan)
    by_recorder: dict[str, list[Placed]] = {}
    for recording in plan.recordings:
        by_recorder.setdefault(recording.recorder, []).append(recording)
    days = groupby(plan.blocks, key=lambda block: (block.recorder, plan.grid.day_of(block.cells[0])))
    made = []
    for blocks in share([tuple(day) for _, day in days], part):
        todo = tuple(block for block in blocks if block in missing)
        if not todo:
            continue
        recorder = todo[0].recorder
        lower = plan.grid.start_ms(todo[0].cells[0])
        upper = plan.grid.start_ms(todo[-1].cells[-1]) + plan.grid.window_ms
        near = {r.sha256: r for r in by_recorder[recorder] if r.start_ms < upper and r.end_ms > lower}
        partition = Partition(
            store=run.output, ledger=run.ledger, spec=spec, config=cast("Config", run.config),
            root=cast("Recordings", run.recordings).root, recordings=near, deployments=deployments,
            i_recorder=plan.recorders.index(recorder), blocks=todo, backend=backend_of(),
        )  # fmt: skip
        made.append(partition)
    return made


def _refuse_changed(run: Run, plan: Plan) -> None:
    """Refuse a table from which recordings that the store holds are gone, or in which they changed."""
    keys = ("recorder", "start_ms", "n_samples")
    now = {recording.sha256: recording for recording in plan.recordings}
    wrong = []
    for row in stored_rows(run, RECORDING_COLUMNS):
        found = now.get(row["sha256"])
        if found is None:
            wrong.append(f"  {row['path']}: gone from the table, or set aside")
        elif any(getattr(found, key) != row[key] for key in keys):
            pairs = [(key, row[key], getattr(found, key)) for key in keys]
            wrong.append(f"  {row['path']}: " + ", ".join(f"{key} {a} -> {b}" for key, a, b in pairs if a != b))
    if wrong:
        raise IdentityError(
            f"run {run.name!r}: {len(wrong)} recordings that its store holds are gone from the table, or changed:\n"
            f"{listed(wrong)}\nRestore their rows, or give the run a new name."
        )


def _refuse_mix(run: Run, backend: str, *, mix: bool) -> None:
    others = {entry.backend for entry in run.ledger.written().values()} - {backend}
    if others and not mix:
        raise TryAgainError(
            f"run {run.name!r} was begun on {', '.join(sorted(others))}; this machine computes as {backend}, whose "
            "levels differ by one step here and there. Go on where it was begun, or add --mix."
        )


def _refuse_absent(todo: Sequence[Partition]) -> None:
    """Refuse to begin when recordings that are to be read are not there."""
    absent = sorted({r.path for p in todo for r in p.recordings.values() if not (p.root / r.path).is_file()})
    if absent:
        raise InputError(
            f"{len(absent)} recordings of the table are not below {todo[0].root}:\n"
            f"{listed([f'  {path}' for path in absent])}\n"
            "Restore them, mend `root` in the manifest, or make the table again with `dawnchorus catalog`."
        )


def _refuse_full(run: Run, n_windows: int) -> None:
    """Refuse to begin when the disk cannot hold what will be written."""
    free = run.output.free_bytes()
    config = cast("Config", run.config)
    wanted = int(n_windows * config.n_mels * config.n_frames * EXPECTED_COMPRESSION)
    if free is not None and free < wanted:
        raise TryAgainError(
            f"{run.output.url}: up to {wanted / 1e9:.1f} GB will be written, {free / 1e9:.1f} GB are free. "
            "Free some space, or put the lake elsewhere."
        )


def _outcome(plan: Plan, *, did: bool, counts: Mapping[str, int]) -> Outcome:
    n = len(plan.recordings) + len(plan.quarantined)
    return Outcome(did=did, counts=dict(counts), quarantined=plan.quarantined, n_recordings=n, backend=backend_of())
