"""How many windows there are of what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.atlas.windows import Table
from jobs.common.pages.hours import HOURS_PER_DAY
from jobs.common.pages.spans import Spans, spans_of


@dataclass(frozen=True)
class Tally:
    """How many windows there are of what.

    Attributes
    ----------
    by_hour
        Windows by cluster and hour of day of the recorders with clock times, shape (n_clusters, 24).
    by_recorder, by_site
        Windows by cluster and recorder, and by cluster and site, shapes (n_clusters, n_recorders) and
        (n_clusters, n_sites).
    sites
        The sites, those without a name as one, in the order of the cube's table.
    n_partial
        Windows that are partial, by recorder, shape (n_recorders,).
    span_cell
        Time index of each recorder's first and last window; -1 without any, shape (n_recorders, 2).
    n_utc_hours
        Windows in ``by_hour`` whose hour is UTC, since local time is unknown.
    """

    by_hour: NDArray[np.int64]
    by_recorder: NDArray[np.int64]
    by_site: NDArray[np.int64]
    sites: tuple[str, ...]
    n_partial: NDArray[np.int64]
    span_cell: NDArray[np.int64]
    n_utc_hours: int


def tally(table: Table, *, n_clusters: int, n_recorders: int, sites: Sequence[str]) -> Tally:
    """Count windows.

    Parameters
    ----------
    table
        The windows.
    n_clusters, n_recorders
        Sizes of the clustering.
    sites
        Site of each deployment; empty where it has none.
    """
    timed = table.is_timed
    names = tuple(dict.fromkeys([*sites, ""]))
    site = np.array([names.index(name) for name in [*sites, ""]])[table.deployment]  # -1 takes the last: no name
    span_cell = np.full((n_recorders, 2), -1, dtype=np.int64)
    present, first = np.unique(table.recorder, return_index=True)
    span_cell[present, 0] = table.cell[first]
    span_cell[present, 1] = table.cell[np.append(first[1:], len(table)) - 1] if len(present) else -1
    return Tally(
        by_hour=count_hours(table.cluster[timed], table.hour[timed].astype(np.int64), n_clusters),
        by_recorder=_pairs(table.cluster, table.recorder, n_clusters, n_recorders),
        by_site=_pairs(table.cluster, site, n_clusters, len(names)),
        sites=names,
        n_partial=np.bincount(table.recorder[table.is_partial], minlength=n_recorders),
        span_cell=span_cell,
        n_utc_hours=int(np.count_nonzero(timed & ~table.is_local)),
    )


def _pairs(
    cluster: NDArray[np.int16], group: NDArray[np.integer[Any]], n_clusters: int, n_groups: int
) -> NDArray[np.int64]:
    """Return the number of windows by cluster and group."""
    flat = cluster.astype(np.int64) * n_groups + group
    return np.bincount(flat, minlength=n_clusters * n_groups).reshape(n_clusters, n_groups)


@dataclass(frozen=True)
class Calendar:
    """Windows by date and hour of day, by the local clock.

    Attributes
    ----------
    spans
        Its columns: dates, or weeks, months or years of a long study.
    effort
        Windows recorded, shape (n_spans, 24).
    offset_s
        Local time minus UTC at most of each span's windows, seconds; that of the nearest span before (or after)
        for those without windows, shape (n_spans,).
    """

    spans: Spans
    effort: NDArray[np.int64]
    offset_s: NDArray[np.int64]

    @property
    def first_day(self) -> int:
        """First date, days since 1970."""
        return int(self.spans.edges[0])


def calendar_of(table: Table) -> Calendar | None:
    """Return what was recorded by date and hour; ``None`` if no window has a clock time."""
    timed = np.flatnonzero(table.is_timed)
    if len(timed) == 0:
        return None
    day = table.day[timed]
    spans = spans_of(int(day.min()), int(day.max()))
    effort = _spans_hours(table, timed, spans)
    offset_s = np.zeros(len(effort), dtype=np.int64)
    known = np.zeros(len(effort), dtype=np.bool_)
    local = timed[table.is_local[timed]]
    found = np.stack([spans.of(table.day[local]), table.offset_s[local]])
    pairs, counts = np.unique(found, axis=1, return_counts=True)
    for i in np.argsort(counts, kind="stable"):  # the most frequent last
        offset_s[pairs[0, i]], known[pairs[0, i]] = pairs[1, i], True
    if known.any():
        where = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
        offset_s = offset_s[np.where(where < 0, int(np.argmax(known)), where)]
    return Calendar(spans, effort, offset_s)


def cluster_calendar(table: Table, calendar: Calendar, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return the number of windows among ``rows`` by span and hour, shape (n_spans, 24)."""
    return _spans_hours(table, rows[table.is_timed[rows]], calendar.spans)


def recorder_calendar(table: Table, calendar: Calendar, n_recorders: int) -> NDArray[np.int64]:
    """Return the number of windows by recorder and span, shape (n_recorders, n_spans)."""
    timed, n = table.is_timed, len(calendar.spans)
    flat = table.recorder[timed].astype(np.int64) * n + calendar.spans.of(table.day[timed])
    return np.bincount(flat, minlength=n_recorders * n).reshape(n_recorders, n)


def _spans_hours(table: Table, rows: NDArray[np.integer[Any]], spans: Spans) -> NDArray[np.int64]:
    flat = spans.of(table.day[rows]) * HOURS_PER_DAY + table.hour[rows]
    return np.bincount(flat, minlength=len(spans) * HOURS_PER_DAY).reshape(len(spans), HOURS_PER_DAY)


def count_hours(cluster: NDArray[np.int16], hour: NDArray[np.int64], n_clusters: int) -> NDArray[np.int64]:
    """Return the number of windows by cluster and hour of day, shape (n_clusters, 24).

    Parameters
    ----------
    cluster
        Cluster of each window, 0 to n_clusters - 1, shape (n_windows,).
    hour
        Hour of day of each window, 0 to 23, shape (n_windows,).
    n_clusters
        Number of clusters.
    """
    pairs = cluster.astype(np.int64) * HOURS_PER_DAY + hour
    return np.bincount(pairs, minlength=n_clusters * HOURS_PER_DAY).reshape(n_clusters, HOURS_PER_DAY)
