"""The ``atlas`` job: reads a clustering and its cube, leaves a folder of pages and pictures."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from jobs.atlas.axes import frequency_ticks, linear_ticks
from jobs.atlas.config import Config
from jobs.atlas.pages import Cluster, RecorderFacts, Scale, Source, Study, image_key, render
from jobs.atlas.pictures import bands_that_count, level_histogram, level_range, picture
from jobs.atlas.study import (
    Exemplar,
    Stores,
    Tally,
    cluster_ids,
    count_windows,
    n_recorder_days,
    open_stores,
    read_exemplars,
    sites_of,
)
from jobs.common.folders import publish
from jobs.common.progress import Advance, progress
from jobs.common.run import Options, Outcome, Run
from lake.read import open_array, read_rows


def execute(run: Run, options: Options) -> Outcome:  # noqa: ARG001 (the contract of all jobs)
    """Make the pages of a clustering; what the atlas held before is replaced."""
    config = cast("Config", run.config)
    stores = open_stores(run.inputs["clusters"].output.url, run.inputs["spectrograms"].output.url)
    with progress(f"{run.name}: counting", n_recorder_days(stores), "recorder-days") as advance:
        tally = count_windows(stores, advance)
    exemplars = read_exemplars(stores, config.n_exemplars)
    n_pictures = sum(map(len, exemplars))
    codes = open_array(stores.cube_url, "spectrogram")
    level_range_db = config.level_range_db
    if level_range_db == "auto":
        with progress(f"{run.name}: levels", n_pictures, "windows") as advance:
            level_range_db = _level_range(stores, _windows(codes, exemplars), config, advance)
    study = _study(run, config, stores, tally, level_range_db)
    ids = cluster_ids(stores)
    clusters = [
        Cluster(ids[i], int(tally.by_recorder[i].sum()), tally.by_hour[i], tally.by_recorder[i], exemplars[i])
        for i in range(stores.n_clusters)
    ]
    with tempfile.TemporaryDirectory(prefix="atlas-") as name:
        folder = Path(name)
        for key, text in render(study, clusters):
            _put(folder, key, text.encode())
        keys = (image_key(cluster.id, i) for cluster in clusters for i in range(len(cluster.exemplars)))
        width_px, height_px = study.scale.size_px
        with progress(f"{run.name}: pictures", n_pictures, "pictures") as advance:
            for key, window in zip(keys, _windows(codes, exemplars), strict=True):
                _put(folder, key, picture(window, level_range_db, width_px=width_px, height_px=height_px))
                advance(1)
        n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        publish(run, folder)
    counts = {"clusters": len(clusters), "windows": study.n_windows, "pictures": n_pictures, "bytes": n_bytes}
    return Outcome(did=True, counts=counts)


def _level_range(
    stores: Stores, windows: Iterator[NDArray[np.uint8]], config: Config, advance: Advance
) -> tuple[float, float]:
    bands = bands_that_count(_mel_hz(stores))
    histogram = np.zeros(256, dtype=np.int64)
    for window in windows:
        histogram += level_histogram(window[bands])
        advance(1)
    return level_range(histogram, config.level_percentiles)


def _mel_hz(stores: Stores) -> NDArray[np.float64]:
    return np.asarray(stores.cube["mel"].to_numpy(), dtype=np.float64)


def _windows(codes: zarr.Array[Any], exemplars: Sequence[Sequence[Exemplar]]) -> Iterator[NDArray[np.uint8]]:
    """Yield the codes of all exemplars, those of one cluster read at a time."""
    for group in exemplars:
        rows = read_rows(codes, [e.cube_row for e in group], [e.cell for e in group])
        yield from np.asarray(rows, dtype=np.uint8)


def _study(run: Run, config: Config, stores: Stores, tally: Tally, level_range_db: tuple[float, float]) -> Study:
    n_windows, is_real, sites = tally.by_recorder.sum(axis=0), stores.time_is_real, sites_of(stores)
    recorders = [
        RecorderFacts(
            name=name,
            sites=sites[i],
            n_windows=int(n_windows[i]),
            n_partial=int(tally.n_partial[i]),
            span_ms=(int(tally.span_ms[i, 0]), int(tally.span_ms[i, 1])),
            time_is_real=bool(is_real[i]),
        )
        for i, name in enumerate(stores.recorders)
    ]
    mel_hz = _mel_hz(stores)
    window_s = stores.grid.window_ms / 1000
    scale = Scale(
        window_s=window_s,
        band_hz=(float(mel_hz[0]), float(mel_hz[-1])),
        level_range_db=level_range_db,
        time_ticks=linear_ticks(0, window_s),
        frequency_ticks=frequency_ticks(mel_hz),
        level_ticks=linear_ticks(*level_range_db, 5),
        size_px=(config.image_width_px, config.image_height_px),
    )
    output = run.inputs["clusters"].output
    return Study(
        title=config.title,
        sources=_sources(run),
        recorders=recorders,
        hop_s=stores.grid.hop_ms / 1000,
        effort=tally.by_hour.sum(axis=0),
        n_utc_hours=tally.n_utc_hours,
        store_path=output.root.removeprefix(run.lake.storage.root).lstrip("/"),
        scale=scale,
    )


def _sources(run: Run) -> list[Source]:
    """Return a run and all that led to it, each once, what reads before what is read."""
    found: dict[str, Run] = {}

    def visit(one: Run) -> None:
        found.pop(one.name, None)
        found[one.name] = one
        for source in one.inputs.values():
            visit(source)

    visit(run)
    return [Source(one.name, one.job, one.config_id, one.config.model_dump(mode="json")) for one in found.values()]


def _put(folder: Path, key: str, data: bytes) -> None:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
