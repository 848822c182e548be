"""Days as columns of a picture that is legible over many years: days, weeks, months or years, by their number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jobs.common.pages.axes import Tick

Kind = Literal["day", "week", "month", "year"]
MOST_COLUMNS = 131
"""Columns of a picture at most: ten years and eleven months of months."""
MOST_TICKS = 9
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240)


@dataclass(frozen=True)
class Spans:
    """Spans of days one after another.

    Attributes
    ----------
    kind
        What each is.
    edges
        First day of each, and the day after the last, days since 1970, shape (n + 1,).
    """

    kind: Kind
    edges: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def middles(self) -> NDArray[np.int64]:
        """The day in the middle of each, days since 1970."""
        return (self.edges[:-1] + self.edges[1:] - 1) // 2

    def of(self, day: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return the number of the span that each day is in."""
        return np.asarray(np.searchsorted(self.edges, day, side="right") - 1, dtype=np.int64)

    @property
    def labels(self) -> list[str]:
        """The name of each: a date, the first date of a week, a month, a year."""
        letters = {"day": 10, "week": 10, "month": 7, "year": 4}[self.kind]
        return [str(day)[:letters] for day in self.edges[:-1].astype("datetime64[D]")]

    def ticks(self, n_most: int = MOST_TICKS) -> list[Tick]:
        """Return ticks at the middle of some: dates, else months, else years, evenly spaced."""
        n = len(self)
        if self.kind == "day" and n <= 60:
            chosen: Sequence[int] = range(0, n, -(-n // n_most))
            return [Tick(_percent(i, n), self.labels[i]) for i in chosen]
        first, last = self.edges[0].astype("datetime64[D]"), (self.edges[-1] - 1).astype("datetime64[D]")
        months = np.arange(first.astype("datetime64[M]"), last.astype("datetime64[M]") + 1)
        months = months[months.astype("datetime64[D]").astype(np.int64) >= self.edges[0]]
        number = months.astype(np.int64)  # since January 1970
        step = next((one for one in _MONTH_STEPS if np.count_nonzero(number % one == 0) <= n_most), _MONTH_STEPS[-1])
        letters = 4 if step >= 12 or self.kind == "year" else 7
        there = months[number % step == 0]
        places = self.of(there.astype("datetime64[D]").astype(np.int64))
        return [Tick(_percent(int(i), n), str(month)[:letters]) for i, month in zip(places, there, strict=True)]


def spans_of(first_day: int, last_day: int, n_most: int = MOST_COLUMNS) -> Spans:
    """Return the shortest kind of spans of which few enough cover all days.

    Parameters
    ----------
    first_day, last_day
        Days since 1970, both included.
    n_most
        Spans at most; years may be more.

    Examples
    --------
    >>> spans_of(0, 3).labels
    ['1970-01-01', '1970-01-02', '1970-01-03', '1970-01-04']
    >>> spans_of(0, 2000).labels[:2]
    ['1970-01', '1970-02']
    """
    if last_day - first_day < n_most:
        return Spans("day", np.arange(first_day, last_day + 2))
    monday = first_day - (first_day + 3) % 7  # 1970 began on a Thursday
    if (last_day - monday) // 7 < n_most:
        return Spans("week", np.arange(monday, last_day + 7 + 1, 7)[: (last_day - monday) // 7 + 2])
    months, years = (_calendar_edges(first_day, last_day, unit) for unit in "MY")
    return Spans("month", months) if len(months) - 1 <= n_most else Spans("year", years)


def _calendar_edges(first_day: int, last_day: int, unit: str) -> NDArray[np.int64]:
    """Return the first days of all months or years of a span of days, and of the one after."""
    first, last = (np.datetime64(day, "D").astype(f"datetime64[{unit}]") for day in (first_day, last_day))
    return np.arange(first, last + 2).astype("datetime64[D]").astype(np.int64)


def _percent(i: int, n: int) -> float:
    return round(100 * (i + 0.5) / n, 3)
