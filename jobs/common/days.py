"""The partitions of an extending job's plan, a UTC day of one recorder each, and which of them are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lake.grid import Grid
from lake.ledger import Entry

Written = Mapping[tuple[str, int], Entry]
"""The ledger's entry of every block, by recorder and number; see ``Ledger.written``."""


class Block(Protocol):
    """One shard of each array of the store: a recorder, the block's number along time, and what it is made from."""

    @property
    def recorder(self) -> str:
        """Return the name of the recorder."""

    @property
    def number(self) -> int:
        """Return its number along time."""

    @property
    def cells(self) -> Sequence[int] | NDArray[np.int64]:
        """Return the cells that it holds."""

    @property
    def inputs(self) -> str:
        """Return the digest of what it is made from."""


T = TypeVar("T")
B = TypeVar("B", bound=Block)
B_co = TypeVar("B_co", bound=Block, covariant=True)


class Plan(Protocol[B_co]):
    """All blocks that the store is to hold, sorted by recorder and number, on their grid."""

    @property
    def grid(self) -> Grid:
        """Return the grid of all recorders."""

    @property
    def recorders(self) -> tuple[str, ...]:
        """Return the recorders, in the order of the store."""

    @property
    def blocks(self) -> Sequence[B_co]:
        """Return the blocks."""


@dataclass(frozen=True)
class Day(Generic[B_co]):
    """The blocks of one partition that are to be written."""

    recorder: str
    date: str
    blocks: tuple[B_co, ...]

    @property
    def name(self) -> str:
        """Name of the partition in messages."""
        return f"{self.recorder} {self.date}"

    @property
    def n_windows(self) -> int:
        """Windows to be written."""
        return sum(len(block.cells) for block in self.blocks)


def share(tasks: Sequence[T], part: tuple[int, int] | None) -> list[T]:
    """Return every n-th task from the i-th on, i being below n, or all of them."""
    if part is None:
        return list(tasks)
    i, n = part
    return list(tasks[i::n])


def missing_blocks(plan: Plan[B], written: Written) -> list[B]:
    """Return the blocks that are not written, or were written from other inputs."""
    return [block for block in plan.blocks if not _stands(block, written)]


def missing_days(plan: Plan[B], written: Written, part: tuple[int, int] | None = None) -> list[Day[B]]:
    """Return the partitions with blocks to write, in the store's order.

    Parameters
    ----------
    plan, written
        What there is to do, and what is done.
    part
        ``(i, n)`` takes the i-th of n shares, counted over all partitions of the plan: it is the same whatever is
        written already.
    """
    days = []
    for recorder, date, blocks in share(days_of(plan), part):
        missing = tuple(block for block in blocks if not _stands(block, written))
        if missing:
            days.append(Day(recorder, date, missing))
    return days


def days_of(plan: Plan[B]) -> list[tuple[str, str, list[B]]]:
    """Return recorder, date and blocks of each partition of a plan."""
    per_day = plan.grid.cells_per_day
    groups = groupby(plan.blocks, lambda block: (block.recorder, int(block.cells[0]) // per_day))
    return [(recorder, plan.grid.day_of(number * per_day), list(blocks)) for (recorder, number), blocks in groups]


def _stands(block: Block, written: Written) -> bool:
    entry = written.get((block.recorder, block.number))
    return entry is not None and entry.inputs == block.inputs
