"""Tasks on a Dask cluster: few are in flight at a time, a failed one is tried once more, by itself."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import dask.config
from distributed import Client, Future, KilledWorker, as_completed, wait

from jobs.common.partitions import Failures, Work, again, alone, line_of, raised
from jobs.common.terminal import complain
from lake.errors import TryAgainError

Task = TypeVar("Task")
Result = TypeVar("Result")

IN_FLIGHT_PER_THREAD = 2
"""One that is worked on and one that waits beside it."""
LEAST_IN_FLIGHT = 8
"""What a scheduler without workers gets to see, so that it asks for some."""
CAPACITY_EVERY_S = 5.0
MOST_GATHERED = 8
"""Results that are fetched from the workers at once."""
DIED = "its worker process died, perhaps for want of memory; fewer --workers leave more for each"


def on_cluster(client: Client, work: Work[Task, Result], most: int | None = None) -> tuple[dict[int, Result], Failures]:
    """Work on all tasks on a cluster: a few more are in flight than it has threads, however many there are."""
    results: dict[int, Result] = {}
    failures: Failures = {}
    # When a worker dies, Dask blames all that it held. One at a time, the blame is a task's own.
    for numbers, at_once in ((range(len(work.tasks)), most), (again(work, failures), 1)):
        for i, future in _completed(client, work, numbers, at_once):
            error = error_of(client, future)
            if error is not None:
                failures[i] = error
                continue
            try:
                with talking_to(client):
                    results[i] = future.result()
            except KilledWorker:  # its result died with a worker, and so did the next one
                failures[i] = TryAgainError(DIED)
                continue
            failures.pop(i, None)
            work.advance(work.units[i])
    return results, failures


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
    return TryAgainError(DIED) if isinstance(error, KilledWorker) else error.with_traceback(trace)


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


def in_order(
    client: Client, function: Callable[[Task], Result], tasks: Iterable[Task], ahead: int
) -> Generator[Result, None, None]:
    """Yield results of Dask workers; the function travels once to each of them."""
    waiting, capacity = iter(tasks), capacity_of(client, None)

    def send() -> Future[Callable[[Task], Result]]:
        with talking_to(client), dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GiB"}):
            return client.submit(_same, function, pure=False)

    sent = send()
    running: deque[tuple[Task, Future[Result]]] = deque()
    ready: deque[Result] = deque()

    def submitted(task: Task) -> Future[Result]:
        nonlocal sent
        if sent.status == "error":  # the worker that it was on its way to died
            sent = send()
        future: Future[Result] = client.submit(alone, sent, task, pure=False)
        return future

    def fill() -> None:
        with talking_to(client):
            room = max(ahead, capacity()) - len(running)
            running.extend((task, submitted(task)) for task in islice(waiting, max(0, room)))

    try:
        while True:
            fill()
            if not running:
                return
            ready.extend(_first_results(client, running, submitted))
            while ready:
                yield ready.popleft()
    finally:
        with talking_to(client):
            client.cancel([future for _, future in running])


def _first_results(
    client: Client, running: deque[tuple[Any, Future[Result]]], submitted: Callable[[Any], Future[Result]]
) -> list[Result]:
    """Wait for the first task; take its result, and those of the next ones that are there, off those running."""
    task, first = running.popleft()
    error = error_of(client, first)
    there = [first]
    while error is None and running and running[0][1].status == "finished" and len(there) < MOST_GATHERED:
        there.append(running[0][1])
        running.popleft()
    if error is None:
        try:
            with talking_to(client):
                return list(client.gather(there))
        except KilledWorker:
            error = TryAgainError(DIED)
    complain(f"a step failed and is tried once more: {line_of(error)}")
    again = submitted(task)
    error = error_of(client, again)
    if error is not None:
        raise raised(error)
    with talking_to(client):
        return [again.result(), *(future.result() for future in there[1:])]


def _same(function: Callable[[Task], Result]) -> Callable[[Task], Result]:
    return function
