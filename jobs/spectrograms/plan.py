"""Place recordings on the grid, plan the blocks to write, and list the days that are missing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.common import days
from jobs.common.audio.probe import Reading, is_float
from jobs.common.days import Written
from jobs.spectrograms.config import Config
from jobs.spectrograms.mel import n_usable_bands
from lake.constants import COPIES, EARLIEST_MS, MS_PER_DAY, UNTIMED
from lake.errors import InputError
from lake.grid import Grid, iso, month_span
from lake.identity import short_hash
from lake.ownership import JOIN_MS, Segment, own_segments

UNTIMED_CODES = frozenset({"no_time", "zone_unknown", "date_out_of_range"})
"""Codes of recordings without a start."""
NO_BAND = "no_band"
"""Reason of a recording whose Nyquist frequency is below the upper edge of the lowest band."""
NO_CHANNEL = "no_channel"
"""Reason of a recording that lacks the channel of the settings."""


@dataclass(frozen=True)
class Placed:
    """A recording that has a place on the grid.

    Attributes
    ----------
    path, sha256, recorder, deployment, reading
        As in the table of recordings; ``recorder`` is ``untimed:…`` for one placed in sequence.
    start_ms, end_ms
        Its span, milliseconds since 1970.
    n_samples, sample_rate_hz, n_channels
        What can be decoded.
    utc_offset_s
        Local time minus UTC, if known.
    is_float
        Whether its samples are floating-point numbers.
    """

    path: str
    sha256: str
    recorder: str
    deployment: str
    reading: Reading
    start_ms: int
    end_ms: float
    n_samples: int
    sample_rate_hz: int
    n_channels: int
    utc_offset_s: int | None
    is_float: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Key that is unique among a recorder's recordings: silent ones have the same bytes."""
        return self.sha256, self.start_ms


