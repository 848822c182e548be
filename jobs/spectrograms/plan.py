"""Which recording fills which cell of the grid, and which blocks have to be written."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.spectrograms.config import Config
from lake.errors import InputError
from lake.grid import Grid, iso, month_span
from lake.identity import short_hash

JOIN_MS = 1.0
"""Recordings whose ends are nearer than this follow each other; it is the resolution of the grid."""
EARLIEST_MS = int(np.datetime64("2001-01-01", "ms").astype(np.int64))
"""No recorder is older; a clock that was never set reads 1970, 1980 or 2000."""
UNTIMED_ORIGIN_MS = int(np.datetime64("2001-01-01", "ms").astype(np.int64))


@dataclass(frozen=True)
class Segment:
    """The part of a recording that is the sound of its recorder: overlaps are gone.

    Attributes
    ----------
    row
        Row of the recordings table.
    start_ms
        Start of the recording, milliseconds since 1970.
    from_ms, to_ms
        The span this segment owns.
    """

    row: int
    start_ms: int
    from_ms: float
    to_ms: float


@dataclass(frozen=True)
class Block:
    """One shard's worth of work: the cells that enough was recorded of, and what they are made from."""

    recorder: str
    number: int
    cells: tuple[int, ...]
    overlapped: frozenset[int]
    segments: tuple[Segment, ...]
    n_below_coverage: int
    inputs: str


@dataclass(frozen=True)
class Plan:
    """What a run of the job does.

    Attributes
    ----------
    grid, recorders
        The grid and the recorders' order in the store.
    real_time
        Whether each recorder's times are clock times.
    blocks
        All blocks, sorted by recorder (in the store's order) and number.
    recordings
        The table of placed recordings, in the order in which their rows enter the store.
    quarantined
        Reason by path of each recording that is set aside.
    """

    grid: Grid
    recorders: tuple[str, ...]
    real_time: tuple[bool, ...]
    blocks: tuple[Block, ...]
    recordings: pd.DataFrame
    quarantined: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Digest of all that is to be written."""
        return short_hash([[block.recorder, block.number, block.inputs] for block in self.blocks])


def make_plan(
    recordings: pd.DataFrame,
    config: Config,
    *,
    stored_grid: tuple[int, int] | None = None,
    stored_recorders: tuple[str, ...] = (),
    span_ms: tuple[int | None, int | None] = (None, None),
) -> Plan:
    """Lay recordings on the grid.

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
    if placed.empty:
        reasons = ", ".join(
            f"{count} {reason}" for reason, count in pd.Series(quarantined).value_counts().items()
        )
        raise InputError(
            f"none of {len(recordings)} recordings can be placed on the time grid ({reasons or 'the table is empty'})."
        )
    grid = _grid(placed, config, stored_grid)
    names = list(dict.fromkeys([*stored_recorders, *placed["recorder"]]))
    blocks: list[Block] = []
    facts = (
        placed[["sha256", "n_samples", "sample_rate_hz", "deployment", "gain_db"]]
        .astype(str)
        .to_numpy()
        .tolist()
    )
    for name in names:
        segments, overlaps = own_segments(placed[placed["recorder"] == name])
        blocks += _blocks(name, segments, overlaps, grid, config, facts)
    real = tuple(not name.startswith("untimed:") for name in names)
    return Plan(grid, tuple(names), real, tuple(blocks), placed, quarantined)


