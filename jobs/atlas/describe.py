"""From what was read to what the pages say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.atlas.config import Config
from jobs.atlas.facts import Cluster, Dates, Map, RecorderFacts, Source, Study, calendar_key
from jobs.atlas.heat import Heat, heat_png, share_of_effort
from jobs.atlas.labels import Lift
from jobs.atlas.levels import Levels
from jobs.atlas.shown import Shown
from jobs.atlas.study import Stores, cluster_ids, sites_of, verdicts
from jobs.atlas.tally import Calendar, Tally, cluster_calendar, recorder_calendar
from jobs.atlas.windows import Table
from jobs.common.effort import daily_effort, effort_picture
from jobs.common.pages.scale import Scale, scale_of
from jobs.common.run import Run
from jobs.common.sun import step_path, sun_hours
from lake.clustering import clustering_id_of
from lake.layout import safe_name
from lake.query.naming import Name
from lake.recordings import read_recordings

EFFORT_KEY = "calendars/effort.png"
SURVEY_KEY = "calendars/recordings.png"
ATOMS_FILE = "atoms.png"


@dataclass(frozen=True)
class Read:
    """All that was read of a study.

    Attributes
    ----------
    stores, table, rows
        The stores, the windows, and the rows of each cluster's windows.
    tally, calendar
        Their counts.
    shown, neighbours, lifts
        By cluster: the windows shown, the nearest clusters' places and distances, labels.
    """

    stores: Stores
    table: Table
    rows: Sequence[NDArray[np.intp]]
    tally: Tally
    calendar: Calendar | None
    shown: Sequence[Sequence[Shown]]
    neighbours: Sequence[Sequence[tuple[int, float]]]
    lifts: Sequence[Sequence[Lift]] | None


def put(folder: Path, key: str, data: bytes) -> None:
    """Write a file below a folder."""
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def study_facts(
    run: Run[Config],
    read: Read,
    *,
    map_: Map | None,
    names: Sequence[Name],
    levels: Levels,
    notes: Sequence[str],
    n_clips: int,
    has_attention: bool,
    folder: Path,
) -> Study:
    """Return what is said of the study, and write the picture of its effort."""
    stores, config, tally = read.stores, run.config, read.tally
    n_windows, is_real, sites = tally.by_recorder.sum(axis=0), stores.time_is_real, sites_of(stores)
    grid = stores.grid
    span_ms = np.where(tally.span_cell < 0, -1, grid.origin_ms + tally.span_cell * grid.hop_ms)
    recorders = [
        RecorderFacts(
            name=name,
            sites=sites[i],
            n_windows=int(n_windows[i]),
            n_partial=int(tally.n_partial[i]),
            span_ms=(int(span_ms[i, 0]), int(span_ms[i, 1])),
            time_is_real=bool(is_real[i]),
        )
        for i, name in enumerate(stores.recorders)
    ]
    clusters = run.inputs["clusters"]
    output = clusters.output
    return Study(
        title=config.title,
        sources=sources(run, folder),
        recorders=recorders,
        sites=tally.sites,
        by_site=tally.by_site.sum(axis=0),
        origin_ms=grid.origin_ms,
        hop_s=grid.hop_ms / 1000,
        effort=tally.by_hour.sum(axis=0),
        n_utc_hours=tally.n_utc_hours,
        names=names,
        names_id=clustering_id_of(stores.clusters),
        names_before=clusters.config_id,
        store_path=output.root.removeprefix(clusters.lake.storage.root).lstrip("/"),
        scale=_scale(config, stores, levels.common),
        own_levels={stores.recorders[i]: own for i, own in levels.own.items()},
        mel_hz=stores.cube["mel"].to_numpy().tolist(),
        dates=None if read.calendar is None else _dates(read, read.calendar, folder),
        map=map_,
        notes=notes,
        n_clips=n_clips,
        has_attention=has_attention,
        survey=_survey(run, folder),
    )


def _survey(run: Run[Config], folder: Path) -> str:
    """Write the picture of the manifest's recordings by recorder and day, and return its key; empty without times."""
    if run.recordings is None or not run.recordings.table.is_file():
        return ""
    table = read_recordings(run.recordings.table)
    if not daily_effort(table)[0]:
        return ""
    put(folder, SURVEY_KEY, effort_picture(table, Path(SURVEY_KEY)))
    return SURVEY_KEY