@dataclass(frozen=True)
class Block:
    """One shard's worth of work: the cells that enough was recorded of, and what they are made from.

    There are tens of thousands in a season, so cells that follow each other are a ``range``.
    """

    recorder: str
    number: int
    cells: range | tuple[int, ...]
    overlapped: frozenset[int]
    segments: tuple[Segment[Placed], ...]
    n_below_coverage: int
    inputs: str


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Attributes
    ----------
    grid, recorders
        The grid and the recorders' order in the store.
    blocks
        All blocks, sorted by recorder (in the store's order) and number.
    recordings
        The recordings that have a place.
    quarantined
        Reason by path of each recording that is set aside.
    notes
        Messages about deployments that no recording is in.
    deployments
        Rows of the deployments table by name.
    """

    grid: Grid
    recorders: tuple[str, ...]
    blocks: tuple[Block, ...]
    recordings: tuple[Placed, ...]
    quarantined: Mapping[str, str]
    notes: tuple[str, ...] = ()
    deployments: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def make_plan(
    recordings: pd.DataFrame,
    config: Config,
    *,
    stored_grid: tuple[int, int] | None = None,
    stored_recorders: tuple[str, ...] = (),
    span_ms: tuple[int | None, int | None] = (None, None),
) -> Plan:
    """Place recordings on the grid.

    Parameters
    ----------
    recordings
        Table as :func:`lake.recordings.read_recordings` returns it.
    config
        The job's configuration.
    stored_grid
        Origin and end of the store, if there is one: the origin stays, the end may be raised.
    stored_recorders
        The recorders of the store, whose order stays.
    span_ms
        First and last instant of the study, if the user has named them.

    Raises
    ------
    InputError
        If nothing can be placed, or a recording starts before the origin of the store.

    Notes
    -----
    Where recordings of one recorder overlap, the one that started first owns the shared seconds.
    """
    placed, quarantined = accept(recordings, config, span_ms)
    if not placed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(quarantined.values()).most_common())
        raise InputError(
            f"none of {len(recordings)} recordings has a place on the time grid ({reasons or 'the table is empty'}). "
            'Name the zone of local times (`dawnchorus catalog … --zone FOLDER=IANA`), or set `untimed = "sequence"`.'
        )
    grid = _grid(placed, config, stored_grid)
    by_recorder: dict[str, list[Placed]] = {name: [] for name in stored_recorders}
    for recording in placed:
        by_recorder.setdefault(recording.recorder, []).append(recording)
    blocks = [block for name, mine in by_recorder.items() for block in _blocks(name, mine, grid, config)]
    return Plan(grid, tuple(by_recorder), tuple(blocks), tuple(placed), quarantined)


def accept(
    recordings: pd.DataFrame, config: Config, span_ms: tuple[int | None, int | None] = (None, None)
) -> tuple[list[Placed], dict[str, str]]:
    """Return the recordings that have a place, in the table's order, and by path why the others have none.

    ``outside_study`` is a start before 2001 (a clock that was not set), outside the named span, or one that the
    catalog says cannot be right; ``no_band`` a sample rate too low for the lowest band;
    ``no_channel`` that the channel of the settings is not in it.
    """
    low = span_ms[0] if span_ms[0] is not None else EARLIEST_MS
    high = span_ms[1] if span_ms[1] is not None else np.inf
    placed: list[Placed] = []
    untimed: list[Placed] = []
    quarantined: dict[str, str] = {}
    starts = pd.to_datetime(recordings["start_utc"], utc=True).dt.tz_localize(None).to_numpy("datetime64[ms]")
    for row, start in zip(recordings.itertuples(index=False), starts, strict=True):
        problems = [problem for problem in str(row.problems).split(";") if problem]
        start_ms = None if np.isnat(start) else int(start.astype(np.int64))
        reason = _reason(row, problems, start_ms, config)
        if not reason and start_ms is not None and ("clock_reset" in problems or not low <= start_ms < high):
            reason = "outside_study"
        if reason:
            quarantined[str(row.path)] = reason
        elif start_ms is None:
            untimed.append(_placed(row, f"{UNTIMED}{row.recorder}", 0))
        else:
            placed.append(_placed(row, str(row.recorder), start_ms))
    return placed + _in_sequence(untimed, placed, config), quarantined


def coverage(grid: Grid, cells: NDArray[np.int64], segments: list[Segment[Placed]]) -> NDArray[np.float64]:
    """Return the share of each cell's window that segments cover, shape (n_cells,)."""
    edges = np.array([[s.from_ms, s.to_ms] for s in segments]).reshape(-1) - grid.origin_ms
    recorded = np.array([[0.0, s.to_ms - s.from_ms] for s in segments]).reshape(-1).cumsum()
    starts = cells.astype(np.float64) * grid.hop_ms
    span = np.interp(starts + grid.window_ms, edges, recorded) - np.interp(starts, edges, recorded)
    return np.asarray(span / grid.window_ms)


def _reason(row: Any, problems: Sequence[str], start_ms: int | None, config: Config) -> str:  # noqa: ANN401 (a named tuple)
    """Return why a recording is set aside, or nothing."""
    copied = [code for code in COPIES if code in problems]
    if copied:
        return copied[0]
    if not row.reading:
        return problems[0] if problems else "unreadable"
    if pd.isna(row.n_samples) or row.n_samples <= 0:
        return "empty"
    if unfit := _unfit(int(row.sample_rate_hz), int(row.n_channels), config):
        return unfit
    if start_ms is None and config.untimed == "skip":
        return next((problem for problem in problems if problem in UNTIMED_CODES), "no_time")
    return ""


def _unfit(sample_rate_hz: int, n_channels: int, config: Config) -> str:
    """Return why the settings find nothing in a recording, or nothing."""
    if n_usable_bands(config, sample_rate_hz) == 0:
        return NO_BAND
    return NO_CHANNEL if config.channel != "mix" and n_channels <= config.channel else ""


def _placed(row: Any, recorder: str, start_ms: int) -> Placed:  # noqa: ANN401 (a named tuple)
    return Placed(
        path=str(row.path), sha256=str(row.sha256), recorder=recorder, deployment=str(row.deployment or ""),
        reading=row.reading, start_ms=start_ms, end_ms=start_ms + row.n_samples / row.sample_rate_hz * 1000,
        n_samples=int(row.n_samples), sample_rate_hz=int(row.sample_rate_hz), n_channels=int(row.n_channels),
        utc_offset_s=_offset_s(str(row.utc_offset or "")), is_float=is_float(str(getattr(row, "format", ""))),
    )  # fmt: skip


def _offset_s(text: str) -> int | None:
    """Return ``+HH:MM`` in seconds, or ``None`` for an unknown offset."""
    if not text:
        return None
    hours, minutes = text[1:].split(":")
    return (-1 if text[0] == "-" else 1) * (int(hours) * 3600 + int(minutes) * 60)


def _in_sequence(untimed: Sequence[Placed], timed: Sequence[Placed], config: Config) -> list[Placed]:
    """Place recordings without a time one after the other, on cells of their own: no window touches two."""
    starts = [recording.start_ms for recording in timed]
    origin_ms = month_span(min(starts), max(starts))[0] if starts else EARLIEST_MS
    next_ms: dict[str, int] = {}
    laid = []
    for recording in untimed:
        start_ms = next_ms.get(recording.recorder, origin_ms)
        end_ms = start_ms + recording.end_ms
        clear_ms = end_ms + config.window_ms - config.hop_ms - origin_ms
        next_ms[recording.recorder] = origin_ms + -int(-clear_ms // config.hop_ms) * config.hop_ms
        laid.append(replace(recording, start_ms=start_ms, end_ms=end_ms))
    return laid


def _grid(placed: Sequence[Placed], config: Config, stored: tuple[int, int] | None) -> Grid:
    first = min(placed, key=lambda recording: recording.start_ms)
    last_ms = int(np.ceil(max(recording.end_ms for recording in placed))) - 1
    origin_ms, end_ms = month_span(first.start_ms, last_ms)
    if stored is not None:
        if first.start_ms < stored[0]:
            n_early = sum(recording.start_ms < stored[0] for recording in placed)
            raise InputError(
                f"{n_early} recordings start before the origin of the store, {iso(stored[0])}; the first is "
                f"{first.path}, {iso(first.start_ms)}. An origin cannot be moved: give the run a new name; its origin "
                f"will be {iso(origin_ms)}."
            )
        origin_ms, end_ms = stored[0], max(stored[1], end_ms)
    return Grid(origin_ms, end_ms, config.window_ms, config.hop_ms)


def _blocks(name: str, recordings: Sequence[Placed], grid: Grid, config: Config) -> list[Block]:
    segments, overlaps = own_segments(recordings)
    cells = _unique_cells(grid, [(s.from_ms, s.to_ms) for s in segments])
    if len(cells) == 0:
        return []
    wanted = coverage(grid, cells, segments) >= config.min_coverage - JOIN_MS / config.window_ms
    overlapped = set(_unique_cells(grid, overlaps).tolist())
    starts, ends = np.array([s.from_ms for s in segments]), np.array([s.to_ms for s in segments])
    numbers, firsts = np.unique(cells // config.cells_per_shard, return_index=True)
    blocks = []
    for number, first, last in zip(numbers, firsts, [*firsts[1:], len(cells)], strict=True):
        mine = cells[first:last][wanted[first:last]].tolist()
        if not mine:
            continue
        lower, upper = grid.start_ms(mine[0]), grid.start_ms(mine[-1]) + grid.window_ms
        near = segments[int(np.searchsorted(ends, lower, "right")) : int(np.searchsorted(starts, upper, "left"))]
        inputs = short_hash([_input(segment) for segment in near])
        shared = frozenset(overlapped.intersection(mine))
        n_below = int(last - first) - len(mine)
        blocks.append(Block(name, int(number), _cells(mine), shared, tuple(near), n_below, inputs))
    return blocks


def _cells(numbers: list[int]) -> range | tuple[int, ...]:
    """Return sorted cells, as a range if none between the first and the last is left out."""
    span = range(numbers[0], numbers[-1] + 1)
    return span if len(span) == len(numbers) else tuple(numbers)


def _input(segment: Segment[Placed]) -> list[Any]:
    """Return what of a segment decides the bytes of a block."""
    recording = segment.recording
    facts = [recording.sha256, recording.start_ms, recording.n_samples, recording.deployment, recording.utc_offset_s]
    return [*facts, segment.from_ms, segment.to_ms]


def _unique_cells(grid: Grid, spans: list[tuple[float, float]]) -> NDArray[np.int64]:
    ranges = [grid.touched(int(np.floor(low)), int(np.ceil(high))) for low, high in spans]
    parts = [np.arange(r.start, r.stop, dtype=np.int64) for r in ranges]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)


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
