"""The pages of an atlas: facts in, HTML out. Whatever a study calls its things is text, never markup."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from jobs.atlas import charts, words
from jobs.atlas.axes import Tick
from jobs.atlas.pictures import COLOUR_MAP, STRIPE_GREYS, colour_table
from jobs.atlas.study import Exemplar

N_GRADIENT_STOPS = 17
STYLE_KEY = "atlas.css"


@dataclass(frozen=True)
class Source:
    """A run that the atlas shows, or that led to one: its name, job, identity and settings."""

    run: str
    job: str
    config_id: str
    settings: Mapping[str, Any]


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
class Scale:
    """Axes, colours and size that all pictures of an atlas share.

    Attributes
    ----------
    window_s, band_hz
        Length of a window, and the centres of the lowest and the highest band.
    level_range_db
        Levels of the darkest and the brightest colour.
    time_ticks, frequency_ticks, level_ticks
        Ticks in seconds, kHz and dBFS.
    size_px
        Width and height.
    """

    window_s: float
    band_hz: tuple[float, float]
    level_range_db: tuple[float, float]
    time_ticks: Sequence[Tick]
    frequency_ticks: Sequence[Tick]
    level_ticks: Sequence[Tick]
    size_px: tuple[int, int]


@dataclass(frozen=True)
class Study:
    """What the pages say of the study as a whole.

    Attributes
    ----------
    title, sources, recorders
        Heading; the runs, this atlas first; the recorders in the cube's order.
    hop_s
        Distance of two window starts.
    effort
        Windows of recorders with clock times by hour of day, shape (24,).
    n_utc_hours
        How many of them are counted by UTC.
    store_path
        Path of the cluster store below the lake.
    scale
        What all pictures share.
    """

    title: str
    sources: Sequence[Source]
    recorders: Sequence[RecorderFacts]
    hop_s: float
    effort: NDArray[np.int64]
    n_utc_hours: int
    store_path: str
    scale: Scale

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
    """What the pages say of one cluster.

    Attributes
    ----------
    id, n_windows
        Its number and size.
    by_hour, by_recorder
        Its windows by hour of day and by recorder, shapes (24,) and (n_recorders,).
    exemplars
        Its pictures' windows, nearest to the centroid first.
    """

    id: int
    n_windows: int
    by_hour: NDArray[np.int64]
    by_recorder: NDArray[np.int64]
    exemplars: Sequence[Exemplar]


def image_key(cluster: int, place: int) -> str:
    """Return the file of a cluster's picture; ``place`` counts from 0."""
    return f"images/{cluster}-{place + 1}.webp"


def page_key(cluster: int) -> str:
    """Return the file of a cluster's page."""
    return f"clusters/{cluster}.html"


def by_size(clusters: Sequence[Cluster]) -> list[Cluster]:
    """Return clusters from the largest to the smallest, equal ones by number."""
    return sorted(clusters, key=lambda cluster: (-cluster.n_windows, cluster.id))


def render(study: Study, clusters: Sequence[Cluster]) -> Iterator[tuple[str, str]]:
    """Yield key and text of the style sheet, of the overview, and of every cluster's page.

    Parameters
    ----------
    study
        What is said of the whole.
    clusters
        The clusters, empty ones included; the pages are in order of size.
    """
    ranked = by_size(clusters)
    common = {"study": study, "n_clusters": len(ranked), "stops": gradient_stops(), "greys": STRIPE_GREYS}
    yield STYLE_KEY, files("jobs.atlas").joinpath("templates", STYLE_KEY).read_text(encoding="utf-8")
    yield "index.html", _page("index.html.j2").render(**common, root="", clusters=ranked)
    for rank, cluster in enumerate(ranked):
        beside = {
            "before": ranked[rank - 1] if rank else None,
            "after": ranked[rank + 1] if rank + 1 < len(ranked) else None,
        }
        drawn = {
            "counts": charts.count_chart(cluster.by_hour, study.effort),
            "shares": charts.share_chart(cluster.by_hour, study.effort),
        }
        text = _page("cluster.html.j2").render(**common, **beside, **drawn, root="../", cluster=cluster, rank=rank + 1)
        yield page_key(cluster.id), text


def gradient_stops() -> list[tuple[float, str]]:
    """Return places in percent, from quiet to loud, and colours that draw the colour map as a gradient."""
    table = colour_table()
    places = np.linspace(0, len(table) - 1, N_GRADIENT_STOPS)
    return [(round(100 * float(p) / (len(table) - 1), 2), "#" + bytes(table[round(float(p))]).hex()) for p in places]


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jobs.atlas"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        number=words.number,
        utc=words.utc,
        local=words.local,
        date=words.date,
        plain=words.plain,
        python=repr,
    )
    environment.globals.update(
        share=words.share, spark=charts.spark_path, image_key=image_key, page_key=page_key,
        style_key=STYLE_KEY, colour_map=COLOUR_MAP,
        chart_size=(charts.CHART_WIDTH, charts.CHART_HEIGHT),
        spark_size=(charts.SPARK_WIDTH, charts.SPARK_HEIGHT),
    )  # fmt: skip
    return environment


def _page(name: str) -> jinja2.Template:
    return _environment().get_template(name)
