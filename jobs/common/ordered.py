"""Results in the order of their tasks, computed ahead in threads or on Dask workers; few of them are held at a time."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import dask.config
from distributed import Client, Future, KilledWorker

from jobs.common.machines import current_client
from jobs.common.partitions import alone, capacity_of, error_of, line_of, raised, talking_to
from jobs.common.terminal import complain
from lake.threads import in_threads

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD_PER_THREAD = 2
MOST_GATHERED = 8
"""Results that are fetched from the workers at once."""


@dataclass(frozen=True)
class Team:
    """The workers: threads of this process, or those of a Dask client.

    Attributes
    ----------
    threads
        Threads; one is the thread that takes the results.
    client
        If there is one, its workers compute in place of threads.
    check
        Called in a worker before each task; raises if the worker cannot do the tasks of this run.
    """

    threads: int
    client: Client | None = None
    check: Callable[[], None] | None = None

    def in_order(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], *, ahead: int = 0
    ) -> Generator[Result, None, None]:
        """Yield the results in the tasks' order; neither threads nor workers change them.

        Parameters
        ----------
        function
            What is applied to each task. In threads it must spend its time outside of Python, as decompression and
            matrix products do. Workers get it once, with all that it holds; then it must be picklable.
        tasks
            Any number of them; each is taken when there is room for it.
        ahead
            Tasks that may be ahead of the result that is taken next, if more than threads or workers ask for.

        Raises
        ------
        DawnchorusError
            If a task fails twice on workers, of the class of its error; :class:`TryAgainError` if worker processes
            died of it twice, or the scheduler is lost. What a task raises in a thread is raised as it is.
        """
        if self.client is not None:
            checked = function if self.check is None else partial(_checked, self.check, function)
            return _on_workers(self.client, checked, tasks, ahead)
        if self.threads <= 1:
            return (function(task) for task in tasks)
        return in_threads(function, tasks, self.threads, ahead=max(ahead, self.threads * AHEAD_PER_THREAD))


def team(threads: int, check: Callable[[], None] | None = None) -> Team:
    """Return the workers of the current Dask client if there is one, threads otherwise; see :class:`Team`."""
    return Team(threads, current_client(), check)


def _checked(check: Callable[[], None], function: Callable[[Task], Result], task: Task) -> Result:
    check()
    return function(task)


def _on_workers(
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
        except KilledWorker as killed:
            error = killed
    complain(f"a step failed and is tried once more: {line_of(error)}")
    again = submitted(task)
    error = error_of(client, again)
    if error is not None:
        raise raised(error)
    with talking_to(client):
        return [again.result(), *(future.result() for future in there[1:])]


def _same(function: Callable[[Task], Result]) -> Callable[[Task], Result]:
    return function
