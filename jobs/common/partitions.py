"""Running many independent partitions: here, on a local Dask cluster, or on one that is there already.

A partition that fails is tried once more after all the others, by itself; one that fails twice is told of at the
end, with its cause, when everything else is written.
"""

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Generic, TypeVar

from threadpoolctl import threadpool_limits

from jobs.common.memory import Memory, refuse_little, refuse_small_workers, workers_within
from jobs.common.progress import Advance
from jobs.common.run import listed
from jobs.common.schedulers import current_client
from jobs.common.terminal import complain
from lake.errors import DawnchorusError, InputError, StoreError, TryAgainError, of_system
from lake.threads import in_threads as in_order

if TYPE_CHECKING:
    from distributed import Client

Task = TypeVar("Task")
Result = TypeVar("Result")

MOST_LISTED = 200

Failures = dict[int, BaseException]
"""Reasons of failed partitions, by number."""


@dataclass(frozen=True)
class Work(Generic[Task, Result]):
    """Partitions, and what is done with them.

    Attributes
    ----------
    function, tasks
        What is applied to what.
    names
        What each task is called in a message.
    units
        How far each one brings the progress, which ``advance`` shows.
    """

    function: Callable[[Task], Result]
    tasks: Sequence[Task]
    names: Sequence[str]
    units: Sequence[int]
    advance: Advance


def map_partitions(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    advance: Advance,
    n_units: Callable[[Task], int] = lambda _: 1,
    name_of: Callable[[Task], str] | None = None,
    memory: Memory | None = None,
    in_threads: bool = False,
) -> list[Result]:
    """Apply a function to every task and return the results in the tasks' order.

    Parameters
    ----------
    function
        A module-level function; what it writes must not depend on the other tasks.
    tasks
        Picklable, one a partition.
    workers
        One works in this process. More go to the current Dask client (:func:`jobs.common.machines.connected`) if
        there is one, and else start a cluster of as many one-threaded processes on this machine.
    in_threads
        Start threads of this process in place of that cluster.
    advance, n_units
        Progress, and how many units a task is worth.
    name_of
        What a task is called in a message, such as its recorder and day; otherwise it is numbered.
    memory
        What a task needs and all may take; fewer of them are worked on at the same time if it is short.

    Raises
    ------
    TryAgainError
        At once, if a task raises it: the disk is full, or the scheduler is gone. At the end, if worker
        processes died twice of the same task.
    InputError, StoreError, DawnchorusError
        At the end, with all tasks that failed twice and why; of the class of their errors.
    """
    names = [name_of(task) if name_of else f"partition {i + 1} of {len(tasks)}" for i, task in enumerate(tasks)]
    work = Work(function, tasks, names, [n_units(task) for task in tasks], advance)
    client = _client(workers)
    if client is not None:
        from jobs.common.on_dask import on_cluster  # noqa: PLC0415 (see `jobs.common.schedulers`)

        if memory is not None:
            refuse_small_workers(client.scheduler_info()["workers"], memory)
        most = memory.n_tasks if memory is not None and memory.allowed_bytes is not None else None
        results, failures = on_cluster(client, work, most)
    else:
        n_workers = workers_within(min(workers, len(tasks)), memory) if tasks else 1
        if n_workers <= 1 or in_threads:
            results, failures = _here(work, n_workers)
        else:
            from jobs.common.machines import local_client  # noqa: PLC0415 (see `jobs.common.schedulers`)
            from jobs.common.on_dask import on_cluster  # noqa: PLC0415

            with local_client(n_workers, memory) as client:
                results, failures = on_cluster(client, work)
    if failures:
        raise _failed(work.names, failures)
    return [results[i] for i in range(len(tasks))]


def require_memory(memory: Memory, *, workers: int) -> None:
    """Refuse what :func:`map_partitions` would refuse, before anything is written.

    Raises
    ------
    InputError
        If not even one partition fits into the memory that it may take.
    """
    client = _client(workers)
    if client is None:
        refuse_little(memory)
    else:
        refuse_small_workers(client.scheduler_info()["workers"], memory)


