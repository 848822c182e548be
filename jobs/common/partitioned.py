"""The driver of jobs that extend a store: it writes the missing partitions, and finalises.

A partition is one UTC day of one recorder. A job subclasses :class:`Partitioned` and says what is its own: the plan,
how a partition is written, and what the store's commit needs.
"""

import socket
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from jobs.common.config import JobConfig
from jobs.common.days import Block, Day, Plan, Written, days_of, missing_blocks
from jobs.common.memory import Memory, size
from jobs.common.partitions import map_partitions, require_memory
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run, is_committed, listed
from jobs.common.space import Space, described, refuse_full
from lake.errors import IdentityError, InputError, StoreError, TryAgainError
from lake.identity import content_id, short_hash
from lake.ledger import Ledger
from lake.read import grid_of, open_store, recorder_names
from lake.run_records import COMMIT_RECORD, GRID_RECORD
from lake.specs import StoreSpec
from lake.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The part of a task that all jobs share: the store, its ledger and schema, and the run's kind of processor."""

    store: Storage
    ledger: Ledger
    spec: StoreSpec
    backend: str


C = TypeVar("C", bound=JobConfig)
P = TypeVar("P", bound=Plan[Block])
D = TypeVar("D", bound=Day[Block])
T = TypeVar("T", bound=Partition)


@dataclass(frozen=True)
class Work(Generic[C, P, D]):
    """The state of a run's inputs and ledger when they were read.

    Attributes
    ----------
    run, options
        The run, and how it is executed.
    plan, written
        All that the store is to hold, and what the ledger lists of it.
    days
        The partitions with blocks to write.
    """

    run: Run[C]
    options: Options
    plan: P
    written: Written
    days: Sequence[D]

    @property
    def n_windows(self) -> int:
        """Windows to be written."""
        return sum(day.n_windows for day in self.days)


