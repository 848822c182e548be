"""The ``import`` job: vectors of another program, placed at their recordings' times in a cube."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jobs.common.labels.matching import match_recordings, told_unknown
from jobs.common.labels.placing import EDGE_S, recordings_of
from jobs.common.labels.placing import Placed as Recordings
from jobs.common.needs import LIBRARIES_BYTES, described, store_space
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run, listed
from jobs.imports.config import Config
from jobs.imports.core import Placed, place
from jobs.imports.reading import read_source
from jobs.imports.source import Source
from lake.constants import OFFSET_ARRAY, STATUS
from lake.digest import sha256_of
from lake.errors import InputError
from lake.grid import Grid
from lake.identity import short_hash
from lake.ledger import Entry
from lake.read import grid_of, open_cube, recorder_names
from lake.schema import embedding_spec, with_offsets
from lake.specs import StoreSpec
from lake.write import commit, write_block

MOST_TOLD = 5
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Plan:
    """The store to be written: its schema and recorders, the vectors, and their cells.

    Attributes
    ----------
    spec, recorders
        The store's schema, and its recorders.
    placed
        The vectors on its grid.
    source
        All vectors, as they were read.
    outcome
        What there is to say of it.
    """

    spec: StoreSpec
    placed: Placed
    source: Source
    recorders: Sequence[str]
    outcome: Outcome


def execute(run: Run[Config], options: Options) -> Outcome:
    """Place every vector by its recording's time in the cube, and write the store; raises as :func:`_plan`."""
    plan = _plan(run)
    _refuse_infinite(run, plan)
    run = options.begin(run, plan.outcome)
    _write(run, plan)
    tables = {"feature": np.arange(plan.source.vectors.shape[1], dtype=np.int32)}
    commit(run.output, run.ledger, plan.spec, plan.recorders, tables)
    return plan.outcome


def describe(run: Run[Config], _options: Options) -> list[str]:
    """Return what a run would read, write and take, without writing anything."""
    plan = _plan(run)
    n_windows, n_features = len(plan.placed.row), plan.source.vectors.shape[1]
    n_days = len(_blocks(plan.spec, plan.placed)[1])
    block_bytes = math.prod(plan.spec.data[0].block) * plan.source.vectors.dtype.itemsize
    return described(
        run,
        read=[f"{len(plan.source.vectors)} vectors of {n_features} features", *map(str, run.files.values())],
        written=f"{n_windows} windows in {n_days} partitions (a recorder's day)",
        takes=store_space(plan.spec, n_recorders=len(plan.recorders), n_windows=n_windows, n_days=n_days),
        memory_bytes=LIBRARIES_BYTES + plan.source.vectors.nbytes + 2 * block_bytes,
    )


def _plan(run: Run[Config]) -> Plan:
    """Return the vectors with their places in the store.

    Raises
    ------
    InputError
        If the vectors cannot be read, none of the recordings is in the cube, a vector does not begin
        in its recording or is not finite, or several want the same cell.
    """
    config = run.config
    source = read_source(run.files["vectors"], run.files.get("table"), config)
    names = source.recordings
    with open_cube(run.inputs["spectrograms"].output.url) as cube:
        recorders = recorder_names(cube)
        there = recordings_of(cube, str(run.recordings.root) if run.recordings else "")
        owners = [recorders.index(str(name)) for name in cube["recording_recorder"].to_numpy()]
        theirs = grid_of(cube)
    grid = Grid(theirs.origin_ms, theirs.end_ms, round(config.window_s * 1000), round(config.hop_s * 1000))
    matched = match_recordings(names, there.path, root=there.root, what=str(source.path))
    rows = np.array([i for i, name in enumerate(names) if name in matched.row], dtype=np.int64)
    strange = told_unknown(matched.unknown, there.path)
    if not len(rows):
        raise InputError(
            f"run {run.name!r}: none of the {len(names)} vectors of {source.path} is of a recording of the cube; "
            f"they are of {', '.join(matched.unknown[:3])}; the cube has {', '.join(there.path[:3])}. Both are "
            f"relative to one root. Most alike: {strange}."
        )
    found = np.array([matched.row[names[i]] for i in rows], dtype=np.int64)
    _require_inside(run, there, found, source=source, rows=rows)
    start_ms = there.start_ms[found] + np.rint(source.start_s[rows] * 1000).astype(np.int64)
    placed = place(start_ms, np.array(owners, dtype=np.int64)[found], grid)
    if len(placed.shared) and config.shared_cells == "refuse":
        told = ", ".join(source.where(int(rows[i])) for i in placed.shared[:MOST_TOLD])
        raise InputError(
            f"run {run.name!r}: {len(placed.shared)} vectors of {source.path} want a cell that another stands in "
            f"({told}): hop_s = {config.hop_s:g} is longer than the distance of their starts. Choose a shorter "
            "hop_s, or shared_cells = 'nearest' to leave these out."
        )
    placed = replace(placed, row=rows[placed.row])
    spec = _spec(run, grid, source.vectors.shape[1], config)
    _refuse_gone(run, spec, placed, recorders)
    counts = {
        "vectors": len(placed.row),
        "left_out": len(placed.shared),
        "vectors_of_unknown_recordings": len(names) - len(rows),
    }
    if len(names) > len(rows):
        source.notes.append(
            f"{len(names) - len(rows)} vectors are of recordings that the cube does not have: {strange}."
        )
    outcome = Outcome(did=True, counts=counts, backend="numpy", notes=source.notes)
    return Plan(spec, placed, source, recorders, outcome)


