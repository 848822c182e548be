"""The ``cluster`` job: embeddings and the cluster store around the pure core."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from jobs.cluster.batches import Read, batches
from jobs.cluster.config import Config
from jobs.cluster.core import Clustering, first_centroids, number_of_clusters
from jobs.cluster.exemplars import Candidates, exemplars, joined
from jobs.cluster.flags import contrast_db, flags_of, largest_shares
from jobs.cluster.kmeans import fit, schedule
from jobs.cluster.labels import Labelled, Totals, count, label_day, no_totals
from jobs.cluster.source import Kept, in_threads
from jobs.cluster.stability import scan, stability
from jobs.cluster.store import Tables, clustering_tables, scan_tables, store_spec
from jobs.common.processors import blas_backend
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run
from lake.clustering import ARRAYS, ATTRIBUTE, clustering_id
from lake.errors import InputError
from lake.identity import short_hash
from lake.ledger import Entry
from lake.read import grid_of, open_array, open_cube, read_rows
from lake.scaling import (
    N_AXES,
    Moments,
    Normalise,
    Scaling,
    Vectors,
    merge,
    scale_of,
    scaled,
    whitening,
    with_components,
)
from lake.schema import StoreSpec
from lake.vectors import VectorSets, by_day, open_vectors
from lake.whitening import ROWS_OF_PRODUCTS, groups_of, set_moments, shrinkage_notes
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
    sets = open_vectors([one.output.url for one in run.sources("embeddings")], partial=config.partial)
    normalise = _normalise(config, sets)
    n_clusters = _n_clusters(run, config, sets)
    run = options.begin(run, Outcome(did=True, counts={}))
    kept = Kept(sets, min(sum(sets.n_features), config.n_components or N_AXES if normalise == "whiten" else 2**31))
    with threadpool_limits(1):
        scaling, sample = _survey(run, kept, normalise, n_clusters, threads=options.workers)
        read = kept.scaled_by(scaling)
        start = first_centroids(sample, n_clusters, config.seed)
        clustering = Clustering(scaling, _fit(run, sets, read, start, threads=options.workers))
        tried = scan(sample, config)
        spec = store_spec(run, sets.grid, clustering, normalise=normalise, n_scanned=len(tried))
        totals, near = _label(run, sets, read, clustering, spec, threads=options.workers)
        tables = {
            **clustering_tables(clustering),
            **scan_tables(tried),
            **_described(run, sets, totals, near),
            "stability": stability(sample, clustering.centroids, config),
        }
    typed = {array.name: tables[array.name].astype(array.dtype) for array in spec.tables if array.name in ARRAYS}
    spec = replace(spec, attrs={**spec.attrs, ATTRIBUTE: clustering_id(typed)})
    commit(run.output, run.ledger, spec, sets.recorders, tables)
    flags = tables["cluster_flags"]
    counts = {
        "windows": sets.n_windows,
        "clusters": n_clusters,
        "empty_clusters": int(np.count_nonzero(totals.n_windows == 0)),
        "flagged_clusters": int(np.count_nonzero(flags)),
        "mean_square_distance": float(f"{totals.squares[0] / sets.n_windows:.6g}"),
    }
    notes = shrinkage_notes(sets, scaling, config.shrinkage)
    return Outcome(did=True, counts=counts, backend=blas_backend(), notes=notes)


def _normalise(config: Config, sets: VectorSets) -> Normalise:
    """Return how vectors are scaled: as configured, or as fits where they are from."""
    if config.normalise != "auto":
        return config.normalise
    return "whiten" if sets.is_own else "zscore_l2"


def _n_clusters(run: Run, config: Config, sets: VectorSets) -> int:
    n_windows, name = sets.n_windows, " and ".join(repr(one.name) for one in run.sources("embeddings"))
    if not n_windows:
        raise InputError(f"run {run.name!r}: {name} has no usable window; there is nothing to cluster.")
    wanted = number_of_clusters(config.n_clusters, n_windows)
    if wanted > n_windows:
        raise InputError(
            f"run {run.name!r}: n_clusters = {wanted}, but {name} has only {n_windows} usable windows. "
            f"Set n_clusters to {n_windows} at most, or to 'auto' "
            f"(which would make {number_of_clusters('auto', n_windows)} clusters of them)."
        )
    if config.n_components is not None and _normalise(config, sets) != "whiten":
        if len(sets.arrays) > 1:
            raise InputError(
                f"run {run.name!r}: n_components = {config.n_components} of several vector sets takes "
                "normalise = 'whiten'. Set it, or leave out n_components."
            )
        most = min(n_windows, sets.n_features[0])
        if config.n_components > most:
            raise InputError(
                f"run {run.name!r}: n_components = {config.n_components}, but {name} has {n_windows} windows of "
                f"{sets.n_features[0]} features. Set n_components to {most} at most, or leave it out."
            )
    return wanted


def _survey(run: Run, kept: Kept, normalise: Normalise, n_clusters: int, *, threads: int) -> tuple[Scaling, Vectors]:
    """Return how to scale vectors, and a scaled sample of them, uniform over all windows."""
    config, sets = cast("Config", run.config), kept.sets
    n_windows = sets.n_windows
    n_sample = min(n_windows, max(config.n_init_windows, 10 * n_clusters))
    rows = np.sort(np.random.default_rng([config.seed, 0]).choice(n_windows, n_sample, replace=False))
    over_all: list[Moments] = []
    samples = []
    with progress(f"{run.name}: statistics", n_windows, "windows") as advance:
        groups = groups_of(sets, ROWS_OF_PRODUCTS if normalise == "whiten" else 1)
        look = in_threads(partial(_look, kept, normalise), groups, threads)
        for group, (vectors, found) in zip(groups, look, strict=True):
            over_all = [*map(merge, over_all, found)] if over_all else found
            first = sets.spans[group[0]].first_row
            here = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(vectors))]
            samples.append(vectors[here - first])
            advance(len(vectors))
    sample = np.concatenate(samples)
    if normalise == "whiten":
        scaling = whitening(over_all, shrinkage=config.shrinkage, n_axes=config.n_components or N_AXES)
    else:
        scales = [scale_of(each, normalise) for each in over_all]
        if config.n_components is not None:
            scales = [with_components(scales[0], sample, config.n_components)]
        scaling = Scaling(tuple(scales))
    return scaling, scaled(sample, scaling)


def _look(kept: Kept, normalise: Normalise, group: list[int]) -> tuple[Vectors, list[Moments]]:
    """Return the vectors of some spans, and the moments of each set."""
    parts = [kept.read_raw(i) for i in group]
    vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return vectors, set_moments(vectors, kept.sets.n_features, products=normalise == "whiten")


def _fit(run: Run, sets: VectorSets, read: Read, start: Vectors, *, threads: int) -> Vectors:
    config = cast("Config", run.config)
    plan = schedule(sets.n_windows, len(start), config.batch_size, config.n_epochs, config.max_batches)
    stream = batches(
        read, [len(span.cells) for span in sets.spans], plan,
        buffer_windows=config.buffer_windows, seed=config.seed, threads=threads,
    )  # fmt: skip
    with progress(f"{run.name}: fit", plan.n_batches * plan.batch_size, "windows") as advance:

        def counted(batch: Vectors) -> Vectors:
            advance(len(batch))
            return batch

        return fit(map(counted, stream), start, config, plan, threads=threads)


def _label(
    run: Run, sets: VectorSets, read: Read, clustering: Clustering, spec: StoreSpec, *, threads: int
) -> tuple[Totals, Candidates]:
    """Label every window and write every block; return what the labels say."""
    config, grid = cast("Config", run.config), sets.grid
    run.ledger.settle_grid(grid, sets.recorders)
    made = [one.ledger.written() for one in run.sources("embeddings")]
    digest, backend = hashlib.sha256(clustering.centroids.tobytes()).hexdigest(), blas_backend()
    status = open_array(sets.urls[0], "embedding_status")
    days, begun = by_day(sets.spans), np.cumsum([0, *(len(parts) for parts in by_day(sets.spans))])
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

    totals, near = no_totals(clustering.n_clusters, len(sets.recorders)), []
    with progress(f"{run.name}: labels", sets.n_windows, "windows") as advance:
        for parts, day in zip(days, in_threads(labelled, range(len(days)), threads), strict=True):
            number, i_recorder = parts[0].day, parts[0].recorder
            recorder, first = sets.recorders[i_recorder], number * spec.cells_per_block
            there = np.asarray(status[i_recorder, first : first + spec.cells_per_block])[day.cells - first]
            entry = Entry(
                recorder=recorder, block=number, files={}, cells=day.cells.tolist(), digests=[], backend=backend,
                inputs=short_hash([digest, *(sorted(one[recorder, number].files.items()) for one in made)]),
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


def _described(run: Run, sets: VectorSets, totals: Totals, near: Candidates) -> Tables:
    """Return the tables on clusters: exemplars, shares, contrast and flags."""
    config, n_clusters = cast("Config", run.config), len(totals.n_windows)
    chosen = exemplars(near, n_clusters, config.n_exemplars)
    recorders, hours = (largest_shares(counts, config.flag_share) for counts in (totals.by_recorder, totals.by_hour))
    contrast = _contrast(run, sets, chosen)
    return {
        "n_windows": totals.n_windows,
        "exemplar_recorder": chosen[0].astype(np.int32),
        "exemplar_cell": chosen[1],
        "recorder_share": recorders.share,
        "hour_share": hours.share,
        "contrast_db": contrast,
        "cluster_flags": flags_of(recorders, hours, contrast, config.noise_contrast_db),
    }


def _contrast(run: Run, sets: VectorSets, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the median contrast of each cluster's exemplars, dB; NaN where the cube is not at hand."""
    out = np.full(chosen.shape[1], np.nan, dtype=np.float32)
    cube = run.inputs["embeddings"].inputs.get("spectrograms")
    if cube is None or not cube.output.exists(""):
        return out
    with open_cube(cube.output.url) as dataset:
        recorders = dataset["recorder"].to_numpy().tolist()
        if grid_of(dataset).attrs != sets.grid.attrs or recorders[: len(sets.recorders)] != [*sets.recorders]:
            return out  # vectors made elsewhere have a grid of their own
    array = open_array(cube.output.url, "spectrogram")
    for i in range(len(out)):
        recorder, cell = chosen[:, i, :][:, chosen[1, i] >= 0]
        found = contrast_db(np.asarray(read_rows(array, recorder, cell), dtype=np.uint8))
        if np.isfinite(found).any():
            out[i] = np.nanmedian(found)
    return out