class Partitioned(ABC, Generic[C, P, D, T]):
    """An extending job: its own part, as methods to override, and the driver that is the same for all of them.

    Attributes
    ----------
    step, source
        Name of the progress bar, and what the plan is made from, for messages.
    differ
        How the numbers of two kinds of processors differ, for messages.
    in_threads
        Whether a partition spends its time outside of Python, so that threads of this process work as well as others.
    keeps_windows
        Whether a block that is written again keeps windows that stand in it. Then the processor that wrote it before
        counts as one of the run's.
    """

    step: str
    source: str
    differ: str
    in_threads: bool = False
    keeps_windows: bool = False

    @abstractmethod
    def plan(self, run: Run[C]) -> P:
        """Return all that the store is to hold."""

    @abstractmethod
    def missing(self, plan: P, written: Written, part: tuple[int, int] | None = None) -> list[D]:
        """Return the partitions with blocks to write, or a share of them; see :func:`jobs.common.days.missing_days`."""

    def check(self, run: Run[C], plan: P) -> None:
        """Refuse a plan that does not go on from the store."""

    def prepare(self, run: Run[C], plan: P) -> None:
        """Write what must stand before the first block; called under the claim, by each process of several."""

    @abstractmethod
    def require(self, work: Work[C, P, D]) -> str:
        """Refuse what cannot be computed here; return the backend that it would be computed on."""

    def refuse_mix(self, work: Work[C, P, D], backend: str) -> None:
        """Refuse to go on with windows that another kind of processor computed, unless the options allow it."""
        missing = missing_blocks(work.plan, work.written)
        again = set() if self.keeps_windows else {(block.recorder, block.number) for block in missing}
        others = sorted({entry.backend for key, entry in work.written.items() if key not in again} - {backend})
        if others and not work.options.mix:
            raise TryAgainError(
                f"run {work.run.name!r} was begun on {', '.join(others)}; this machine computes as {backend}, whose "
                f"{self.differ}. Go on where it was begun, or add --mix."
            )

    @abstractmethod
    def tasks(self, work: Work[C, P, D], backend: str) -> list[T]:
        """Return the partitions as workers get them, in the order of ``work.days``."""

    @abstractmethod
    def write(self, task: T) -> Counter[str]:
        """Write a partition and return what was counted; runs in a worker."""

    @abstractmethod
    def backend_here(self, task: T) -> str:
        """Return the backend that this process computes a partition on."""

    @abstractmethod
    def space(self, work: Work[C, P, D]) -> Space:
        """Return the most that the partitions take on disk."""

    @abstractmethod
    def memory(self, work: Work[C, P, D]) -> Memory | None:
        """Return what a partition needs, ``None`` where that is not known."""

    @abstractmethod
    def workers(self, work: Work[C, P, D], tasks: Sequence[T]) -> int:
        """Return how many workers are of use."""

    @abstractmethod
    def commit(self, run: Run[C], plan: P) -> None:
        """Write what makes the store readable, from the ledger."""

    @abstractmethod
    def outcome(self, run: Run[C], plan: P, *, did: bool, counts: Mapping[str, int], backend: str) -> Outcome:
        """Return what an execution did."""

    @abstractmethod
    def heading(self, work: Work[C, P, D]) -> list[str]:
        """Return what a dry run says of the plan as a whole."""

    def execute(self, run: Run[C], options: Options) -> Outcome:
        """Write what is missing, and finalise the store unless this is one share of several."""
        seen = _stamp(run.ledger)
        work, tasks, is_done = self._prepared(run, options)
        run = options.begin(run, self._idle(run, work.plan))
        if _stamp(run.ledger) != seen:  # another process wrote before this one had its claim
            work, tasks, is_done = self._prepared(run, options)
        plan = work.plan
        if is_done:
            return self._idle(run, plan)
        run.ledger.settle_grid(plan.grid, plan.recorders)
        self.prepare(run, plan)
        counts = self._write(work, [replace(task, ledger=run.ledger) for task in tasks])
        if options.part is None:
            self.commit(run, plan)
            return self.outcome(run, plan, did=True, counts=counts, backend=_backends(run.ledger))
        return self.outcome(run, plan, did=True, counts=counts, backend=tasks[0].backend if tasks else "")

    def finalise(self, run: Run[C], options: Options) -> Outcome:
        """Make the store readable after all shares are done.

        Raises
        ------
        StoreError
            With the list of all partitions that are missing.
        """
        seen = _stamp(run.ledger)
        work = self._whole(run, options)
        run = options.begin(run, self._idle(run, work.plan))
        if _stamp(run.ledger) != seen:
            work = self._whole(run, options)
        plan = work.plan
        if self._is_current(run, work):
            return self._idle(run, plan)
        run.ledger.settle_grid(plan.grid, plan.recorders)
        self.commit(run, plan)
        return self.outcome(run, plan, did=True, counts={}, backend=_backends(run.ledger))

    def progress_of(self, run: Run[C]) -> tuple[int, int]:
        """Return how many windows are written, and how many there are to write."""
        plan = self.plan(run)
        total = sum(len(block.cells) for block in plan.blocks)
        return total - sum(len(block.cells) for block in missing_blocks(plan, run.ledger.written())), total

    def describe(self, run: Run[C], options: Options) -> list[str]:
        """Return what a run would do, and what it would take, without writing anything."""
        work = self._work(run, options)
        lines = self.heading(work)
        if not work.days:
            return [*lines, "nothing to write"]
        n_days, n_blocks = len(work.days), sum(len(day.blocks) for day in work.days)
        lines += [
            f"to write: {work.n_windows} windows in {n_days} partitions (a recorder's day each), {n_blocks} shards",
            described(run.output, self.space(work)),
        ]
        memory = self.memory(work)
        if memory is not None:
            n_workers = min(options.workers, n_days, memory.n_tasks)
            side_by_side = f"{n_workers} of {options.workers} workers side by side within {size(memory.usable_bytes)}"
            lines.append(f"memory: up to {size(memory.task_bytes)} a worker; {side_by_side}")
        return lines

    def _work(self, run: Run[C], options: Options) -> Work[C, P, D]:
        """Return what is to be done, after refusing a plan that does not go on from what is written."""
        plan, written = self.plan(run), run.ledger.written()
        self.check(run, plan)
        self._refuse_vanished(run, plan, written)
        return Work(run, options, plan, written, self.missing(plan, written, options.part))

    def _prepared(self, run: Run[C], options: Options) -> tuple[Work[C, P, D], list[T], bool]:
        """Return what is to be done, as workers get it, and whether all is done; refuse what cannot be done here."""
        work = self._work(run, options)
        if not work.days:
            return work, [], options.part is not None or self._is_current(run, work)
        refuse_full(run.output, self.space(work))
        memory = self.memory(work)
        if memory is not None:
            require_memory(memory, workers=options.workers)
        backend = self.require(work)
        self.refuse_mix(work, backend)
        return work, self.tasks(work, backend), False

    def _whole(self, run: Run[C], options: Options) -> Work[C, P, D]:
        """Return a look at a store that is written whole, after refusing one of which something is missing."""
        work = self._work(run, options)
        if work.days:
            names = [f"  {day.recorder} {day.date}: {day.n_windows} windows" for day in work.days]
            raise StoreError(
                f"run {run.name!r}: {len(names)} of {len(days_of(work.plan))} partitions are not written yet:\n"
                f"{listed(names)}\nWrite them (`dawnchorus run MANIFEST {run.name}`), then finalise."
            )
        return work

    def _idle(self, run: Run[C], plan: P) -> Outcome:
        return self.outcome(run, plan, did=False, counts={}, backend="")

    def _write(self, work: Work[C, P, D], tasks: Sequence[T]) -> Counter[str]:
        if not tasks:
            return Counter()
        days = {id(task): day for task, day in zip(tasks, work.days, strict=True)}
        with progress(f"{work.run.name}: {self.step}", work.n_windows, "windows") as advance:
            found = map_partitions(
                partial(write_here, self, mix=work.options.mix),
                tasks,
                workers=self.workers(work, tasks),
                advance=advance,
                n_units=lambda task: days[id(task)].n_windows,
                name_of=lambda task: days[id(task)].name,
                memory=self.memory(work),
                in_threads=self.in_threads,
            )
        return sum(found, Counter())

    def _is_current(self, run: Run[C], work: Work[C, P, D]) -> bool:
        """Return whether the finalised store holds all that the ledger lists, on the plan's grid."""
        content = content_id(item for entry in work.written.values() for item in entry.files.items())
        if run.ledger.is_committing() or not is_committed(run, content):
            return False
        with open_store(run.output.url, run.kind) as dataset:
            recorders = tuple(recorder_names(dataset))
            return (grid_of(dataset), recorders) == (work.plan.grid, work.plan.recorders)

    def _refuse_vanished(self, run: Run[C], plan: P, written: Written) -> None:
        """Refuse a plan without blocks that are written: a commit would publish windows that nothing accounts for."""
        planned = {(block.recorder, block.number) for block in plan.blocks}
        if written.keys() <= planned:
            return
        gone = [
            f"  {recorder} {date}"
            for recorder, date, entries in run.ledger.entries(light=True)
            if any((recorder, number) not in planned for number in entries)
        ]
        raise IdentityError(
            f"run {run.name!r}: the ledger lists windows of {len(gone)} partitions that {self.source} does not "
            f"have:\n{listed(gone)}\nRestore {self.source}, or give the run a new name."
        )


