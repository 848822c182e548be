"""Progress: a bar on a terminal, one line a minute in a batch log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

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
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
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
            sys.stderr.write(f"{label}: {done} of {total} {unit}, {now - began:.0f} s, about {left_s:.0f} s left\n")
            sys.stderr.flush()

    yield advance
    sys.stderr.write(f"{label}: {done} of {total} {unit}, {time.monotonic() - began:.1f} s\n")
    sys.stderr.flush()
