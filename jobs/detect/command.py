"""The ``detect`` job: vectors, heads and store around :meth:`jobs.common.heads.Heads.scores`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.common import days, partitioned
from jobs.common.days import Written, missing_days
from jobs.common.heads import Heads
from jobs.common.memory import Memory
from jobs.common.needs import LIBRARIES_BYTES, reads, store_space
from jobs.common.partitioned import Partitioned, Work
from jobs.common.processors import blas_backend
from jobs.common.run import Outcome, Run
from jobs.common.space import Space
from jobs.detect.config import Config
from jobs.detect.plan import GENERATION, Day, Plan, columns_of, make_plan, spec_of
from lake.constants import STATUS_NAMES
from lake.generations import begin_generation, end_generation
from lake.ledger import Entry
from lake.read import Windows, open_array
from lake.vectors import MOST_CELLS, read_arrays, spans_of
from lake.write import commit, write_block

N_TABLE_FILES = 40
"""Coordinates, tables and metadata of a store."""


@dataclass(frozen=True, kw_only=True)
class Partition(partitioned.Partition):
    """One UTC day of one recorder, as a worker gets it."""

    urls: tuple[str, ...]
    heads: Heads
    columns: NDArray[np.intp]
    day: Day


Missing = days.Day[Day]


class Detect(Partitioned[Config, Plan, Missing, Partition]):
    """The job's own part; :class:`Partitioned` does the rest."""

    step = "scores"
    source = "the store of vectors"
    differ = "scores differ in the last digits"
    in_threads = True

    def plan(self, run: Run[Config]) -> Plan:
        """Return all that the store is to hold, as vectors and heads are now."""
        return make_plan(run)

    def missing(self, plan: Plan, written: Written, part: tuple[int, int] | None = None) -> list[Missing]:
        """Return the days that are not scored, or from other vectors or with other heads."""
        return missing_days(plan, written, part)

    def prepare(self, run: Run[Config], plan: Plan) -> None:
        """List the files of the scores that readers have, where other heads are about to replace them."""
        begin_generation(run.output, run.ledger, GENERATION, plan.prefix)

    def require(self, work: Work[Config, Plan, Missing]) -> str:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return the backend; the plan has refused heads of other vectors."""
        return blas_backend()

    def tasks(self, work: Work[Config, Plan, Missing], backend: str) -> list[Partition]:
        """Return the days as workers get them."""
        run, plan = work.run, work.plan
        return [
            Partition(
                store=run.output, ledger=run.ledger, spec=spec_of(run, plan), backend=backend,
                urls=plan.urls, heads=plan.heads, columns=columns_of(plan), day=block,
            )
            for day in work.days for block in day.blocks
        ]  # fmt: skip

    def write(self, task: Partition) -> Counter[str]:
        """Score a day and write its block."""
        return write_partition(task)

    def backend_here(self, task: Partition) -> str:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return the backend that this process scores on."""
        return blas_backend()

    def space(self, work: Work[Config, Plan, Missing]) -> Space:
        """Return the most that scores take on disk: a shard of each array, a ledger file and an index file a day."""
        spec, n_days = spec_of(work.run, work.plan), len(work.days)
        takes = store_space(spec, n_recorders=len(work.plan.recorders), n_windows=work.n_windows, n_days=n_days)
        values = 4 * len(spec.data) * len(work.plan.sounds) * work.n_windows
        return Space(takes.n_bytes + values, (len(spec.data) + len(spec.index) + 1) * n_days + N_TABLE_FILES)

    def memory(self, work: Work[Config, Plan, Missing]) -> Memory:
        """Return what a day needs: its scores, and the vectors of a span as stored, scaled and projected."""
        plan, scaling = work.plan, work.plan.heads.scaling
        scores = 3 * 8 * plan.grid.cells_per_day * len(plan.sounds)
        span = 4 * MOST_CELLS * (3 * scaling.n_features + 2 * scaling.n_scaled + 4 * len(plan.sounds))
        return Memory(LIBRARIES_BYTES + scores + span, work.options.max_memory_bytes)

    def workers(self, work: Work[Config, Plan, Missing], tasks: Sequence[Partition]) -> int:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return how many threads, or workers of a scheduler, are of use."""
        return work.options.workers

    def commit(self, run: Run[Config], plan: Plan) -> None:
        """Write index variables, coordinates and the figures of the heads; from then on readers have these scores."""
        columns = columns_of(plan)
        tables: dict[str, NDArray[np.generic]] = {"sound": np.array(plan.sounds, dtype=object)}
        for name, values in plan.heads.figures.items():
            tables[name] = np.full(len(plan.sounds), np.nan)
            tables[name][columns] = values
        commit(run.output, run.ledger, spec_of(run, plan), plan.recorders, tables)
        end_generation(run.output, run.ledger, GENERATION)

    def outcome(self, run: Run[Config], plan: Plan, *, did: bool, counts: Mapping[str, int], backend: str) -> Outcome:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return the windows of each status that were scored, and those in all."""
        written = {f"windows_{name}": counts.get(name, 0) for name in ("ok", "partial")} if counts else {}
        in_all = {"windows_in_all": plan.n_windows, "sounds": len(plan.sounds)}
        return Outcome(did=did, counts={**written, **in_all}, backend=backend)

    def heading(self, work: Work[Config, Plan, Missing]) -> list[str]:
        """Return what is read, and windows and sounds in all."""
        plan = work.plan
        n_sounds = f"{len(plan.heads.sounds)} sounds each"
        return [*reads(work.run), f"{plan.n_windows} windows of {len(plan.recorders)} recorders, {n_sounds}"]