@dataclass(frozen=True)
class Either(Generic[C]):
    """A job that computes windows, or gathers those of the stores that a run names under a role."""

    computed: Partitioned[C, Any, Any, Any]
    gathered: Partitioned[C, Any, Any, Any]
    role: str

    def execute(self, run: Run[C], options: Options) -> Outcome:
        """Write what is missing, and finalise the store; see :class:`Partitioned`."""
        return self._of(run).execute(run, options)

    def finalise(self, run: Run[C], options: Options) -> Outcome:
        """Make the store readable after all shares are done."""
        return self._of(run).finalise(run, options)

    def progress_of(self, run: Run[C]) -> tuple[int, int]:
        """Return how many windows are written, and how many there are to write."""
        return self._of(run).progress_of(run)

    def describe(self, run: Run[C], options: Options) -> list[str]:
        """Return what a run would do, and what it would take."""
        return self._of(run).describe(run, options)

    def _of(self, run: Run[C]) -> Partitioned[C, Any, Any, Any]:
        return self.gathered if run.sources(self.role) else self.computed


def write_here(job: Partitioned[C, P, D, T], task: T, *, mix: bool) -> Counter[str]:
    """Write a partition in this process, which may be a worker on another machine; see :func:`require_worker`."""
    backend = require_worker(task.ledger, job.backend_here(task), task.backend, differ=job.differ, mix=mix)
    return job.write(replace(task, backend=backend))


def require_worker(ledger: Ledger, backend: str, wanted: str, *, differ: str, mix: bool) -> str:
    """Refuse a worker without the lake, or of another kind of processor; return its backend.

    Raises
    ------
    InputError
        If the lake is not the driver's: the run has not begun in it.
    TryAgainError
        If this machine computes otherwise than the driver's, and may not.
    """
    if ledger.record() is None:
        raise InputError(
            f"{ledger.storage.url}: expected the ledger of the run, found none on {socket.gethostname()}. "
            "The workers of a scheduler must see the lake and the recordings under the same paths as this machine."
        )
    if backend != wanted and not mix:
        raise TryAgainError(
            f"worker {socket.gethostname()} computes as {backend}, the others as {wanted}, whose {differ}. "
            "Take workers of one kind, or add --mix."
        )
    return backend


def _backends(ledger: Ledger) -> str:
    """Return all backends that computed what is written; entries of older versions name none."""
    return ", ".join(sorted({entry.backend for entry in ledger.written().values()} - {""}))


def _stamp(ledger: Ledger) -> str:
    """Return a digest that changes when another process writes to a ledger; no file is read."""
    keys = [key for key in (*ledger.line_files(), GRID_RECORD, COMMIT_RECORD) if ledger.storage.exists(key)]
    return short_hash([[key, ledger.storage.fs.ukey(ledger.storage.path(key))] for key in keys])
