"""Results of a function in the order of its tasks, computed ahead by threads."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Task], Result], tasks: Iterable[Task], threads: int, *, ahead: int | None = None
) -> Generator[Result]:
    """Yield the results in the tasks' order; the number of threads changes none.

    Parameters
    ----------
    function
        Must spend its time outside of Python, as decompression and matrix products do. What it raises is raised here.
    tasks
        Any number of them; each is taken, by the caller's thread, when there is room for it.
    threads
        Threads; at least one.
    ahead
        Tasks that are begun before the first result is taken, and so the most results that are held: twice the number
        of threads if ``None``.
    """
    waiting = iter(tasks)
    threads = max(1, threads)
    pool = ThreadPoolExecutor(threads)
    try:
        begun = islice(waiting, max(1, 2 * threads if ahead is None else ahead))
        running: deque[Future[Result]] = deque(pool.submit(function, task) for task in begun)
        while running:
            result = running.popleft().result()
            running.extend(pool.submit(function, task) for task in islice(waiting, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
