"""Progress: a bar on a terminal, one line a minute in a batch log."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jobs.common.terminal import QUIET, closed_door, complain, raw
from lake.escapes import printable

LINE_EVERY_S = 60.0

Advance = Callable[[int], None]
"""Called with the number of units that were done since the last call."""


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator[Advance]:
    """Show the progress of a long step on standard error.

    Parameters
    ----------
    label
        What is going on.
    total, unit
        Number of units in all, and their name.
    """
    if os.environ.get(QUIET):
        yield lambda _: None
        return
    label, unit = printable(label), printable(unit)
    console = Console(file=raw(sys.stderr))
    if sys.stderr.isatty() and not console.is_dumb_terminal:  # what rich takes for one may be a log of a build server
        names = TextColumn("{task.description}", markup=False), TextColumn(unit, markup=False)
        columns = (names[0], BarColumn(), MofNCompleteColumn(), names[1], TimeElapsedColumn(), TimeRemainingColumn())
        # What is printed is not for here; what is written to standard error goes above the bar.
        with Progress(*columns, console=console, redirect_stdout=False) as bar, closed_door():
            task = bar.add_task(label, total=total)
            yield lambda n: bar.advance(task, n)
        return
    done, began = 0, time.monotonic()
    said = began

    def advance(n: int) -> None:
        nonlocal done, said
        done += n
        now = time.monotonic()
        if now - said >= LINE_EVERY_S:
            said = now
            left_s = (now - began) / max(done, 1) * (total - done)
            complain(f"{label}: {done} of {total} {unit}, {now - began:.0f} s, about {left_s:.0f} s left")

    yield advance
    complain(f"{label}: {done} of {total} {unit}, {time.monotonic() - began:.1f} s")


@contextmanager
def counting(label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of a step that reports how many units of how many are done.

    Parameters
    ----------
    label, unit
        What is going on, and the name of the units.
    """
    before = 0
    with ExitStack() as stack:
        advance: Advance | None = None

        def tell(done: int, total: int) -> None:
            nonlocal advance, before
            advance = advance or stack.enter_context(progress(label, total, unit))
            advance(done - before)
            before = done

        yield tell
