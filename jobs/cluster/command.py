"""The ``cluster`` job: embeddings and the cluster store around the pure core."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from jobs.cluster.batches import Read, batches
from jobs.cluster.config import Config
from jobs.cluster.core import (
    Clustering,
    Moments,
    Scale,
    Vectors,
    first_centroids,
    merged,
    moments,
    number_of_clusters,
    scale_of,
    scaled,
    with_components,
)
from jobs.cluster.exemplars import Candidates, exemplars, joined
from jobs.cluster.flags import contrast_db, flags_of, largest_shares
from jobs.cluster.kmeans import fit, schedule
from jobs.cluster.labels import Labelled, Totals, count, label_day, no_totals
from jobs.cluster.source import Source, in_threads, open_source, read_raw, scale_kept
from jobs.cluster.stability import scan, stability
from jobs.cluster.store import Tables, clustering_tables, scan_tables, store_spec
from jobs.cluster.stretches import by_day
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run
from lake.clustering import ARRAYS, ATTRIBUTE, clustering_id
from lake.errors import InputError
from lake.identity import short_hash
from lake.ledger import Entry
from lake.read import grid_of, open_array, open_cube, read_rows
from lake.schema import StoreSpec
from lake.write import commit, write_block

Inputs = Mapping[tuple[str, int], Entry]


def execute(run: Run, options: Options) -> Outcome:
    """Fit centroids, label every window and finalise the store.

    Threads read ahead of the matrix products, each of which has one thread: neither changes a byte.

    Raises
    ------
    InputError
        If there are no windows, or fewer than clusters.
    """
    config = cast("Config", run.config)
    source = open_source(run.inputs["embeddings"].output.url, partial=config.partial)
    n_clusters = _n_clusters(run, config, source)
    run = options.begin(run, Outcome(did=True, counts={}))
    with threadpool_limits(1):
        scale, sample = _survey(run, source, n_clusters, threads=options.workers)
        read = scale_kept(source, scale)
        start = first_centroids(sample, n_clusters, config.seed)
        clustering = Clustering(scale, _fit(run, source, read, start, threads=options.workers))
        tried = scan(sample, config)
        spec = store_spec(run, source, n_clusters, n_scanned=len(tried))
        totals, near = _label(run, source, read, clustering, spec, threads=options.workers)
        tables = {
            **clustering_tables(clustering),
            **scan_tables(tried),
            **_described(run, source, totals, near),
            "stability": stability(sample, clustering.centroids, config),
        }
    typed = {array.name: tables[array.name].astype(array.dtype) for array in spec.tables if array.name in ARRAYS}
    spec = replace(spec, attrs={**spec.attrs, ATTRIBUTE: clustering_id(typed)})
    commit(run.output, run.ledger, spec, source.recorders, tables)
    flags = tables["cluster_flags"]
    counts = {
        "windows": source.n_windows,
        "clusters": n_clusters,
        "empty_clusters": int(np.count_nonzero(totals.n_windows == 0)),
        "flagged_clusters": int(np.count_nonzero(flags)),
        "mean_square_distance": float(f"{totals.squares[0] / source.n_windows:.6g}"),
    }
    return Outcome(did=True, counts=counts, backend=_backend())


def _n_clusters(run: Run, config: Config, source: Source) -> int:
    n_windows, name = source.n_windows, run.inputs["embeddings"].name
    if not n_windows:
        raise InputError(f"run {run.name!r}: {name!r} has no usable window; there is nothing to cluster.")
    wanted = number_of_clusters(config.n_clusters, n_windows)
    if wanted > n_windows:
        raise InputError(
            f"run {run.name!r}: n_clusters = {wanted}, but {name!r} has only {n_windows} usable windows. "
            f"Set n_clusters to {n_windows} at most, or to 'auto' "
            f"(which would make {number_of_clusters('auto', n_windows)} clusters of them)."
        )
    most = min(n_windows, source.n_features)
    if config.n_components is not None and config.n_components > most:
        raise InputError(
            f"run {run.name!r}: n_components = {config.n_components}, but {name!r} has {n_windows} windows of "
            f"{source.n_features} features. Set n_components to {most} at most, or leave it out."
        )
    return wanted


def _survey(run: Run, source: Source, n_clusters: int, *, threads: int) -> tuple[Scale, Vectors]:
    """Return how to scale vectors, and a scaled sample of them, uniform over all windows."""
    config, n_windows = cast("Config", run.config), source.n_windows
    n_sample = min(n_windows, max(config.n_init_windows, 10 * n_clusters))
    rows = np.sort(np.random.default_rng([config.seed, 0]).choice(n_windows, n_sample, replace=False))
    parts, samples = [], []
    with progress(f"{run.name}: statistics", n_windows, "windows") as advance:
        look = in_threads(partial(_look, source), range(len(source.parts)), threads)
        for part, (vectors, found) in zip(source.parts, look, strict=True):
            parts.append(found)
            here = rows[np.searchsorted(rows, part.first_row) : np.searchsorted(rows, part.first_row + len(vectors))]
            samples.append(vectors[here - part.first_row])
            advance(len(vectors))
    sample = np.concatenate(samples)
    scale = scale_of(merged(parts), config.normalise)
    if config.n_components is not None:
        scale = with_components(scale, sample, config.n_components)
    return scale, scaled(sample, scale)


def _look(source: Source, i: int) -> tuple[Vectors, Moments]:
    vectors = read_raw(source, i)
    return vectors, moments(vectors)


def _fit(run: Run, source: Source, read: Read, start: Vectors, *, threads: int) -> Vectors:
    config = cast("Config", run.config)
    plan = schedule(source.n_windows, len(start), config.batch_size, config.n_epochs, config.max_batches)
    stream = batches(
        read, [len(part.cells) for part in source.parts], plan,
        buffer_windows=config.buffer_windows, seed=config.seed, threads=threads,
    )  # fmt: skip
    with progress(f"{run.name}: fit", plan.n_batches * plan.batch_size, "windows") as advance:

        def counted(batch: Vectors) -> Vectors:
            advance(len(batch))
            return batch

        return fit(map(counted, stream), start, config, plan, threads=threads)


def _label(
    run: Run, source: Source, read: Read, clustering: Clustering, spec: StoreSpec, *, threads: int
) -> tuple[Totals, Candidates]:
    """Label every window and write every block; return what the labels say."""
    config, grid = cast("Config", run.config), source.grid
    run.ledger.settle_grid(grid, source.recorders)
    made = run.inputs["embeddings"].ledger.written()
    digest, backend = hashlib.sha256(clustering.centroids.tobytes()).hexdigest(), _backend()
    status = open_array(source.url, "embedding_status")
    days, begun = by_day(source.parts), np.cumsum([0, *(len(parts) for parts in by_day(source.parts))])
    span_ms = round(config.exemplar_span_s * 1000)

    def labelled(i: int) -> Labelled:
        parts = days[i]
        cells = np.concatenate([part.cells for part in parts])
        vectors = np.empty((len(cells), clustering.centroids.shape[1]), dtype=np.float32)
        for j, part in enumerate(parts):
            first = part.first_row - parts[0].first_row
            vectors[first : first + len(part.cells)] = read(int(begun[i]) + j)
        return label_day(
            vectors, clustering.centroids, recorder=parts[0].recorder, cells=cells, grid=grid, span_ms=span_ms,
            n_near=config.n_exemplars,
        )  # fmt: skip

    totals, near = no_totals(clustering.n_clusters, len(source.recorders)), []
    with progress(f"{run.name}: labels", source.n_windows, "windows") as advance:
        for parts, day in zip(days, in_threads(labelled, range(len(days)), threads), strict=True):
            number, i_recorder = parts[0].day, parts[0].recorder
            recorder, first = source.recorders[i_recorder], number * spec.cells_per_block
            there = np.asarray(status[i_recorder, first : first + spec.cells_per_block])[day.cells - first]
            entry = Entry(
                recorder=recorder, block=number, files={}, cells=day.cells.tolist(), digests=[], backend=backend,
                inputs=short_hash([digest, sorted(made[recorder, number].files.items())]),
                index={"cluster_status": there.tolist()},
            )  # fmt: skip
            write_block(run.output, run.ledger, spec, _blocks(spec, day, first), entry, i_recorder=i_recorder)
            count(totals, day, recorder=i_recorder, name=recorder, grid=grid)
            near.append(day.near)
            advance(len(day.cells))
    return totals, joined(near)


def _blocks(spec: StoreSpec, day: Labelled, first: int) -> Tables:
    blocks = {data.name: np.full(data.block, data.fill, dtype=data.dtype) for data in spec.data}
    blocks["cluster"][0, day.cells - first] = day.cluster
    blocks["distance"][0, day.cells - first] = day.distance
    return blocks


def _described(run: Run, source: Source, totals: Totals, near: Candidates) -> Tables:
    """Return the tables on clusters: exemplars, shares, contrast and flags."""
    config, n_clusters = cast("Config", run.config), len(totals.n_windows)
    chosen = exemplars(near, n_clusters, config.n_exemplars)
    recorders, hours = (largest_shares(counts, config.flag_share) for counts in (totals.by_recorder, totals.by_hour))
    contrast = _contrast(run, source, chosen)
    return {
        "n_windows": totals.n_windows,
        "exemplar_recorder": chosen[0].astype(np.int32),
        "exemplar_cell": chosen[1],
        "recorder_share": recorders.share,
        "hour_share": hours.share,
        "contrast_db": contrast,
        "cluster_flags": flags_of(recorders, hours, contrast, config.noise_contrast_db),
    }


def _contrast(run: Run, source: Source, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the median contrast of each cluster's exemplars, dB; NaN where the cube is not at hand."""
    out = np.full(chosen.shape[1], np.nan, dtype=np.float32)
    cube = run.inputs["embeddings"].inputs.get("spectrograms")
    if cube is None or not cube.output.exists(""):
        return out
    with open_cube(cube.output.url) as dataset:
        recorders = dataset["recorder"].to_numpy().tolist()
        if grid_of(dataset).attrs != source.grid.attrs or recorders[: len(source.recorders)] != [*source.recorders]:
            return out  # vectors made elsewhere have a grid of their own
    array = open_array(cube.output.url, "spectrogram")
    for i in range(len(out)):
        recorder, cell = chosen[:, i, :][:, chosen[1, i] >= 0]
        found = contrast_db(np.asarray(read_rows(array, recorder, cell), dtype=np.uint8))
        if np.isfinite(found).any():
            out[i] = np.nanmedian(found)
    return out


def _backend() -> str:
    """Return the processor that the linear algebra library works for, such as ``cpu-SkylakeX``."""
    kinds = sorted({str(info["architecture"]) for info in threadpool_info() if info.get("architecture")})
    return "-".join(["cpu", *kinds])
