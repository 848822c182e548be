"""Running many independent partitions: here, or on a local Dask cluster."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from distributed import Client, KilledWorker, LocalCluster, Security, as_completed
from threadpoolctl import threadpool_limits

from jobs.common.progress import Advance
from lake.errors import TryAgainError, UsageError

Task = TypeVar("Task")
Result = TypeVar("Result")

IN_FLIGHT_PER_WORKER = 2


def share(tasks: Sequence[Task], part: tuple[int, int] | None) -> list[Task]:
    """Return every n-th task from the i-th on, or all of them.

    Raises
    ------
    UsageError
        If i is not below n.
    """
    if part is None:
        return list(tasks)
    i, n = part
    if not 0 <= i < n:
        raise UsageError(f"--partition {i}/{n}: expected i/n with 0 <= i < n, for example 0/4 to 3/4.")
    return list(tasks[i::n])


def map_partitions(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    advance: Advance,
    n_units: Callable[[Task], int] = lambda _: 1,
) -> list[Result]:
    """Apply a function to every task and return the results in the tasks' order.

    Parameters
    ----------
    function
        A module-level function; what it writes must not depend on the other tasks.
    tasks
        Picklable, one a partition.
    workers
        One works here; more start a Dask cluster of one-threaded processes on this machine.
    advance, n_units
        Progress, and how many units a task is worth.

    Raises
    ------
    TryAgainError
        If worker processes die again and again.
    Exception
        Whatever the function raises, as it is.
    """
    if workers <= 1 or len(tasks) <= 1:
        results = []
        for task in tasks:
            results.append(_alone(function, task))
            advance(n_units(task))
        return results
    with local_client(min(workers, len(tasks))) as client:
        return _on_cluster(client, function, tasks, advance, n_units)


@contextmanager
def local_client(workers: int) -> Iterator[Client]:
    """Start a Dask cluster on this machine; its traffic is TLS with a key of its own, its dashboard on loopback."""
    security = Security.temporary()
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, security=security,
            protocol="tls://", host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=40,
        ) as cluster,
        Client(cluster, security=security) as client,
    ):  # fmt: skip
        yield client


def _on_cluster(
    client: Client,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    advance: Advance,
    n_units: Callable[[Task], int],
) -> list[Result]:
    results: dict[int, Result] = {}
    waiting = iter(enumerate(tasks))
    n_workers = len(client.scheduler_info()["workers"])

    def submit(count: int) -> list[Any]:
        futures = []
        for i, task in islice(waiting, count):
            future = client.submit(_alone, function, task, pure=False, retries=1)
            numbers[future.key] = i
            futures.append(future)
        return futures

    numbers: dict[Any, int] = {}
    running = as_completed(submit(IN_FLIGHT_PER_WORKER * n_workers))
    for future in running:
        i = numbers.pop(future.key)
        try:
            results[i] = future.result()
        except KilledWorker as error:
            raise TryAgainError(
                "a worker process died again and again at the same task, perhaps for want of memory. What was written "
                "before is whole: type the same command again, with fewer --workers."
            ) from error
        advance(n_units(tasks[i]))
        for new in submit(1):
            running.add(new)
    return [results[i] for i in range(len(tasks))]


def _alone(function: Callable[[Task], Result], task: Task) -> Result:
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
