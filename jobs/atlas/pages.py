"""The pages of an atlas: facts in, HTML out. Whatever a study calls its things is text, never markup."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from jobs.atlas import charts, thumbs, words
from jobs.atlas.config import PLACE_KEY
from jobs.atlas.facts import (
    Cluster,
    Members,
    Sound,
    Study,
    attention_key,
    by_size,
    calendar_key,
    clip_key,
    image_key,
    page_key,
    sound_page_key,
)
from jobs.atlas.heat import heat_table
from jobs.atlas.judged import VERDICTS
from jobs.atlas.members import member_scripts, members_key, members_script
from jobs.atlas.projection import N_PLACES
from jobs.atlas.windows import Table
from jobs.common.pages.render import environment, gradient, package_files, script, shared_files
from jobs.common.pages.words import plain

STYLE_KEY, DATA_KEY = "atlas.css", "data.js"
SCRIPT_KEYS = (
    "atlas.js", "names.js", "calendar.js", "map.js", "lasso.js", "recordings.js", "members.js", "dot.js", "viewer.js",
    "save.js",
)  # fmt: skip
KINDS = {
    "exemplar": ("Exemplars", "nearest to the centroid first"),
    "border": ("Borders", "nearly as near to another cluster; the least decided first"),
    "outlier": ("Outliers", "farthest from the centroid first"),
}
SOUND_KINDS = {
    "best": ("Best windows", "highest score first"),
    "verified": ("Verified windows", "answered yes; highest score first"),
}


def render(
    study: Study, clusters: Sequence[Cluster], table: Table, members: Members, rows: Sequence[NDArray[np.intp]]
) -> Iterator[tuple[str, str]]:
    """Yield key and text of every file of the page but pictures and sounds.

    Parameters
    ----------
    study
        What is said of the whole.
    clusters
        The clusters, empty ones included; they are shown in order of size.
    table
        The windows, for the points of the map.
    members, rows
        What is said of each window, and the windows of each cluster.
    """
    ranked, ids = by_size(clusters), [cluster.id for cluster in clusters]
    common = {
        "study": study, "n_clusters": len(ranked), "title": study.title, "scale": study.scale,
        "sound": members.sources.base is not None,
    }  # fmt: skip
    yield from shared_files()
    yield from package_files("jobs.atlas", (STYLE_KEY, *SCRIPT_KEYS))
    yield PLACE_KEY, script("atlasPlace", members.sources.base)
    yield DATA_KEY, script("atlasData", data_of(study, ranked, ids, table, members))
    yield from member_scripts(members, rows, ids)
    yield "index.html", _page("index.html.j2").render(**common, clusters=ranked)
    for rank, cluster in enumerate(ranked):
        drawn = {
            "counts": charts.count_chart(cluster.by_hour, study.effort),
            "shares": charts.share_chart(cluster.by_hour, study.effort),
        }
        text = _page("cluster.html.j2").render(**common, **drawn, cluster=cluster, rank=rank + 1, ids=ids)
        yield page_key(cluster.id), script("atlasPart", {"id": cluster.id, "html": text, "cells": cluster.cells})
    for one in study.sounds:
        text = _page("sound.html.j2").render(**common, one=one, ids=ids)
        yield sound_page_key(one.key), script("atlasPart", {"id": one.key, "html": text, "cells": []})
        yield members_key(one.key), members_script(one.key, one.columns)


def data_of(
    study: Study, ranked: Sequence[Cluster], ids: Sequence[int], table: Table, members: Members
) -> dict[str, Any]:
    """Return what the page's script has to know.

    Parameters
    ----------
    study, table
        The study and its windows.
    ranked, ids
        The clusters in order of size, and the cluster's number at each place of the store.
    members
        What is said of each window.
    """
    calendar = study.dates.calendar if study.dates else None
    data: dict[str, Any] = {
        "names_id": study.names_id,
        "names_before": study.names_before,
        "names": {str(name.cluster): {"name": name.name, "notes": name.notes} for name in study.names},
        "clusters": [[cluster.id, cluster.n_windows] for cluster in ranked],
        "sounds": [[one.key, one.sound] for one in study.sounds],
        "verdicts": list(VERDICTS),
        "recorders": [recorder.name for recorder in study.recorders],
        "untimed": [i for i, recorder in enumerate(study.recorders) if not recorder.time_is_real],
        "sites": list(members.sites),
        "origin_ms": study.origin_ms,
        "hop_ms": round(1000 * study.hop_s),
        "window_ms": round(1000 * study.scale.window_s),
        "own_levels": {
            i: " to ".join(plain(level) for level in study.own_levels[recorder.name]) + " dBFS"
            for i, recorder in enumerate(study.recorders)
            if recorder.name in study.own_levels
        },
        "mel_hz": [round(one, 1) for one in study.mel_hz],
        "first_day": calendar.first_day if calendar else None,
        "spans": [] if calendar is None else calendar.spans.labels,
        "effort": [] if calendar is None else calendar.effort.ravel().tolist(),
    }
    if study.map is not None:
        rows, first_day = study.map.rows, calendar.first_day if calendar else 0
        timed = table.is_timed[rows]
        data["map"] = {
            "size": N_PLACES,
            "layouts": [
                {"name": layout.name, "told": layout.told, "places": layout.places.ravel().tolist()}
                for layout in study.map.layouts
            ],
            "cluster": [ids[place] for place in table.cluster[rows].tolist()],
            "recorder": table.recorder[rows].tolist(),
            "cell": table.cell[rows].tolist(),
            "hour": table.hour[rows].tolist(),
            "day": np.where(timed, table.day[rows] - first_day, -1).tolist(),
            "sheet": {
                "columns": thumbs.COLUMNS, "rows": thumbs.ROWS,
                "width": thumbs.THUMB_WIDTH_PX, "height": thumbs.THUMB_HEIGHT_PX,
            },
        }  # fmt: skip
    return data


@cache
def _environment() -> jinja2.Environment:
    return environment(
        "jobs.atlas", style_keys=[STYLE_KEY], script_keys=[*SCRIPT_KEYS, PLACE_KEY, DATA_KEY],
        q_value=words.q_value, flag_words=words.flag_words, stability_words=words.stability_words,
        spark=charts.spark_path, image_key=image_key, clip_key=clip_key, attention_key=attention_key,
        calendar_key=calendar_key, kinds=KINDS, sound_kinds=SOUND_KINDS, verdicts=VERDICTS, sounds_of=_sounds_of,
        heat_colours=gradient(heat_table()),
        chart_size=(charts.CHART_WIDTH, charts.CHART_HEIGHT), spark_size=(charts.SPARK_WIDTH, charts.SPARK_HEIGHT),
    )  # fmt: skip


def _sounds_of(study: Study, cluster: int) -> list[tuple[Sound, int, int]]:
    """Return the sounds that a cluster has windows with: how many reach the threshold, and were answered yes."""
    return [(one, n_found, n_yes) for one in study.sounds for id_, n_found, n_yes in one.clusters if id_ == cluster]


def _page(name: str) -> jinja2.Template:
    return _environment().get_template(name)
