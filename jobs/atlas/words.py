"""Word the figures and flags of a clustering."""

from collections.abc import Mapping, Sequence

from jobs.common.pages.words import percent, plain


def q_value(q: float) -> str:
    """Return a q-value; what is tiny is only said to be.

    Examples
    --------
    >>> q_value(0.0312), q_value(1e-30)
    ('0.031', '< 0.0001')
    """
    return "< 0.0001" if q < 1e-4 else f"{q:.2g}"


def stability_words(stability: float) -> str:
    """Return what a stability says, by the limits of Hennig 2007.

    Examples
    --------
    >>> stability_words(0.8)
    'Stable: found again when half of the windows are clustered anew (0.80 of 1).'
    """
    if stability >= 0.75:
        return f"Stable: found again when half of the windows are clustered anew ({stability:.2f} of 1)."
    if stability >= 0.5:
        return (
            f"Somewhat stable: found again in parts when half of the windows are clustered anew ({stability:.2f} of 1)."
        )
    return f"Unstable: falls apart when half of the windows are clustered anew ({stability:.2f} of 1)."


def flag_words(flags: Sequence[str], verdict: Mapping[str, float | None]) -> list[str]:
    """Return the flags of a cluster as sentences.

    Parameters
    ----------
    flags
        Their names in the cluster store; of an unknown one its name is said.
    verdict
        ``recorder_share``, ``hour_share`` (0 to 1) and ``contrast_db`` where known.

    Examples
    --------
    >>> flag_words(["one_hour"], {"hour_share": 0.95})
    ['May be an hour rather than a sound: 95\u202f% of its windows are from one hour of the day (UTC).']
    """
    recorder, hour, contrast = (verdict.get(key) for key in ("recorder_share", "hour_share", "contrast_db"))
    known = {
        "one_recorder": "May be a recorder rather than a sound: "
        f"{'nearly all' if recorder is None else percent(recorder)} of its windows are from one recorder.",
        "one_hour": "May be an hour rather than a sound: "
        f"{'nearly all' if hour is None else percent(hour)} of its windows are from one hour of the day (UTC).",
        "noise": "May be noise: its exemplars hardly stand out from their own background"
        f"{'' if contrast is None else f' ({plain(round(contrast, 1))} dB)'}.",
    }
    return [known.get(flag, f"Flagged as {flag} by the clustering.") for flag in flags]