def cluster_facts(read: Read, clips: Sequence[Mapping[str, float]], folder: Path) -> list[Cluster]:
    """Return what is said of each cluster, and write its calendar."""
    ids, said, found = cluster_ids(read.stores), verdicts(read.stores), []
    for i, number in enumerate(ids):
        heat, cells = None, []
        if read.calendar is not None and len(read.rows[i]):
            counts = cluster_calendar(read.table, read.calendar, read.rows[i])
            shares = share_of_effort(counts, read.calendar.effort)
            heat = _heat(calendar_key(number), read.calendar, shares.T, folder)
            flat = counts.ravel()
            cells = [(int(place), int(flat[place])) for place in np.flatnonzero(flat)]
        found.append(
            Cluster(
                id=number,
                n_windows=len(read.rows[i]),
                by_hour=read.tally.by_hour[i],
                by_recorder=read.tally.by_recorder[i],
                by_site=read.tally.by_site[i],
                shown=read.shown[i],
                clips=clips[i],
                verdict=said[i],
                neighbours=[(ids[place], distance) for place, distance in read.neighbours[i]],
                heat=heat,
                cells=cells,
                lifts=None if read.lifts is None else read.lifts[i],
            )
        )
    return found


def sources(run: Run[Config], folder: Path) -> list[Source]:
    """Return a run and all that led to it, each once, what reads before what is read; write their pictures."""
    found: dict[str, Run] = {}

    def visit(one: Run) -> None:
        found.pop(one.name, None)
        found[one.name] = one
        for source in one.inputs.values():
            visit(source)

    visit(run)
    return [
        Source(one.name, one.job, one.config_id, one.config.model_dump(mode="json"), _picture(one, folder))
        for one in found.values()
    ]


def _picture(run: Run, folder: Path) -> str:
    """Write the picture that a model has of itself, and return its key; empty without one."""
    data = run.output.read_or_none(ATOMS_FILE) if run.kind == "models" else None
    if data is None:
        return ""
    key = f"runs/{safe_name(run.name)}.png"
    put(folder, key, data)
    return key


def _scale(config: Config, stores: Stores, level_range_db: tuple[float, float]) -> Scale:
    mel_hz = np.asarray(stores.cube["mel"].to_numpy(), dtype=np.float64)
    return scale_of(
        mel_hz, stores.grid.window_ms / 1000, level_range_db, (config.image_width_px, config.image_height_px)
    )


def _dates(read: Read, calendar: Calendar, folder: Path) -> Dates:
    """Return the calendar with the sun over the deployments that have windows, and write the picture of effort."""
    hours = recorder_calendar(read.table, calendar, len(read.stores.recorders)) * (read.stores.grid.hop_ms / 3.6e6)
    effort = _heat(EFFORT_KEY, calendar, np.where(hours > 0, hours, np.nan)[::-1], folder)
    used = np.unique(read.table.deployment[read.table.is_timed & (read.table.deployment >= 0)])
    places = [read.stores.cube[name].to_numpy()[used] for name in ("latitude", "longitude")]
    known = np.isfinite(places[0]) & np.isfinite(places[1])
    if not known.any() or not read.table.is_local.any():
        return Dates(calendar, effort)
    latitude, longitude = (float(np.median(values[known])) for values in places)
    sun = sun_hours(calendar.spans.middles, calendar.offset_s, latitude, longitude)
    return Dates(calendar, effort, step_path(sun.rise), step_path(sun.set), (latitude, longitude))


def _heat(key: str, calendar: Calendar, values: NDArray[np.float64], folder: Path) -> Heat:
    """Write a picture of values whose columns are dates."""
    highest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    put(folder, key, heat_png(values, highest))
    return Heat(key, highest, tuple(calendar.spans.ticks()))
