"""The ``atlas`` job: reads a clustering and its cube, leaves a folder with a page, pictures and sounds."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.atlas.choose import least, rows_by_cluster
from jobs.atlas.config import Config
from jobs.atlas.describe import Read, cluster_facts, put, study_facts
from jobs.atlas.facts import Map
from jobs.atlas.judged import judge, picks_of
from jobs.atlas.labels import Lift, lifts, read_intervals, windows_with
from jobs.atlas.levels import Levels, levels_of
from jobs.atlas.media import make_media, media_of
from jobs.atlas.members import members_of
from jobs.atlas.pages import render
from jobs.atlas.projection import layouts, sampled_rows
from jobs.atlas.shown import Pick, by_cluster, exemplar_picks, shown_windows
from jobs.atlas.sizes import needed
from jobs.atlas.sounds import sound_facts
from jobs.atlas.study import Stores, cluster_ids, open_stores
from jobs.atlas.tally import calendar_of, tally
from jobs.atlas.thumbs import PER_SHEET, sheet, sheet_key, thumb
from jobs.atlas.vectors import Seen, Space, look, nearest_clusters, space_of
from jobs.atlas.windows import Table, clustered_days, read_table
from jobs.common.folders import publish
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run
from lake.heard import windows_of_speech
from lake.query.across import ReadSpans
from lake.query.naming import read_names
from lake.read import Windows
from lake.threads import in_threads
from lake.verdicts import read_verdicts

N_NEIGHBOURS = 5
N_LABELS = 12
N_AT_ONCE = 16


def execute(run: Run[Config], options: Options) -> Outcome:
    """Make the page of a clustering; what the atlas held before is replaced."""
    config = run.config
    stores = open_stores(run.inputs["clusters"].output.url, run.inputs["spectrograms"].output.url)
    named = read_names(run.inputs["clusters"].output)
    with progress(f"{run.name}: counting", len(clustered_days(stores)), "recorder-days") as advance:
        table = read_table(stores, advance)
    withheld = _withheld(run, stores, table)
    rows = rows_by_cluster(table, stores.n_clusters)
    n_windows = np.array([len(group) for group in rows])
    found_lifts, labels_note = _lifts(run, stores, table, n_windows)
    run = options.begin(run, Outcome(did=True, counts={}))
    sampled = sampled_rows(len(table), config.n_map_windows, config.seed)
    sampled = sampled[~withheld[sampled]]
    space = space_of(stores.clusters)
    seen = _look(run, stores, table, space, sampled)
    picks = _picks(stores, config, table, [mine[~withheld[mine]] for mine in rows], seen)
    shown = by_cluster(shown_windows(stores, picks), stores.n_clusters)
    judged = judge(run, stores, table, withheld)
    of_sounds = [shown_windows(stores, picks_of(one, table)) for one in judged]
    names: list[int | str] = [*cluster_ids(stores), *(one.key for one in judged)]
    pages = list(zip(names, [*shown, *of_sounds], strict=True))
    read_codes = stores.open_codes()
    levels = levels_of(run, stores, read_codes, shown, table=table, withheld=withheld)
    media = media_of(run, stores, levels, audio=config.audio and options.audio)
    read = Read(
        stores=stores,
        table=table,
        rows=rows,
        tally=tally(table, n_clusters=stores.n_clusters, n_recorders=len(stores.recorders), sites=stores.texts("site")),
        calendar=calendar_of(table),
        shown=shown,
        neighbours=nearest_clusters(space.centroids, n_windows, N_NEIGHBOURS),
        lifts=found_lifts,
    )
    with tempfile.TemporaryDirectory(prefix="atlas-") as name:
        folder = Path(name)
        with ThreadPoolExecutor(1) as beside:
            laid_out = beside.submit(_map, config, sampled, seen)
            clips = make_media(
                run, media, pages, folder, read_codes=read_codes, recorders=stores.recorders, threads=options.workers
            )
            map_ = laid_out.result()
        if map_ is not None:
            _sheets(
                run,
                stores,
                read_codes,
                table,
                map_,
                levels=levels,
                folder=folder,
                threads=options.workers,
            )
        said = (media.note, _speech_note(withheld), _map_note(seen, config), labels_note, *named.notes)
        notes = [note for note in said if note]
        study = study_facts(
            run,
            read,
            map_=map_,
            names=named.rows,
            levels=levels,
            notes=notes,
            n_clips=sum(map(len, clips)),
            has_attention=media.attention is not None,
            folder=folder,
        )
        members = members_of(run, stores, table, withheld, audio=config.audio and options.audio)
        of_pages = zip(judged, of_sounds, clips[len(shown) :], strict=True)
        study = replace(
            study, sounds=sound_facts(run, of_pages, folder, table=table, ids=cluster_ids(stores), members=members)
        )
        clusters = cluster_facts(read, clips[: len(shown)], folder)
        for key, text in render(study, clusters, table, members, rows):
            put(folder, key, text.encode())
        n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        publish(run, folder)
    counts = {
        "clusters": len(clusters), "windows": len(table), "pictures": sum(len(group) for _, group in pages),
        "clips": study.n_clips, "sounds": len(judged),
        "map_windows": 0 if map_ is None else len(map_.rows), "bytes": n_bytes,
    }  # fmt: skip
    return Outcome(did=True, counts=counts, notes=[*([labels_note] if labels_note else []), *named.notes])


def describe(run: Run[Config], options: Options) -> list[str]:
    """Return what a run would read, write and take, without writing anything."""
    stores = open_stores(run.inputs["clusters"].output.url, run.inputs["spectrograms"].output.url)
    return needed(run, stores, n_days=len(clustered_days(stores)), options=options)


def _look(run: Run[Config], stores: Stores, table: Table, space: Space, sampled: NDArray[np.int64]) -> Seen | None:
    """Pass over the vectors that the clustering was made of; ``None`` where they are gone."""
    sources = run.inputs["clusters"].sources("embeddings")
    if not sources or not all(source.output.exists("") for source in sources):
        return None
    with progress(f"{run.name}: vectors", len(table), "windows") as advance:
        urls = [source.output.url for source in sources]
        return look(urls, stores, table, space, rows=sampled, advance=advance)


def _map(config: Config, sampled: NDArray[np.int64], seen: Seen | None) -> Map | None:
    places = [] if seen is None else layouts(seen.sample, perplexity=config.perplexity, seed=config.seed)
    return Map(sampled, places, -(-len(sampled) // PER_SHEET)) if places else None


def _withheld(run: Run[Config], stores: Stores, table: Table) -> NDArray[np.bool_]:
    """Return which windows share time with what somebody marked as speech: they are counted, and not shown."""
    verdicts = read_verdicts(run.lake)
    if not stores.is_of_cube:  # windows begin half a hop from their cells at most
        half = pd.Timedelta(stores.grid.hop_ms / 2, "ms")
        verdicts = verdicts.assign(
            time_utc=verdicts["time_utc"] - half, duration_s=verdicts["duration_s"] + 2 * half.total_seconds()
        )
    speech = windows_of_speech(verdicts, stores.grid, list(stores.recorders))
    found = speech[["i_recorder", "cell"]].to_numpy(dtype=np.int64) @ [stores.grid.n_cells, 1]
    return np.isin(table.recorder.astype(np.int64) * stores.grid.n_cells + table.cell, found)


def _speech_note(withheld: NDArray[np.bool_]) -> str:
    n = int(withheld.sum())
    return f"Windows that are not shown, as somebody marked them as speech: {n}." if n else ""


def _map_note(seen: Seen | None, config: Config) -> str:
    if seen is not None or not config.n_map_windows:
        return ""
    return "The vectors that were clustered are not in this lake: there are no map and no borders."


def _picks(
    stores: Stores, config: Config, table: Table, rows: Sequence[NDArray[np.intp]], seen: Seen | None
) -> list[Pick]:
    """Return the windows to show, among some rows of each cluster: exemplars, then outliers and borders."""
    is_open = np.isin(np.arange(len(table)), np.concatenate(rows))
    position = table.recorder.astype(np.int64) * stores.grid.n_cells + table.cell
    exemplars: dict[int, list[int]] = {}
    picks = []
    for pick in exemplar_picks(stores, config.n_exemplars):
        row = int(np.searchsorted(position, pick.recorder * stores.grid.n_cells + pick.cell))
        if is_open[row]:
            picks.append(pick)
            exemplars.setdefault(pick.cluster, []).append(row)
    found = []
    for i in range(stores.n_clusters):
        taken = exemplars.get(i, [])
        outliers = least(-table.distance, rows[i], table, hop_ms=stores.grid.hop_ms, n=config.n_outliers, taken=taken)
        borders: list[int] = []
        if seen is not None:
            taken = [*taken, *outliers]
            borders = least(seen.gap, rows[i], table, hop_ms=stores.grid.hop_ms, n=config.n_borders, taken=taken)
        for place, row in enumerate(borders):
            assert seen is not None
            found.append(Pick("border", i, place, int(table.recorder[row]), int(table.cell[row]), int(seen.other[row])))
        found += [
            Pick("outlier", i, place, int(table.recorder[row]), int(table.cell[row]))
            for place, row in enumerate(outliers)
        ]
    return sorted([*picks, *found], key=lambda pick: pick.cluster)


def _lifts(
    run: Run[Config], stores: Stores, table: Table, n_windows: NDArray[np.int64]
) -> tuple[list[list[Lift]] | None, str]:
    """Return each cluster's labels, and a note where some, or all, have no place here."""
    if run.labels is None:
        return None, ""
    if not run.labels.exists():
        return None, f"Labels are left out: {run.labels.name} was not there when this page was made."
    config = run.config
    root = str(run.recordings.root) if run.recordings else ""
    intervals, note = read_intervals(run.labels, stores, min_confidence=config.min_confidence, root=root)
    n_both = np.zeros((stores.n_clusters, len(intervals)), dtype=np.int64)
    with progress(f"{run.name}: labels", len(intervals), "labels") as advance:
        for j, one in enumerate(intervals.values()):
            found = table.cluster[windows_with(one, table, stores)]
            n_both[:, j] = np.bincount(found, minlength=stores.n_clusters)
            advance(1)
    return lifts(n_both, n_windows, list(intervals), n_most=N_LABELS), note


def _sheets(
    run: Run[Config],
    stores: Stores,
    read_codes: ReadSpans,
    table: Table,
    map_: Map,
    *,
    levels: Levels,
    folder: Path,
    threads: int,
) -> None:
    """Write the small pictures of the map's windows."""
    mapped = Windows(table.recorder[map_.rows], table.cell[map_.rows])
    row, start_ms = stores.cube_row[mapped.recorder], stores.starts_ms(mapped)

    def one(number: int) -> bytes:
        first, last = number * PER_SHEET, min((number + 1) * PER_SHEET, len(row))
        thumbs: list[NDArray[np.uint8]] = []
        for begin in range(first, last, N_AT_ONCE):
            here = slice(begin, min(begin + N_AT_ONCE, last))
            found = zip(mapped.recorder[here].tolist(), read_codes(row[here], start_ms[here]), strict=True)
            thumbs += [thumb(window, levels.of(recorder)) for recorder, window in found]
        return sheet(thumbs)

    with progress(f"{run.name}: map", map_.n_sheets, "sheets") as advance:
        for number, data in enumerate(in_threads(one, range(map_.n_sheets), threads)):
            put(folder, sheet_key(number), data)
            advance(1)
