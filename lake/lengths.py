"""Durations as text for people."""


def lasting(seconds: float) -> str:
    """Return a length of time in the largest unit of which there is one: hours, minutes or seconds.

    Examples
    --------
    >>> lasting(9_000), lasting(840), lasting(15)
    ('2.50 hours', '14.0 minutes', '15.0 seconds')
    """
    if seconds >= 3600:
        return f"{seconds / 3600:.2f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} seconds"