DETECT = Detect()
execute, finalise, progress_of, describe = DETECT.execute, DETECT.finalise, DETECT.progress_of, DETECT.describe


def write_partition(partition: Partition) -> Counter[str]:
    """Score one day and write its block; return how many windows of each status it has."""
    day, spec = partition.day, partition.spec
    blocks = {array.name: np.full(array.block, array.fill, dtype=array.dtype) for array in spec.data}
    at = (day.cells - day.number * spec.cells_per_block)[:, None]
    for array, values in zip(spec.data, scores_of(partition), strict=True):
        blocks[array.name][0, at, partition.columns] = values
    entry = Entry(
        recorder=day.recorder, block=day.number, inputs=day.inputs, files={}, cells=day.cells.tolist(), digests=[],
        index={"detection_status": day.status.tolist()}, backend=partition.backend,
    )  # fmt: skip
    write_block(partition.store, partition.ledger, spec, blocks, entry, i_recorder=day.i_recorder)
    return Counter(STATUS_NAMES[value] for value in day.status.tolist())


def scores_of(partition: Partition) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return scores and probabilities of the windows of a day, both float32, shape (n_windows, n_heads).

    Notes
    -----
    Windows are scored in batches of one size, each at the row of its cell: a matrix product may round a row otherwise
    at another place, and a day that grows must not change the scores that it has.
    """
    day, heads = partition.day, partition.heads
    arrays = [open_array(url, "embedding") for url in partition.urls]
    per_chunk = int(np.lcm.reduce([array.chunks[1] for array in arrays]))
    size = max(1, MOST_CELLS // per_chunk) * per_chunk
    per_day = partition.spec.grid.cells_per_day
    windows = Windows(np.full(len(day.cells), day.i_recorder, dtype=np.int32), day.cells)
    batch = np.zeros((size, heads.scaling.n_features), dtype=np.float32)
    found = []
    for span in spans_of(windows, cells_per_day=per_day, cells_per_chunk=per_chunk):
        rows = span.cells % per_day % size
        batch[:] = 0
        batch[rows] = read_arrays(arrays, span)
        score, probability = heads.scores(batch)
        found.append((score[rows], probability[rows]))
    return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])
