"""Decide which recording owns an instant of its recorder, and which of its samples fill a window.

The one rule, for the windows that are computed and for those that are traced: where recordings of one recorder overlap,
the one that started first owns the shared time (of two that started together, the one whose SHA-256 sorts first).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Final, Generic, Protocol, TypeVar

JOIN_MS: Final = 1.0
"""Recordings whose ends are nearer than this follow each other; it is the resolution of the grid."""


class Recording(Protocol):
    """The facts of a recording that the rule needs; ``n_channels`` is ``None`` where it is not known."""

    @property
    def sha256(self) -> str:
        """Digest of the file."""

    @property
    def start_ms(self) -> int:
        """Start, milliseconds since 1970."""

    @property
    def n_samples(self) -> int:
        """Usable samples of each channel."""

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second."""

    @property
    def n_channels(self) -> int | None:
        """Channels."""


R = TypeVar("R", bound=Recording)


@dataclass(frozen=True)
class Segment(Generic[R]):
    """The span that a recording owns, milliseconds since 1970."""

    recording: R
    from_ms: float
    to_ms: float


@dataclass(frozen=True)
class Part(Generic[R]):
    """Samples of one recording in a window.

    Attributes
    ----------
    recording
        The recording.
    first_sample, n_samples
        Which of its samples.
    at_sample
        Where in the window they begin.
    joins
        Whether they follow the part before without a gap.
    """

    recording: R
    first_sample: int
    n_samples: int
    at_sample: int
    joins: bool


@dataclass(frozen=True)
class Composition(Generic[R]):
    """The samples that fill a window.

    Attributes
    ----------
    lead
        The first recording in the window; its sample rate and number of channels are the window's.
    n_samples
        Length of the window.
    tolerance
        Samples that a join may lack.
    parts
        In order of time.
    """

    lead: R
    n_samples: int
    tolerance: int
    parts: tuple[Part[R], ...]


def end_ms(recording: Recording) -> float:
    """Return the end of a recording, milliseconds since 1970."""
    return recording.start_ms + recording.n_samples / recording.sample_rate_hz * 1000


def own_segments(recordings: Iterable[R]) -> tuple[list[Segment[R]], list[tuple[float, float]]]:
    """Return the disjoint segments of one recorder in order of time, and the spans where recordings overlapped."""
    segments: list[Segment[R]] = []
    overlaps: list[tuple[float, float]] = []
    owned_to = -inf
    for recording in sorted(recordings, key=lambda r: (r.start_ms, r.sha256)):
        end = end_ms(recording)
        if recording.start_ms < owned_to - JOIN_MS:
            overlaps.append((recording.start_ms, min(owned_to, end)))
        from_ms = max(float(recording.start_ms), owned_to)
        if end > from_ms:
            segments.append(Segment(recording, from_ms, end))
            owned_to = end
    return segments, overlaps


def compose(segments: Sequence[Segment[R]], start_ms: int, window_ms: int) -> Composition[R] | None:
    """Return what fills a window; ``None`` if no segment reaches into it.

    Parameters
    ----------
    segments
        Disjoint segments of the recorder, in order of time.
    start_ms, window_ms
        The window's span.

    Notes
    -----
    The time of a sample is its recording's start plus its number over the rate, rounded to a sample of the window.
    Segments whose ends are within a millisecond follow each other without a gap. A recording of another rate or number
    of channels than the window's first is not mixed in.
    """
    inside = [s for s in segments if s.to_ms > start_ms and s.from_ms < start_ms + window_ms]
    if not inside:
        return None
    lead = inside[0].recording
    rate = lead.sample_rate_hz
    n_window = round(window_ms * rate / 1000)
    tolerance = ceil(JOIN_MS * rate / 1000)
    parts: list[Part[R]] = []
    for segment in inside:
        recording = segment.recording
        if (recording.sample_rate_hz, recording.n_channels) != (rate, lead.n_channels):
            continue
        at = max(round((segment.from_ms - start_ms) * rate / 1000), 0)
        to = min(round((segment.to_ms - start_ms) * rate / 1000), n_window)
        first = round((max(segment.from_ms, start_ms) - recording.start_ms) * rate / 1000)
        before = parts[-1].at_sample + parts[-1].n_samples if parts else -inf
        joins = at - before <= tolerance
        at = int(before) if joins else at
        n = min(to - at, recording.n_samples - first)
        if n > 0:
            parts.append(Part(recording, first, n, at, joins))
    return Composition(lead, n_window, tolerance, tuple(parts))
