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
