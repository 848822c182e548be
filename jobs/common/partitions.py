"""Running many independent partitions: here, on a local Dask cluster, or on one that is there already.

A partition that fails is tried once more after all the others, by itself; one that fails twice is told of at the
end, with its cause, when everything else is written.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

from distributed import Client, Future, KilledWorker, as_completed, wait
from threadpoolctl import threadpool_limits

from jobs.common.machines import current_client, local_client
from jobs.common.memory import Memory, refuse_little, refuse_small_workers, workers_within
from jobs.common.progress import Advance
from jobs.common.run import listed
from jobs.common.terminal import complain
from lake.errors import DawnchorusError, InputError, StoreError, TryAgainError, of_system

Task = TypeVar("Task")
Result = TypeVar("Result")

IN_FLIGHT_PER_THREAD = 2
"""One that is worked on and one that waits beside it."""
LEAST_IN_FLIGHT = 8
"""What a scheduler without workers gets to see, so that it asks for some."""
CAPACITY_EVERY_S = 5.0
MOST_LISTED = 200

Failures = dict[int, BaseException]
"""Why a partition failed, by its number."""


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


def share(tasks: Sequence[Task], part: tuple[int, int] | None) -> list[Task]:
    """Return every n-th task from the i-th on, i being below n, or all of them."""
    if part is None:
        return list(tasks)
    i, n = part
    return list(tasks[i::n])


def map_partitions(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    advance: Advance,
    n_units: Callable[[Task], int] = lambda _: 1,
    name_of: Callable[[Task], str] | None = None,
    memory: Memory | None = None,
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
        if memory is not None:
            refuse_small_workers(client.scheduler_info()["workers"], memory)
        most = memory.n_tasks if memory is not None and memory.allowed_bytes is not None else None
        results, failures = _on_cluster(client, work, most)
    else:
        n_workers = workers_within(min(workers, len(tasks)), memory) if tasks else 1
        if n_workers <= 1:
            results, failures = _here(work)
        else:
            with local_client(n_workers, memory) as client:
                results, failures = _on_cluster(client, work)
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


def _client(workers: int) -> Client | None:
    """Return the client that partitions go to, if they go to a cluster that is there already."""
    return current_client() if workers > 1 else None


def _here(work: Work[Task, Result]) -> tuple[dict[int, Result], Failures]:
    """Work on all tasks in this process, one after the other."""
    results: dict[int, Result] = {}
    failures: Failures = {}
    for i in chain(range(len(work.tasks)), _again(work, failures)):
        try:
            results[i] = alone(work.function, work.tasks[i])
        except TryAgainError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, it is told of at the end; the others go on)
            failures[i] = error
            continue
        failures.pop(i, None)
        work.advance(work.units[i])
    return results, failures


def _on_cluster(
    client: Client, work: Work[Task, Result], most: int | None = None
) -> tuple[dict[int, Result], Failures]:
    """Work on all tasks on a cluster: a few more are in flight than it has threads, however many there are."""
    results: dict[int, Result] = {}
    failures: Failures = {}
    # When a worker dies, Dask blames all that it held. One at a time, the blame is a task's own.
    for numbers, at_once in ((range(len(work.tasks)), most), (_again(work, failures), 1)):
        for i, future in _completed(client, work, numbers, at_once):
            error = error_of(client, future)
            if error is not None:
                failures[i] = error
                continue
            try:
                with talking_to(client):
                    results[i] = future.result()
            except KilledWorker as killed:  # its result died with a worker, and so did the next one
                failures[i] = killed
                continue
            failures.pop(i, None)
            work.advance(work.units[i])
    return results, failures


def _again(work: Work[Task, Result], failures: Failures) -> Iterator[int]:
    """Yield, once everything else is done, the tasks that have failed."""
    first = dict(failures)
    if first:
        lines = [f"  {work.names[i]}: {line_of(error)}" for i, error in first.items()]
        complain(f"{len(first)} partitions failed and are tried once more:\n{listed(lines)}")
    yield from first


def _completed(
    client: Client, work: Work[Task, Result], numbers: Iterable[int], most: int | None
) -> Iterator[tuple[int, Future[Result]]]:
    """Submit tasks by number, as many at a time as there is room for, and yield each when it has ended."""
    waiting, in_flight = iter(numbers), dict[Any, int]()
    capacity = capacity_of(client, most)
    running = as_completed()

    def fill() -> None:
        while len(in_flight) < capacity() and (i := next(waiting, None)) is not None:
            future = client.submit(alone, work.function, work.tasks[i], pure=False)
            in_flight[future.key] = i
            running.add(future)

    with talking_to(client):
        fill()
    for future in running:
        yield in_flight.pop(future.key), future
        with talking_to(client):
            fill()


def capacity_of(client: Client, most: int | None) -> Callable[[], int]:
    """Return a function that tells how many tasks may be in flight while workers come and go."""
    asked_s, wanted = -CAPACITY_EVERY_S, LEAST_IN_FLIGHT

    def capacity() -> int:
        nonlocal asked_s, wanted
        if time.monotonic() - asked_s >= CAPACITY_EVERY_S:
            n_threads = sum(client.nthreads().values())
            asked_s, wanted = time.monotonic(), IN_FLIGHT_PER_THREAD * n_threads or LEAST_IN_FLIGHT
        return wanted if most is None else min(wanted, most)

    return capacity


def error_of(client: Client, future: Future[Result]) -> BaseException | None:
    """Return why a task failed, if it did; what ends a run is raised."""
    with talking_to(client):
        while future.status in {"pending", "lost"}:  # its result died with a worker meanwhile, and is made again
            wait(future)
        if future.status == "finished":
            return None
        if future.status != "error":
            raise CancelledError(future.status)
        error: BaseException = future.exception()
        trace = future.traceback()
    if isinstance(error, TryAgainError):
        raise error
    return error.with_traceback(trace)


@contextmanager
def talking_to(client: Client) -> Iterator[None]:
    """Turn what happens when a scheduler is lost into a message; errors of tasks do not pass here."""
    try:
        yield
    except (OSError, CancelledError) as error:
        address = client.scheduler.address if client.scheduler else "the scheduler"
        raise TryAgainError(
            f"{address}: the connection to the Dask scheduler is lost. What was written before is whole. Look what "
            "became of it, then type the same command again: it continues where it stopped."
        ) from error


def _failed(names: Sequence[str], failures: Failures) -> DawnchorusError:
    """Return the error that tells of all tasks that failed twice; its class is that of the gravest of theirs."""
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
    """Return the error that tells of one task on which all others wait."""
    told = _class_of(error)(f"{line_of(error)}\nFix the cause, then type the same command again.")
    told.__cause__ = error
    return told


def _class_of(error: BaseException) -> type[DawnchorusError]:
    if isinstance(error, KilledWorker | MemoryError):
        return TryAgainError
    if isinstance(error, OSError) and (told := of_system(error)) is not None:
        error = told
    if isinstance(error, TryAgainError):
        return TryAgainError
    known: tuple[type[DawnchorusError], ...] = (StoreError, InputError)
    return next((kind for kind in known if isinstance(error, kind)), DawnchorusError)


def line_of(error: BaseException) -> str:
    """Return a cause in one line; of an error that is nobody's message, with the place that raised it."""
    if isinstance(error, KilledWorker):
        return "its worker process died, perhaps for want of memory; fewer --workers leave more for each"
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
