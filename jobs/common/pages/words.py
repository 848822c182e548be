"""Numbers and times as people read them."""

from lake.grid import iso


def share(part: int, whole: int) -> str:
    """Return a share in percent, as people read it.

    Examples
    --------
    >>> share(1, 3), share(1, 30_000), share(0, 3), share(1, 0)
    ('33\u202f%', '0.0033\u202f%', '0\u202f%', '–')
    """
    if whole == 0:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.0f}\u202f%" if percent >= 10 or part == 0 else f"{percent:.2g}\u202f%"


def utc(start_ms: int) -> str:
    """Return an instant in UTC.

    Examples
    --------
    >>> utc(1_624_352_400_000)
    '2021-06-22 09:00:00 UTC'
    """
    return iso(start_ms).replace("T", " ").replace("Z", " UTC")


def local(start_ms: int, offset_s: int) -> str:
    """Return an instant in local time, with its distance to UTC.

    Examples
    --------
    >>> local(1_624_352_400_000, -18_000)
    '2021-06-22 04:00:00 (UTC−05:00)'
    """
    minutes = abs(offset_s) // 60
    sign = "−" if offset_s < 0 else "+"
    local = iso(start_ms + offset_s * 1000).replace("T", " ").removesuffix("Z")
    return f"{local} (UTC{sign}{minutes // 60:02d}:{minutes % 60:02d})"


def date(start_ms: int) -> str:
    """Return the UTC date of an instant."""
    return iso(start_ms)[:10]


def number(count: int) -> str:
    """Return a count with narrow spaces between thousands.

    Examples
    --------
    >>> number(230_259)
    '230\u202f259'
    """
    return f"{count:,}".replace(",", "\u202f")


def plain(value: float) -> str:
    """Return a quantity without zeros that say nothing, its minus as wide as a plus.

    Examples
    --------
    >>> plain(6.0), plain(-97.5)
    ('6', '−97.5')
    """
    return f"{value:.6g}".replace("-", "−")


def degrees(place: tuple[float, float]) -> str:
    """Return a place in degrees north and east as people write it.

    Examples
    --------
    >>> degrees((41.816, -88.069)), degrees((-33.9, 18.4))
    ('41.82° N, 88.07° W', '33.90° S, 18.40° E')
    """
    latitude, longitude = place
    return f"{abs(latitude):.2f}° {'NS'[latitude < 0]}, {abs(longitude):.2f}° {'EW'[longitude < 0]}"


def percent(value: float) -> str:
    """Return a share, 0 to 1, in percent.

    Examples
    --------
    >>> percent(0.934), percent(0.0123)
    ('93\u202f%', '1.2\u202f%')
    """
    return f"{100 * value:.0f}\u202f%" if value >= 0.1 else f"{100 * value:.2g}\u202f%"