def _require_inside(
    run: Run[Config], there: Recordings, found: NDArray[np.int64], *, source: Source, rows: NDArray[np.int64]
) -> None:
    """Refuse vectors that do not begin in their recording."""
    start_s = source.start_s[rows]
    length_s = (there.end_ms - there.start_ms)[found] / 1000
    wrong = np.flatnonzero((start_s < -EDGE_S) | (start_s >= length_s))
    if not len(wrong):
        return
    lines = [
        f"  {source.where(int(rows[i]))}: starts at {start_s[i]:g} s of {there.path[found[i]]}, which has "
        f"{length_s[i]:g} s"
        for i in wrong
    ]
    raise InputError(
        f"run {run.name!r}: {len(wrong)} vectors of {source.path} do not begin in their recording:\n"
        f"{listed(lines)}\nSeconds count from the start of the recording. Correct the rows, or remove them and their "
        "vectors; or the recordings here are not those that the vectors were made from."
    )


def _spec(run: Run[Config], grid: Grid, n_features: int, config: Config) -> StoreSpec:
    attrs = {**run.store_attrs, "grid": grid.attrs}
    return with_offsets(embedding_spec(grid, n_features=n_features, dtype=config.dtype, attrs=attrs))


def _refuse_gone(run: Run[Config], spec: StoreSpec, placed: Placed, recorders: Sequence[str]) -> None:
    """Refuse a table without days that the store has."""
    block_of, edges = _blocks(spec, placed)
    new = {(recorders[int(placed.recorder[i])], int(block_of[i])) for i in edges}
    gone = sorted(set(run.ledger.written()) - new)
    if gone:
        raise InputError(
            f"run {run.name!r}: {len(gone)} days that are in the store have no vector any more (first {gone[0][0]}, "
            f"{spec.grid.day_of(gone[0][1] * spec.cells_per_block)}). Give the run a new name in the manifest."
        )


def _refuse_infinite(run: Run[Config], plan: Plan) -> None:
    """Refuse vectors that are not finite in the type that they are stored in."""
    (data,) = plan.spec.data
    for first in range(0, len(plan.placed.row), ROWS_AT_ONCE):
        rows = plan.placed.row[first : first + ROWS_AT_ONCE]
        with np.errstate(over="ignore"):  # what float16 cannot hold is refused just below
            wrong = rows[~np.isfinite(plan.source.vectors[rows].astype(data.dtype)).all(axis=1)]
        if len(wrong):
            raise InputError(
                f"run {run.name!r}: {len(wrong)} vectors are not finite as {data.dtype} (first in "
                f"{plan.source.where(int(wrong.min()))} of {plan.source.path}). Leave them out, or store "
                "them as float32."
            )


def _blocks(spec: StoreSpec, placed: Placed) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the block of each vector, and the first vector of each block of a recorder."""
    block_of = placed.cell // spec.cells_per_block
    return block_of, np.flatnonzero(np.diff(np.stack([placed.recorder, block_of]), axis=1, prepend=-1).any(axis=0))


def _write(run: Run[Config], plan: Plan) -> None:
    spec, placed, recorders = plan.spec, plan.placed, plan.recorders
    digest = short_hash([sha256_of(run.files[key]) for key in ("table", "vectors") if key in run.files])
    run.ledger.settle_grid(spec.grid, recorders)
    block_of, edges = _blocks(spec, placed)
    (data,) = spec.data
    with progress(f"{run.name}: vectors", len(placed.row), "vectors") as advance:
        for first, last in zip(edges, [*edges[1:], len(placed.row)], strict=True):
            number, i_recorder = int(block_of[first]), int(placed.recorder[first])
            cells, rows = placed.cell[first:last], placed.row[first:last]
            block = np.full(data.block, data.fill, dtype=data.dtype)
            block[0, cells - number * spec.cells_per_block] = plan.source.vectors[rows].astype(data.dtype)
            index = {
                OFFSET_ARRAY: placed.offset_s[first:last].tolist(),
                "embedding_status": [STATUS["ok"]] * len(cells),
            }
            entry = Entry(
                recorder=recorders[i_recorder], block=number, inputs=digest, files={}, cells=cells.tolist(), digests=[],
                index=index, backend="numpy",
            )  # fmt: skip
            write_block(run.output, run.ledger, spec, {data.name: block}, entry, i_recorder=i_recorder)
            advance(len(rows))
