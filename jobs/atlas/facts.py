"""Content of the pages of an atlas, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.atlas.heat import Heat
from jobs.atlas.labels import Lift
from jobs.atlas.projection import Layout
from jobs.atlas.shown import Shown
from jobs.atlas.study import Verdict
from jobs.atlas.tally import Calendar
from jobs.common.pages import words
from jobs.common.pages.scale import Scale
from lake.query.naming import Name


@dataclass(frozen=True)
class Source:
    """A run that the atlas shows, or that led to one: its name, job, identity and settings, and its picture if any."""

    run: str
    job: str
    config_id: str
    settings: Mapping[str, Any]
    picture: str = ""


@dataclass(frozen=True)
class RecorderFacts:
    """A recorder's row on the overview.

    Attributes
    ----------
    name, sites
        Its name, and where it stood.
    n_windows, n_partial
        Clustered windows, and how many of them are partial.
    span_ms
        Start of its first and last window; -1 without any.
    time_is_real
        Whether its times are clock times.
    """

    name: str
    sites: tuple[str, ...]
    n_windows: int
    n_partial: int
    span_ms: tuple[int, int]
    time_is_real: bool


@dataclass(frozen=True)
class Dates:
    """The calendar that all clusters share.

    Attributes
    ----------
    calendar
        What was recorded by date and hour.
    effort
        Picture of the windows by recorder (rows, the last at the bottom) and date.
    rise, set
        SVG paths of sunrise and sunset, empty where unknown.
    place
        Degrees north and east that the sun is computed for, or ``None``.
    """

    calendar: Calendar
    effort: Heat
    rise: str = ""
    set: str = ""
    place: tuple[float, float] | None = None


@dataclass(frozen=True)
class Map:
    """The map of sampled windows.

    Attributes
    ----------
    rows
        Rows of the sampled windows in the table, shape (n_sampled,).
    layouts
        Where they stand, by each method.
    n_sheets
        Sheets of small pictures.
    """

    rows: NDArray[np.int64]
    layouts: Sequence[Layout]
    n_sheets: int


@dataclass(frozen=True)
class Figures:
    """Figures of a detector on held-out verdicts; NaN where it is not known.

    Attributes
    ----------
    best_f1_threshold, best_f1
        Score from which on F1 is best, and that F1.
    threshold, precision
        Score with its interval, shape (3,), at which the stated precision is reached.
    average_precision
        With its interval, shape (3,).
    note
        Why it must be taken with care; empty if it need not.
    """

    best_f1_threshold: float
    best_f1: float
    threshold: tuple[float, float, float]
    precision: float
    average_precision: tuple[float, float, float]
    note: str


@dataclass(frozen=True)
class Sound:
    """Facts of one sound that has a name.

    Attributes
    ----------
    sound, key
        Its name, and the name of its files.
    n_spans
        Spans that people answered yes, no and unsure.
    found_in
        How many windows hold it, in words; empty without detections and verdicts on whole windows.
    pictures
        Files with local hour by date, a few sites in each; none where no window of it was found.
    figures
        Of its detector, if there is one.
    counts
        One row a site, of the whole season, as the table of counts has them.
    clusters
        Number of each cluster that has windows with it, and how many reach the threshold and were answered yes, most
        first.
    shown, clips
        Its windows that are shown large, and the gain in dB of each one's sound, by tag.
    columns
        Of its windows, those of :class:`Members` and ``cluster``, ``probability`` and ``verdict``, shape (n,) each.
    n_found
        Clustered windows that reach the threshold.
    """

    sound: str
    key: str
    n_spans: tuple[int, int, int]
    found_in: str
    pictures: Sequence[str]
    figures: Figures | None
    counts: Sequence[Mapping[str, Any]]
    clusters: Sequence[tuple[int, int, int]]
    shown: Sequence[Shown]
    clips: Mapping[str, float]
    columns: Mapping[str, NDArray[Any]]
    n_found: int

    @property
    def n_listed(self) -> int:
        """Windows in its list."""
        return len(self.columns["cluster"])


@dataclass(frozen=True)
class Sources:
    """The recordings that a page plays.

    Attributes
    ----------
    paths
        Of the recordings, below their folder.
    base
        Their folder as seen from the page's; empty if it is not known, ``None`` if sound is left out on purpose.
    unplayable, expanded
        By their number: why browsers do not play one, and the true length in seconds of one that was stored slower.
    """

    paths: Sequence[str]
    base: str | None
    unplayable: Mapping[int, str]
    expanded: Mapping[int, float]


@dataclass(frozen=True)
class Members:
    """All windows of the study.

    Attributes
    ----------
    columns
        By name, each of shape (n_windows,), in the order of the table of windows.
    is_shown
        Which windows are listed, shape (n_windows,).
    sites
        The names that the column ``site`` counts.
    sources
        The recordings that the column ``recording`` counts.
    """

    columns: Mapping[str, NDArray[Any]]
    is_shown: NDArray[np.bool_]
    sites: Sequence[str]
    sources: Sources


@dataclass(frozen=True)
class Study:
    """Content of the pages on the whole study.

    Attributes
    ----------
    title, sources, recorders
        Heading; the runs, this atlas first; the recorders in the cube's order.
    sites, by_site
        Sites and their windows, shape (n_sites,).
    origin_ms, hop_s
        Start of the first cell, milliseconds since 1970, and distance of two window starts.
    effort
        Windows of recorders with clock times by hour of day, shape (24,).
    n_utc_hours
        How many of them are counted by UTC.
    names
        Names that the clustering has beside it.
    names_id, names_before
        Identity of the clustering that names belong to, and what older pages kept names under.
    store_path
        Path of the cluster store below the lake.
    scale, mel_hz
        What all pictures share, and the centre frequency of each band.
    own_levels
        Levels of the darkest and the brightest colour of recorders that are quieter, by their names.
    dates, map
        The calendar and the map, or ``None``.
    notes
        What was left out, and why, in sentences.
    n_clips
        Sound files beside the page.
    has_attention
        Whether each picture has a map of the class token's attention.
    survey
        Picture of the hours that were recorded by recorder and day, and of the days with problems; empty if none.
    sounds
        Those that have verdicts, detections or counts, by name.
    """

    title: str
    sources: Sequence[Source]
    recorders: Sequence[RecorderFacts]
    sites: tuple[str, ...]
    by_site: NDArray[np.int64]
    origin_ms: int
    hop_s: float
    effort: NDArray[np.int64]
    n_utc_hours: int
    names: Sequence[Name]
    names_id: str
    names_before: str
    store_path: str
    scale: Scale
    mel_hz: Sequence[float]
    own_levels: Mapping[str, tuple[float, float]]
    dates: Dates | None
    map: Map | None
    notes: Sequence[str]
    n_clips: int
    has_attention: bool
    survey: str
    sounds: Sequence[Sound] = ()

    @property
    def n_windows(self) -> int:
        """Clustered windows."""
        return sum(recorder.n_windows for recorder in self.recorders)

    @property
    def n_partial(self) -> int:
        """Clustered windows that are partial."""
        return sum(recorder.n_partial for recorder in self.recorders)

    @property
    def span_ms(self) -> tuple[int, int] | None:
        """Start of the first and last window of the recorders with clock times, if there is any."""
        spans = [r.span_ms for r in self.recorders if r.time_is_real and r.n_windows]
        return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None

    @property
    def without_clock(self) -> list[str]:
        """Recorders that no hour count includes."""
        return [recorder.name for recorder in self.recorders if not recorder.time_is_real]

    @property
    def example(self) -> tuple[str, str]:
        """A recorder and a date that have windows, for the lines to type."""
        with_windows = [r for r in self.recorders if r.n_windows]
        first = next((r for r in with_windows if r.time_is_real), with_windows[0])
        return first.name, words.date(first.span_ms[0])


@dataclass(frozen=True)
class Cluster:
    """Content of the pages on one cluster.

    Attributes
    ----------
    id, n_windows
        Its number and size.
    by_hour, by_recorder, by_site
        Its windows by hour of day, recorder and site, shapes (24,), (n_recorders,) and (n_sites,).
    shown
        Its pictures' windows: exemplars, nearest to the centroid first, borders and outliers.
    clips
        Gain in dB of each window's sound file, by tag.
    verdict
        What the clustering says of it.
    neighbours
        Numbers and distances of the nearest clusters.
    heat
        Picture of its share of the windows by date and hour.
    cells
        Place in the calendar (date times 24 plus hour) and windows, of all with windows.
    lifts
        Labels that it has more often than chance would; ``None`` without labels.
    """

    id: int
    n_windows: int
    by_hour: NDArray[np.int64]
    by_recorder: NDArray[np.int64]
    by_site: NDArray[np.int64]
    shown: Sequence[Shown]
    clips: Mapping[str, float]
    verdict: Verdict
    neighbours: Sequence[tuple[int, float]]
    heat: Heat | None
    cells: Sequence[tuple[int, int]]
    lifts: Sequence[Lift] | None

    @property
    def exemplars(self) -> list[Shown]:
        """Its windows nearest to the centroid."""
        return [shown for shown in self.shown if shown.kind == "exemplar"]


def image_key(page: int | str, tag: str) -> str:
    """Return the file of a picture on the page of a cluster, by its number, or of a sound, by its key."""
    return f"images/{page}-{tag}.webp"


def attention_key(page: int | str, tag: str) -> str:
    """Return the file of the attention over a picture."""
    return f"attention/{page}-{tag}.png"


def clip_key(page: int | str, tag: str) -> str:
    """Return the file of a window's sound."""
    return f"clips/{page}-{tag}.ogg"


def page_key(cluster: int) -> str:
    """Return the file of a cluster's part of the page."""
    return f"clusters/{cluster}.js"


def sound_page_key(sound: str) -> str:
    """Return the file of a sound's part of the page, from the sound's key."""
    return f"sounds/{sound}.js"


def calendar_key(cluster: int) -> str:
    """Return the file of a cluster's calendar."""
    return f"calendars/{cluster}.png"


def by_size(clusters: Sequence[Cluster]) -> list[Cluster]:
    """Return clusters from the largest to the smallest, equal ones by number."""
    return sorted(clusters, key=lambda cluster: (-cluster.n_windows, cluster.id))
