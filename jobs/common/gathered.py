"""Gather the windows of several stores in one: their shards are linked or copied, nothing is computed again."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from jobs.common import days, partitioned
from jobs.common.config import JobConfig
from jobs.common.days import Written, missing_days
from jobs.common.needs import grid_notes, reads, store_space
from jobs.common.partitioned import Partitioned, Work
from jobs.common.run import Outcome, Run
from jobs.common.sources import (
    Block,
    Source,
    blocks_of,
    digest_of,
    refuse_deployments,
    refuse_differences,
    refuse_overlaps,
    settled_of,
    shard_of,
    source_of,
)
from jobs.common.space import Space
from lake.errors import IdentityError, InputError, TryAgainError
from lake.grid import Grid, iso
from lake.specs import StoreSpec
from lake.storage import Storage
from lake.write import shard_keys, write_shards

GATHERED = "gathered"
"""Backend of a run that computes nothing; each ledger entry keeps the backend that computed it."""


@dataclass(frozen=True)
class Plan:
    """What the gathered store holds, and where from."""

    grid: Grid
    recorders: tuple[str, ...]
    blocks: tuple[Block, ...]
    sources: tuple[Source, ...]
    backends: tuple[str, ...]

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return sum(len(block.cells) for block in self.blocks)


@dataclass(frozen=True, kw_only=True)
class Partition(partitioned.Partition):
    """One UTC day of one recorder, as a worker gets it."""

    source: Source
    i_recorder: int
    blocks: tuple[Block, ...]


Day = days.Day[Block]
C = TypeVar("C", bound=JobConfig)


class Gathered(Partitioned[C, Plan, Day, Partition], Generic[C]):
    """A run that gathers the stores under one of its roles; a job says which, and what it commits.

    Attributes
    ----------
    role
        The role of the stores.
    """

    role: ClassVar[str]
    step = "windows"
    source = "what is gathered"
    differ = "numbers differ in the last digits"

    @abstractmethod
    def spec(self, run: Run[C], grid: Grid) -> StoreSpec:
        """Return the schema of the gathered store."""

    def axes(self, run: Run[C]) -> tuple[Grid, tuple[str, ...]]:
        """Return grid and recorders: those of all stores together, as they come, after those that are settled."""
        found = [settled_of(source) for source in run.sources(self.role)]
        grids = [grid for grid, _ in found]
        names = dict.fromkeys(name for _, recorders in found for name in recorders)
        origin_ms, end_ms = min(grid.origin_ms for grid in grids), max(grid.end_ms for grid in grids)
        settled = run.ledger.grid()
        if settled is not None:
            if origin_ms < settled[0].origin_ms:
                raise IdentityError(
                    f"run {run.name!r}: a store that it gathers begins {iso(origin_ms)}, before the origin of its own, "
                    f"{iso(settled[0].origin_ms)}, which cannot be moved. Give the run a new name."
                )
            origin_ms, end_ms = settled[0].origin_ms, max(end_ms, settled[0].end_ms)
            names = dict.fromkeys([*settled[1], *names])
        return replace(grids[0], origin_ms=origin_ms, end_ms=end_ms), tuple(names)

    def plan(self, run: Run[C]) -> Plan:
        """Return all that the store is to hold, as its sources are now.

        Raises
        ------
        InputError
            If the settings of a source differ, two sources have windows of the same recorder and day, or they
            describe a deployment differently: with all that differ.
        IdentityError
            If a source begins before the origin of the store.
        """
        runs = run.sources(self.role)
        refuse_differences(run, runs)
        grid, recorders = self.axes(run)
        sources = tuple(source_of(run, one, grid) for one in runs)
        per_block = self.spec(run, grid).cells_per_block
        blocks = [
            block for i, source in enumerate(sources) for block in blocks_of(i, source, grid, recorders, per_block)
        ]
        if not blocks:
            raise InputError(f"run {run.name!r}: {' and '.join(one.name for one in sources)} have no window.")
        refuse_overlaps(run, sources, [block for block, _ in blocks], grid)
        refuse_deployments(run, sources, [(block.source, entry) for block, entry in blocks])
        place = {name: i for i, name in enumerate(recorders)}
        made = sorted((block for block, _ in blocks), key=lambda block: (place[block.recorder], block.number))
        return Plan(grid, recorders, tuple(made), sources, tuple(sorted({entry.backend for _, entry in blocks})))

    def missing(self, plan: Plan, written: Written, part: tuple[int, int] | None = None) -> list[Day]:
        """Return the days that are not there, or have changed in their source."""
        return missing_days(plan, written, part)

    def require(self, work: Work[C, Plan, Day]) -> str:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return what stands for a backend: nothing is computed."""
        return GATHERED

    def refuse_mix(self, work: Work[C, Plan, Day], backend: str) -> None:
        """Refuse nothing: `outcome` notes the kinds of processors that made the windows."""

    def tasks(self, work: Work[C, Plan, Day], backend: str) -> list[Partition]:
        """Return the days as workers get them."""
        run, plan, spec = work.run, work.plan, self.spec(work.run, work.plan.grid)
        place = {name: i for i, name in enumerate(plan.recorders)}
        return [
            Partition(
                store=run.output, ledger=run.ledger, spec=spec, backend=backend, blocks=day.blocks,
                source=plan.sources[day.blocks[0].source], i_recorder=place[day.recorder],
            )
            for day in work.days
        ]  # fmt: skip

    def write(self, task: Partition) -> Counter[str]:
        """Link or copy the shards of a day, with their ledger entries."""
        return write_partition(task)

    def backend_here(self, task: Partition) -> str:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return what stands for a backend."""
        return GATHERED

    def space(self, work: Work[C, Plan, Day]) -> Space:
        """Return the most that is written: shards only where they cannot be linked."""
        plan, spec = work.plan, self.spec(work.run, work.plan.grid)
        more = store_space(
            replace(spec, data=()), n_recorders=len(plan.recorders), n_windows=work.n_windows, n_days=len(work.days)
        )
        n_bytes = n_files = 0
        for block in (block for day in work.days for block in day.blocks):
            store = plan.sources[block.source].store
            n_files += len(block.files)
            if not _is_same_disk(store, work.run.output):
                n_bytes += sum(int(store.fs.size(store.path(key))) for key in block.files)
        return Space(more.n_bytes + n_bytes, more.n_files + n_files)

    def memory(self, work: Work[C, Plan, Day]) -> None:
        """Return nothing: a worker holds one shard of each array."""

    def workers(self, work: Work[C, Plan, Day], tasks: Sequence[Partition]) -> int:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return all of them."""
        return work.options.workers

    def outcome(self, run: Run[C], plan: Plan, *, did: bool, counts: Mapping[str, int], backend: str) -> Outcome:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return the windows that were gathered, those in all, and what is to be known of them."""
        notes = []
        if len(plan.backends) > 1:
            notes.append(f"windows were computed on {', '.join(plan.backends)}, whose {self.differ}")
        root = run.recordings.root if run.recordings else None
        for source, one in zip(plan.sources, run.sources(self.role), strict=True):
            if root and one.recordings and not one.recordings.root.is_relative_to(root):
                notes.append(
                    f"the recordings of {source.name} were below {one.recordings.root}, which is not below the root "
                    f"{root}: their sound is looked for in {root}. Name a root above all of them"
                )
        told = {**counts, "windows_in_all": plan.n_windows, "stores": len(plan.sources)}
        return Outcome(did=did, counts=told, backend=GATHERED if did else "", notes=notes)

    def heading(self, work: Work[C, Plan, Day]) -> list[str]:
        """Return what is gathered, and whether the disk takes links."""
        plan, grid = work.plan, work.plan.grid
        disk = [_is_same_disk(source.store, work.run.output) for source in plan.sources]
        how = "linked, which takes no space" if all(disk) else "copied, as not all of them are on this disk"
        return [
            *reads(work.run),
            f"{plan.n_windows} windows of {len(plan.recorders)} recorders, of {len(plan.sources)} stores: {how}",
            *(f"note: {note}" for note in grid_notes(grid.n_cells, grid.hop_ms / 1000)),
        ]


def write_partition(task: Partition) -> Counter[str]:
    """Link or copy the shards of one recorder's day; return how many windows they have.

    Raises
    ------
    StoreError
        If a shard is not the one that the ledger of its store lists.
    TryAgainError
        If a store grew meanwhile.
    """
    source, spec, recorder = task.source, task.spec, task.blocks[0].recorder
    entries = source.ledger.day(recorder, spec.grid.day_of(int(task.blocks[0].cells[0])))
    shift = source.first_day * spec.grid.cells_per_day
    counts: Counter[str] = Counter()
    for block in task.blocks:
        entry = entries.get(block.number - shift // spec.cells_per_block)
        if entry is None or digest_of(entry, source.prefix) != block.inputs:
            raise TryAgainError(f"{source.name} changed while its windows were gathered. Type the same command again.")
        keys = shard_keys(spec, source.recorders.index(recorder), entry.block)
        shards = {name: shard_of(source, key, entry) for name, key in keys.items()}

        def write(name: str, key: str, data: bytes | memoryview, keys: Mapping[str, str] = keys) -> None:
            if not task.store.link(key, source.store, keys[name], bytes(data)):
                task.store.write_if_changed(key, data)

        made = replace(
            entry, block=block.number, cells=list(block.cells), inputs=block.inputs, files={},
            recordings=[{**row, "path": source.prefix + row["path"]} for row in entry.recordings],
            problems={source.prefix + path: problem for path, problem in entry.problems.items()},
        )  # fmt: skip
        write_shards(task.store, task.ledger, spec, shards, made, i_recorder=task.i_recorder, write=write)
        counts["windows"] += len(block.cells)
    return counts


def _is_same_disk(store: Storage, output: Storage) -> bool:
    """Return whether a file of a store can have a second name in an output."""
    if not (store.is_local and output.is_local):
        return False
    folder = Path(output.root)
    while not folder.exists():
        folder = folder.parent
    return Path(store.root).stat().st_dev == folder.stat().st_dev