def _client(workers: int) -> "Client | None":
    """Return the client that partitions go to, if they go to a cluster that is there already."""
    return current_client() if workers > 1 else None


def _here(work: Work[Task, Result], threads: int) -> tuple[dict[int, Result], Failures]:
    """Work on all tasks in this process, some of them at a time; on those that have failed one after the other."""
    results: dict[int, Result] = {}
    failures: Failures = {}

    def tried(i: int) -> int:
        try:
            results[i] = alone(work.function, work.tasks[i])
        except TryAgainError:
            raise
        except Exception as error:  # noqa: BLE001 (reported at the end; the others go on)
            failures[i] = error
        else:
            failures.pop(i, None)
        return i

    first = range(len(work.tasks))
    with threadpool_limits(1):  # for all of them: a thread that ends gives back what it found
        done = in_order(tried, first, threads) if threads > 1 else map(tried, first)
        for i in chain(done, map(tried, again(work, failures))):
            if i not in failures:
                work.advance(work.units[i])
    return results, failures


def again(work: Work[Task, Result], failures: Failures) -> Iterator[int]:
    """Yield, once everything else is done, the tasks that have failed."""
    first = dict(failures)
    if first:
        lines = [f"  {work.names[i]}: {line_of(error)}" for i, error in first.items()]
        complain(f"{len(first)} partitions failed and are tried once more:\n{listed(lines)}")
    yield from first


def _failed(names: Sequence[str], failures: Failures) -> DawnchorusError:
    """Return the error that lists all tasks that failed twice; its class is that of the gravest of theirs."""
    found: set[type[DawnchorusError]] = {_class_of(error) for error in failures.values()}
    gravest = next(kind for kind in (DawnchorusError, StoreError, InputError, TryAgainError) if kind in found)
    lines = [f"  {names[i]}: {line_of(error)}" for i, error in sorted(failures.items())]
    told = gravest(
        f"{len(failures)} of {len(names)} partitions failed twice; the others are written:\n"
        f"{listed(lines, MOST_LISTED)}\n"
        "Fix the cause, then type the same command again: it continues with these."
    )
    told.__cause__ = failures[min(failures)]
    return told


def raised(error: BaseException) -> DawnchorusError:
    """Return the error of the one task on which all others wait."""
    told = _class_of(error)(f"{line_of(error)}\nFix the cause, then type the same command again.")
    told.__cause__ = error
    return told


def _class_of(error: BaseException) -> type[DawnchorusError]:
    if isinstance(error, MemoryError):
        return TryAgainError
    if isinstance(error, OSError) and (told := of_system(error)) is not None:
        error = told
    if isinstance(error, TryAgainError):
        return TryAgainError
    known: tuple[type[DawnchorusError], ...] = (StoreError, InputError)
    return next((kind for kind in known if isinstance(error, kind)), DawnchorusError)


def line_of(error: BaseException) -> str:
    """Return a cause in one line; of an error that is nobody's message, with the place that raised it."""
    if isinstance(error, OSError):
        error = of_system(error) or error
    text = " ".join(str(error).split())
    if isinstance(error, DawnchorusError):
        return text
    places = traceback.extract_tb(error.__traceback__)
    where = f" ({places[-1].filename}:{places[-1].lineno})" if places else ""
    return f"{type(error).__name__}: {text}{where}"


def alone(function: Callable[[Task], Result], task: Task) -> Result:
    """Run one task with one thread; torch, which threadpoolctl does not reach, gets its own back afterwards."""
    torch = sys.modules.get("torch")
    n_threads = torch.get_num_threads() if torch else 1
    try:
        if torch:
            torch.set_num_threads(1)
        with threadpool_limits(1):
            return function(task)
    finally:
        if torch:
            torch.set_num_threads(n_threads)