def accept(
    recordings: pd.DataFrame, config: Config, span_ms: tuple[int | None, int | None] = (None, None)
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the recordings that have a place, with ``start_ms`` and ``end_ms``, and why the others have none.

    ``outside_study`` is a start before 2001 (a clock that was not set), or outside the named span.
    """
    table = recordings.reset_index(drop=True)
    problems = table["problems"].fillna("").str.split(";")
    start = table["start_utc"].to_numpy().astype("datetime64[ms]")
    start_ms = start.astype(np.int64)
    untimed = np.isnat(start)
    low, high = span_ms[0] if span_ms[0] is not None else EARLIEST_MS, span_ms[1]
    reasons = pd.Series("", index=table.index)
    outside = ~untimed & ((start_ms < low) | ((start_ms >= high) if high is not None else False))
    reasons[outside] = "outside_study"
    if config.untimed == "skip":
        reasons[untimed] = [
            next((p for p in row if p in {"no_time", "zone_unknown"}), "no_time") for row in problems[untimed]
        ]
    reasons[table["n_samples"].fillna(0).to_numpy() <= 0] = "empty"
    reasons[table["reading"].fillna("").to_numpy() == ""] = [
        next((p for p in row if p), "unreadable")
        for row in problems[table["reading"].fillna("").to_numpy() == ""]
    ]
    reasons[problems.map(lambda row: "duplicate" in row).to_numpy(dtype=bool)] = "duplicate"
    keep = (reasons == "").to_numpy()
    placed = table[keep].assign(start_ms=start_ms[keep])
    if config.untimed == "sequence":
        placed = _in_sequence(placed, untimed[keep], config)
    placed = placed.reset_index(drop=True)
    length_ms = (
        placed["n_samples"].to_numpy(np.float64) / placed["sample_rate_hz"].to_numpy(np.float64) * 1000
    )
    placed["end_ms"] = placed["start_ms"].to_numpy(np.float64) + length_ms
    return placed, dict(zip(table["path"][~keep], reasons[~keep], strict=True))


def own_segments(table: pd.DataFrame) -> tuple[list[Segment], list[tuple[float, float]]]:
    """Return the disjoint segments of one recorder in order of time, and the spans where recordings overlapped."""
    ordered = table.sort_values(["start_ms", "sha256"], kind="stable")
    segments: list[Segment] = []
    overlaps: list[tuple[float, float]] = []
    owned_to = -np.inf
    for row, start_ms, end_ms in zip(ordered.index, ordered["start_ms"], ordered["end_ms"], strict=True):
        if start_ms < owned_to - JOIN_MS:
            overlaps.append((start_ms, min(owned_to, end_ms)))
        from_ms = max(float(start_ms), owned_to)
        if end_ms > from_ms:
            segments.append(Segment(int(row), int(start_ms), from_ms, float(end_ms)))
            owned_to = float(end_ms)
    return segments, overlaps


def coverage(grid: Grid, cells: NDArray[np.int64], segments: list[Segment]) -> NDArray[np.float64]:
    """Return the share of each cell's window that segments cover, shape (n_cells,)."""
    edges = np.array([[s.from_ms, s.to_ms] for s in segments]).reshape(-1) - grid.origin_ms
    recorded = np.array([[0.0, s.to_ms - s.from_ms] for s in segments]).reshape(-1).cumsum()
    starts = cells.astype(np.float64) * grid.hop_ms
    span = np.interp(starts + grid.window_ms, edges, recorded) - np.interp(starts, edges, recorded)
    return np.asarray(span / grid.window_ms)


def _in_sequence(placed: pd.DataFrame, untimed: NDArray[np.bool_], config: Config) -> pd.DataFrame:
    """Give recordings without a time one after the other, so far apart that no window touches two."""
    placed = placed.copy()
    timed = placed["start_ms"].to_numpy()[~untimed]
    origin_ms = month_span(int(timed.min()), int(timed.max()))[0] if len(timed) else UNTIMED_ORIGIN_MS
    next_ms: dict[str, int] = {}
    for row in placed.index[untimed]:
        name = f"untimed:{placed.loc[row, 'recorder']}"
        start_ms = next_ms.get(name, origin_ms)
        length_ms = placed.loc[row, "n_samples"] / placed.loc[row, "sample_rate_hz"] * 1000
        clear_ms = start_ms + length_ms + config.window_ms - config.hop_ms
        next_ms[name] = origin_ms + -int(-(clear_ms - origin_ms) // config.hop_ms) * config.hop_ms
        placed.loc[row, "recorder"] = name
        placed.loc[row, "start_ms"] = start_ms
    return placed


def _grid(placed: pd.DataFrame, config: Config, stored: tuple[int, int] | None) -> Grid:
    first_ms, last_ms = int(placed["start_ms"].min()), int(np.ceil(placed["end_ms"].max())) - 1
    origin_ms, end_ms = month_span(first_ms, last_ms)
    if stored is not None:
        if first_ms < stored[0]:
            early = placed.loc[placed["start_ms"] < stored[0], "path"].tolist()
            raise InputError(
                f"{len(early)} recordings start before the origin of the store, {iso(stored[0])} (first {iso(first_ms)}: {early[0]}). "
                f"An origin cannot be moved: give the run a new name; its origin will be {iso(origin_ms)}."
            )
        origin_ms, end_ms = stored[0], max(stored[1], end_ms)
    return Grid(origin_ms, end_ms, config.window_ms, config.hop_ms)


def _blocks(
    name: str,
    segments: list[Segment],
    overlaps: list[tuple[float, float]],
    grid: Grid,
    config: Config,
    facts: list[list[str]],
) -> list[Block]:
    cells = _unique_cells(grid, [(s.from_ms, s.to_ms) for s in segments])
    share = coverage(grid, cells, segments)
    wanted = share >= config.min_coverage - JOIN_MS / config.window_ms
    overlapped = set(_unique_cells(grid, overlaps).tolist())
    starts, ends = np.array([s.from_ms for s in segments]), np.array([s.to_ms for s in segments])
    numbers, firsts = np.unique(cells // config.cells_per_shard, return_index=True)
    blocks = []
    for number, first, last in zip(numbers, firsts, [*firsts[1:], len(cells)], strict=True):
        chosen = cells[first:last][wanted[first:last]].tolist()
        if not chosen:
            continue
        lower, upper = grid.start_ms(chosen[0]), grid.start_ms(chosen[-1]) + grid.window_ms
        near = segments[
            int(np.searchsorted(ends, lower, "right")) : int(np.searchsorted(starts, upper, "left"))
        ]
        inputs = short_hash([[s.start_ms, s.from_ms, s.to_ms, *facts[s.row]] for s in near])
        n_below = int(last - first) - len(chosen)
        shared = frozenset(overlapped.intersection(chosen))
        blocks.append(Block(name, int(number), tuple(chosen), shared, tuple(near), n_below, inputs))
    return blocks


def _unique_cells(grid: Grid, spans: list[tuple[float, float]]) -> NDArray[np.int64]:
    ranges = [grid.touched(int(np.floor(low)), int(np.ceil(high))) for low, high in spans]
    parts = [np.arange(r.start, r.stop, dtype=np.int64) for r in ranges]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)
