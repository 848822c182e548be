"""Results in the order of their tasks, computed ahead in threads or on Dask workers; few of them are held at a time."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from jobs.common.schedulers import current_client
from lake.threads import in_threads

if TYPE_CHECKING:
    from distributed import Client

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD_PER_THREAD = 2


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
    client: "Client | None" = None
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
            from jobs.common.on_dask import in_order  # noqa: PLC0415 (see `jobs.common.schedulers`)

            checked = function if self.check is None else partial(_checked, self.check, function)
            return in_order(self.client, checked, tasks, ahead)
        if self.threads <= 1:
            return (function(task) for task in tasks)
        return in_threads(function, tasks, self.threads, ahead=max(ahead, self.threads * AHEAD_PER_THREAD))


def team(threads: int, check: Callable[[], None] | None = None) -> Team:
    """Return the workers of the current Dask client if there is one, threads otherwise; see :class:`Team`."""
    return Team(threads, current_client(), check)


def _checked(check: Callable[[], None], function: Callable[[Task], Result], task: Task) -> Result:
    check()
    return function(task)
