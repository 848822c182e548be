"""The time grid: cell i is the window that starts at ``origin + i * hop``."""

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime

from lake.constants import MS_PER_DAY
from lake.errors import InputError


@dataclass(frozen=True)
class Grid:
    """A regular UTC grid of windows; all quantities are whole milliseconds.

    Attributes
    ----------
    origin_ms, end_ms
        First and last UTC midnight, milliseconds since 1970; the end is exclusive.
    window_ms, hop_ms
        Length of a window and distance of two starts; the hop divides a day.
    """

    origin_ms: int
    end_ms: int
    window_ms: int
    hop_ms: int

    def __post_init__(self) -> None:
        if MS_PER_DAY % self.hop_ms:
            raise InputError(f"{_uneven(self.hop_ms)}.")
        if self.origin_ms % MS_PER_DAY or self.end_ms % MS_PER_DAY or self.end_ms <= self.origin_ms:
            span = f"{iso(self.origin_ms)} to {iso(self.end_ms)}"
            raise InputError(f"a grid runs from one UTC midnight to a later one, not from {span}.")

    @property
    def cells_per_day(self) -> int:
        """Number of cells in one UTC day."""
        return MS_PER_DAY // self.hop_ms

    @property
    def n_days(self) -> int:
        """Number of UTC days."""
        return (self.end_ms - self.origin_ms) // MS_PER_DAY

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.n_days * self.cells_per_day

    @property
    def attrs(self) -> dict[str, int]:
        """The grid in a store's attributes; its end is the size of ``time``."""
        return {"origin_ms": self.origin_ms, "window_ms": self.window_ms, "hop_ms": self.hop_ms}

    def has_cells_of(self, other: "Grid") -> bool:
        """Return whether a cell is the same time on both grids, however far they go."""
        return self.attrs == other.attrs

    def start_ms(self, cell: int) -> int:
        """Return the start of a cell, milliseconds since 1970."""
        return self.origin_ms + cell * self.hop_ms

    def touched(self, start_ms: int, end_ms: int) -> range:
        """Return the cells whose windows share at least an instant with ``[start_ms, end_ms)``."""
        first = (start_ms - self.origin_ms - self.window_ms) // self.hop_ms + 1
        last = -(-(end_ms - self.origin_ms) // self.hop_ms) - 1
        return range(max(first, 0), min(last + 1, self.n_cells))

    def day_of(self, cell: int) -> str:
        """Return the UTC date of a cell's start, as ``2021-07-14``."""
        return iso(self.start_ms(cell))[:10]


def require_cells(window_s: float, hop_s: float) -> None:
    """Refuse windows and hops, in seconds, that make no grid.

    Raises
    ------
    ValueError
        If one is no whole number of milliseconds, or the hop does not divide a day.
    """
    for name, value_ms in (("window_s", window_s * 1000), ("hop_s", hop_s * 1000)):
        if abs(value_ms - round(value_ms)) > 1e-6:
            raise ValueError(f"{name} = {value_ms / 1000!r} is not a whole number of milliseconds")
    if MS_PER_DAY % round(hop_s * 1000):
        raise ValueError(_uneven(round(hop_s * 1000)))


def month_span(first_ms: int, last_ms: int) -> tuple[int, int]:
    """Return the UTC midnights around the months of two instants: a grid's default origin and end."""
    first = datetime.fromtimestamp(first_ms / 1000, UTC)
    last = datetime.fromtimestamp(last_ms / 1000, UTC)
    origin = datetime(first.year, first.month, 1, tzinfo=UTC)
    month = datetime(last.year, last.month, 1, tzinfo=UTC)
    n_days = calendar.monthrange(last.year, last.month)[1]
    return round(origin.timestamp() * 1000), round(month.timestamp() * 1000) + n_days * MS_PER_DAY


def iso(instant_ms: int) -> str:
    """Return an instant as ISO 8601 in UTC, with milliseconds only where there are some.

    Examples
    --------
    >>> iso(0), iso(1500)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:01.500Z')
    """
    seconds, rest_ms = divmod(instant_ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest_ms:03d}Z" if rest_ms else f"{text}Z"


def divisor_near(number: int, wanted: int) -> int:
    """Return the divisor of ``number`` nearest to ``wanted``, the smaller of two.

    Examples
    --------
    >>> divisor_near(28800, 100), divisor_near(17280, 100)
    (100, 96)
    """
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda divisor: (abs(divisor - wanted), divisor))


def _uneven(hop_ms: int) -> str:
    return f"hop_s = {hop_ms / 1000:g} does not divide a day of 86400 s; try {_near(hop_ms)}"


def _near(hop_ms: int) -> str:
    """Return the divisors of a day on both sides of a hop, in seconds."""
    within = min(hop_ms, MS_PER_DAY)
    below = next(h for h in range(within, 0, -1) if MS_PER_DAY % h == 0)
    above = next(h for h in range(within, MS_PER_DAY + 1) if MS_PER_DAY % h == 0)
    return " or ".join(f"{h / 1000:g}" for h in dict.fromkeys((below, above)))
