"""The ``cluster`` job: embeddings and the cluster store around the pure core."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from jobs.cluster.batches import BEGIN, batches
from jobs.cluster.config import Config
from jobs.cluster.core import Clustering, first_centroids, number_of_clusters
from jobs.cluster.exemplars import Candidates, exemplars
from jobs.cluster.flags import contrast_db, flags_of, largest_shares
from jobs.cluster.kmeans import begun, schedule, steps
from jobs.cluster.labels import Counted, Day, Labeller, Totals, no_totals, summed
from jobs.cluster.resuming import Checkpoints, Written, checkpoints
from jobs.cluster.sizes import needed
from jobs.cluster.source import Kept, Part, Read
from jobs.cluster.stability import scan, stability
from jobs.cluster.store import Tables, clustering_tables, scan_tables, store_spec
from jobs.common import checkpoint
from jobs.common.ordered import team
from jobs.common.partitioned import require_worker
from jobs.common.processors import blas_backend
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run
from jobs.common.terminal import complain
from lake.clustering import ARRAYS, ATTRIBUTE, clustering_id
from lake.digest import sha256
from lake.errors import InputError
from lake.identity import short_hash
from lake.ledger import Ledger
from lake.read import grid_of, open_cube, recorder_names
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
from lake.shards import open_codes
from lake.vectors import VectorSets, by_day, open_vectors
from lake.whitening import ROWS_OF_PRODUCTS, groups_of, set_moments, whitening_notes
from lake.write import commit


def execute(run: Run[Config], options: Options) -> Outcome:
    """Fit centroids, label every window and finalise the store.

    Every pass but the fit itself is made of steps that threads, or the workers of a Dask scheduler, work on: reading
    and moments, the vectors of the fit's next batches, labels, scan and stability. Batches are fitted one after the
    other in this process, and each matrix product has one thread, so nothing of it changes a byte. After a kill the
    statistics and the fit go on from their last checkpoint, and days that were labelled are not labelled again.

    Raises
    ------
    InputError
        If there are no windows, or fewer than clusters.
    """
    config = run.config
    sets = open_vectors([one.output.url for one in run.sources("embeddings")], partial=config.partial)
    normalise = _normalise(config, sets)
    n_clusters = _n_clusters(run, config, sets)
    run = options.begin(run, Outcome(did=True, counts={}))
    workers = team(options.workers, partial(_require_here, run.ledger, blas_backend(), mix=options.mix))
    n_scaled = config.n_components or N_AXES if normalise == "whiten" else 2**31
    kept = Kept(sets, min(sum(sets.n_features), n_scaled), workers)
    made = [one.ledger.written() for one in run.sources("embeddings")]
    saved = checkpoints(run, made)
    with threadpool_limits(1):
        found = saved.survey()
        if found is None:
            found = _survey(run, kept, normalise, n_clusters)
            saved.save_survey(*found)
        scaling, sample = found
        clustering = Clustering(scaling, _fit(run, kept, found, n_clusters, saved))
        tried = scan(sample, config, workers)
        spec = store_spec(run, sets.grid, clustering, normalise=normalise, n_scanned=len(tried))
        totals, near = _label(run, kept, clustering, spec, made)
        tables = {
            **clustering_tables(clustering),
            **scan_tables(tried),
            **_described(run, sets, totals, near),
            "stability": stability(sample, clustering.centroids, config, workers),
        }
    typed = {array.name: tables[array.name].astype(array.dtype) for array in spec.tables if array.name in ARRAYS}
    spec = replace(spec, attrs={**spec.attrs, ATTRIBUTE: clustering_id(typed)})
    commit(run.output, run.ledger, spec, sets.recorders, tables)
    checkpoint.remove(run.ledger)
    flags = tables["cluster_flags"]
    counts = {
        "windows": sets.n_windows,
        "clusters": n_clusters,
        "empty_clusters": int(np.count_nonzero(totals.n_windows == 0)),
        "flagged_clusters": int(np.count_nonzero(flags)),
        "mean_square_distance": float(f"{totals.squares[0] / sets.n_windows:.6g}"),
    }
    notes = whitening_notes(sets, scaling, config.shrinkage)
    return Outcome(did=True, counts=counts, backend=blas_backend(), notes=notes)


def describe(run: Run[Config], options: Options) -> list[str]:
    """Return what a run would read, write and take, without writing anything."""
    sets = open_vectors([one.output.url for one in run.sources("embeddings")], partial=run.config.partial)
    return needed(run, sets, n_clusters=_n_clusters(run, run.config, sets), threads=options.workers)


def _normalise(config: Config, sets: VectorSets) -> Normalise:
    """Return how vectors are scaled: as configured, or as fits where they are from."""
    if config.normalise != "auto":
        return config.normalise
    return "whiten" if sets.is_own else "zscore_l2"


def _n_clusters(run: Run[Config], config: Config, sets: VectorSets) -> int:
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
    if config.n_components is not None:
        whitens = _normalise(config, sets) == "whiten"
        if len(sets.arrays) > 1 and not whitens:
            raise InputError(
                f"run {run.name!r}: n_components = {config.n_components} of several vector sets takes "
                "normalise = 'whiten'. Set it, or leave out n_components."
            )
        most = sum(sets.n_features) if whitens else min(n_windows, sets.n_features[0])
        if config.n_components > most:
            raise InputError(
                f"run {run.name!r}: n_components = {config.n_components}, but {name} has {n_windows} windows of "
                f"{sum(sets.n_features)} features. Set n_components to {most} at most, or leave it out."
            )
    return wanted


def _survey(run: Run[Config], kept: Kept, normalise: Normalise, n_clusters: int) -> tuple[Scaling, Vectors]:
    """Return how to scale vectors, and a scaled sample of them, uniform over all windows."""
    config, sets = run.config, kept.sets
    n_windows = sets.n_windows
    n_sample = min(n_windows, max(config.n_init_windows, 10 * n_clusters))
    rows = np.sort(np.random.default_rng([config.seed, 0]).choice(n_windows, n_sample, replace=False))
    over_all: list[Moments] = []
    samples = []
    look = partial(_look, kept.read_raw, sets.n_features, products=normalise == "whiten")
    with progress(f"{run.name}: statistics", n_windows, "windows") as advance:
        groups = groups_of(sets, ROWS_OF_PRODUCTS if normalise == "whiten" else 1)
        for vectors, found in kept.team.in_order(look, (_group(sets, group, rows) for group in groups)):
            over_all = [*map(merge, over_all, found)] if over_all else found
            samples.append(vectors)
            advance(found[0].n)
    sample = np.concatenate(samples)
    if normalise == "whiten":
        scaling = whitening(over_all, shrinkage=config.shrinkage, n_axes=config.n_components or N_AXES)
    else:
        scales = [scale_of(each, normalise) for each in over_all]
        if config.n_components is not None:
            scales = [with_components(scales[0], sample, config.n_components)]
        scaling = Scaling(tuple(scales))
    return scaling, scaled(sample, scaling)


@dataclass(frozen=True)
class _Group:
    """Spans that are looked at together, and which of their windows are in the sample."""

    parts: tuple[Part, ...]
    sampled: NDArray[np.int64]


def _group(sets: VectorSets, numbers: list[int], rows: NDArray[np.int64]) -> _Group:
    parts = tuple((i, sets.spans[i]) for i in numbers)
    first, last = parts[0][1].first_row, parts[-1][1].first_row + len(parts[-1][1].cells)
    return _Group(parts, rows[np.searchsorted(rows, first) : np.searchsorted(rows, last)] - first)


def _look(read: Read, n_features: Sequence[int], group: _Group, *, products: bool) -> tuple[Vectors, list[Moments]]:
    """Return the sampled vectors of some spans, and the moments of each set over all of their windows."""
    parts = [read(part) for part in group.parts]
    vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return vectors[group.sampled], set_moments(vectors, n_features, products=products)


def _fit(run: Run[Config], kept: Kept, survey: tuple[Scaling, Vectors], n_clusters: int, saved: Checkpoints) -> Vectors:
    """Return the centroids; after a kill the fit goes on from its last checkpoint."""
    config, sets, threads, (scaling, sample) = run.config, kept.sets, kept.team.threads, survey
    plan = schedule(sets.n_windows, n_clusters, config.batch_size, config.n_epochs, config.max_batches)
    found = saved.fit(config.seed) if saved.has_survey else None
    state, place = found or (begun(first_centroids(sample, n_clusters, config.seed), config.seed), BEGIN)
    if found is not None:
        complain(f"{run.name}: the fit goes on after {state.n_batches} of {plan.n_batches} batches")
    stream = batches(
        kept.pool_reader(scaling), [len(span.cells) for span in sets.spans], plan,
        buffer_windows=config.buffer_windows, seed=config.seed, threads=threads, place=place,
    )  # fmt: skip
    with progress(f"{run.name}: fit", plan.n_batches * plan.batch_size, "windows") as advance:
        advance(state.n_batches * plan.batch_size)

        def vectors() -> Iterator[Vectors]:
            for batch in stream:
                yield batch.vectors
                advance(plan.batch_size)
                if batch.after is not None:
                    saved.save_fit(scaling, sample, state, batch.after)

        for _ in steps(vectors(), state, config, plan, threads=threads):
            pass
    saved.save_fit(scaling, sample, state, replace(place, n_batches=plan.n_batches))
    return state.centroids


def _label(
    run: Run[Config], kept: Kept, clustering: Clustering, spec: StoreSpec, made: list[Written]
) -> tuple[Totals, Candidates]:
    """Label every window and write every block; return what the labels say."""
    config, sets = run.config, kept.sets
    run.ledger.settle_grid(sets.grid, sets.recorders)
    digest = sha256(clustering.centroids.tobytes())
    label = Labeller(
        read=kept.read_scaled(clustering.scaling), centroids=clustering.centroids, store=run.output,
        ledger=run.ledger, spec=spec,
        recorders=sets.recorders, status_url=sets.urls[0], token=kept.reader.token,
        span_ms=round(config.exemplar_span_s * 1000), n_near=config.n_exemplars,
        resumes=bool(run.ledger.line_files()),
    )  # fmt: skip

    def days() -> Iterator[Day]:
        begun = 0
        for spans in by_day(sets.spans):
            recorder, number = spans[0].recorder, spans[0].day
            files = [sorted(one[sets.recorders[recorder], number].files.items()) for one in made]
            yield Day(recorder, tuple(enumerate(spans, begun)), short_hash([digest, *files]))
            begun += len(spans)

    totals = no_totals(clustering.n_clusters, len(sets.recorders))
    with progress(f"{run.name}: labels", sets.n_windows, "windows") as advance:

        def counted(day: Counted) -> Counted:
            advance(day.n_windows)
            return day

        return totals, summed(map(counted, kept.team.in_order(label, days())), totals, config.n_exemplars)


def _require_here(ledger: Ledger, backend: str, *, mix: bool) -> None:
    """Refuse a worker without the lake, or of another kind of processor."""
    require_worker(ledger, blas_backend(), backend, differ="vectors differ in the last digits", mix=mix)


def _described(run: Run[Config], sets: VectorSets, totals: Totals, near: Candidates) -> Tables:
    """Return the tables on clusters: exemplars, shares, contrast and flags."""
    config, n_clusters = run.config, len(totals.n_windows)
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


def _contrast(run: Run[Config], sets: VectorSets, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the median contrast of each cluster's exemplars, dB; NaN where the cube is not at hand."""
    out = np.full(chosen.shape[1], np.nan, dtype=np.float32)
    cube = run.inputs["embeddings"].inputs.get("spectrograms")
    if cube is None or not cube.output.exists(""):
        return out
    with open_cube(cube.output.url) as dataset:
        recorders = recorder_names(dataset)
        if not grid_of(dataset).has_cells_of(sets.grid) or recorders[: len(sets.recorders)] != [*sets.recorders]:
            return out  # vectors made elsewhere have a grid of their own
    read_codes = open_codes(cube.output.url)
    for i in range(len(out)):
        recorder, cell = chosen[:, i, :][:, chosen[1, i] >= 0]
        found = contrast_db(read_codes(recorder, cell))
        if np.isfinite(found).any():
            out[i] = np.nanmedian(found)
    return out
