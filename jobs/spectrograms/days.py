"""The partitions of a cube's plan: what is missing of each recorder's UTC days, with the recordings that they touch."""

from dataclasses import dataclass

from jobs.common import days
from jobs.common.days import Written
from jobs.spectrograms.plan import Block, Placed, Plan
from lake.constants import MS_PER_DAY


@dataclass(frozen=True)
class Day(days.Day[Block]):
    """The missing blocks of one UTC day of one recorder, and the ``recordings`` that it touches, in order of time."""

    recordings: tuple[Placed, ...]

    @property
    def name(self) -> str:
        """Name of the day in a message, with its recordings."""
        paths = [recording.path for recording in self.recordings]
        held = " to ".join(dict.fromkeys([paths[0], paths[-1]])) if paths else "no recording"
        return f"{self.recorder} {self.date} ({held})"


def missing_days(plan: Plan, written: Written, part: tuple[int, int] | None = None) -> list[Day]:
    """Return the days with blocks to write, in the store's order; see :func:`jobs.common.days.missing_days`."""
    near = _recordings_by_day(plan)
    made = []
    for day in days.missing_days(plan, written, part):
        first, last = day.blocks[0].cells[0], day.blocks[-1].cells[-1]
        lower, upper = plan.grid.start_ms(first), plan.grid.start_ms(last) + plan.grid.window_ms
        number = first // plan.grid.cells_per_day
        recordings = [r for r in near[day.recorder, number] if r.start_ms < upper and r.end_ms > lower]
        recordings.sort(key=lambda r: (r.start_ms, r.sha256))
        made.append(Day(day.recorder, day.date, day.blocks, tuple(recordings)))
    return made


def _recordings_by_day(plan: Plan) -> dict[tuple[str, int], list[Placed]]:
    """Return the recordings that a window of each day may touch, by recorder and the day's number on the grid."""
    found: dict[tuple[str, int], list[Placed]] = {}
    for recording in plan.recordings:
        first = (recording.start_ms - plan.grid.origin_ms - plan.grid.window_ms) // MS_PER_DAY
        last = int(recording.end_ms - plan.grid.origin_ms) // MS_PER_DAY
        for number in range(first, last + 1):
            found.setdefault((recording.recorder, number), []).append(recording)
    return found
