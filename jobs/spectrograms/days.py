"""The partitions of a plan: what is missing of each recorder's UTC days."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from jobs.common.partitions import share
from jobs.spectrograms.plan import Block, Placed, Plan
from lake.constants import MS_PER_DAY
from lake.ledger import Entry

Written = Mapping[tuple[str, int], Entry]
"""What a ledger says of every block, by recorder and number; see ``Ledger.written``."""


@dataclass(frozen=True)
class Day:
    """What is missing of one UTC day of one recorder.

    Attributes
    ----------
    recorder, date
        The recorder, and the day as ``2021-07-14``.
    blocks
        Blocks to be written.
    recordings
        The recorder's recordings that they touch, in order of time.
    """

    recorder: str
    date: str
    blocks: tuple[Block, ...]
    recordings: tuple[Placed, ...]

    @property
    def name(self) -> str:
        """What the day is called in a message, with its recordings."""
        paths = [recording.path for recording in self.recordings]
        held = " to ".join(dict.fromkeys([paths[0], paths[-1]])) if paths else "no recording"
        return f"{self.recorder} {self.date} ({held})"

    @property
    def n_windows(self) -> int:
        """Windows to be written."""
        return sum(len(block.cells) for block in self.blocks)


def missing_blocks(plan: Plan, written: Written) -> list[Block]:
    """Return the blocks that are not written, or were written from other recordings."""
    return [block for block in plan.blocks if not _stands(block, written)]


def missing_days(plan: Plan, written: Written, part: tuple[int, int] | None = None) -> list[Day]:
    """Return the days with blocks to write, in the store's order.

    Parameters
    ----------
    plan, written
        What there is to do, and what is done.
    part
        ``(i, n)`` takes the i-th of n shares, counted over all days of the plan: it is the same whatever is
        written already.
    """
    per_day = plan.grid.cells_per_day
    days = [
        (recorder, number, tuple(blocks))
        for (recorder, number), blocks in groupby(plan.blocks, lambda b: (b.recorder, b.cells[0] // per_day))
    ]
    near = _recordings_by_day(plan)
    made = []
    for recorder, number, blocks in share(days, part):
        todo = tuple(block for block in blocks if not _stands(block, written))
        if not todo:
            continue
        lower = plan.grid.start_ms(todo[0].cells[0])
        upper = plan.grid.start_ms(todo[-1].cells[-1]) + plan.grid.window_ms
        recordings = [r for r in near[recorder, number] if r.start_ms < upper and r.end_ms > lower]
        recordings.sort(key=lambda r: (r.start_ms, r.sha256))
        made.append(Day(recorder, plan.grid.day_of(todo[0].cells[0]), todo, tuple(recordings)))
    return made


def _stands(block: Block, written: Written) -> bool:
    entry = written.get((block.recorder, block.number))
    return entry is not None and entry.inputs == block.inputs


def _recordings_by_day(plan: Plan) -> dict[tuple[str, int], list[Placed]]:
    """Return the recordings that a window of each day may touch, by recorder and the day's number on the grid."""
    found: dict[tuple[str, int], list[Placed]] = {}
    for recording in plan.recordings:
        first = (recording.start_ms - plan.grid.origin_ms - plan.grid.window_ms) // MS_PER_DAY
        last = int(recording.end_ms - plan.grid.origin_ms) // MS_PER_DAY
        for number in range(first, last + 1):
            found.setdefault((recording.recorder, number), []).append(recording)
    return found
