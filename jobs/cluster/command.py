"""The ``cluster`` job: embeddings and the cluster store around the pure core."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from jobs.cluster.checkpoint import Checkpoints
from jobs.cluster.config import Config, number_of_clusters
from jobs.cluster.core import Clustering
from jobs.cluster.exemplars import Candidates, exemplars
from jobs.cluster.fitting import Fitting
from jobs.cluster.flags import contrast_db, flags_of, largest_shares
from jobs.cluster.labels import Counted, Day, Labeller, Totals, no_totals, summed
from jobs.cluster.sizes import needed
from jobs.cluster.source import Kept
from jobs.cluster.stability import numbers_to_try, scan, stability
from jobs.cluster.store import Tables, clustering_tables, scan_tables, store_spec
from jobs.common.ordered import team
from jobs.common.partitioned import require_worker
from jobs.common.partitions import share
from jobs.common.processors import blas_backend
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run, listed
from lake.clustering import ARRAYS, ATTRIBUTE, clustering_id
from lake.digest import sha256
from lake.errors import InputError, StoreError
from lake.identity import short_hash
from lake.ledger import Ledger
from lake.read import grid_of, open_cube, recorder_names
from lake.scaling import (
    N_AXES,
    Normalise,
)
from lake.schema import StoreSpec
from lake.shards import open_codes
from lake.vectors import VectorSets, by_day, open_vectors
from lake.whitening import whitening_notes
from lake.write import commit


def execute(run: Run[Config], options: Options) -> Outcome:
    """Fit centroids, label every window and finalise the store.

    Every pass but the fit itself is made of steps that threads, or the workers of a Dask scheduler, work on: reading
    and moments, the vectors of the fit's next batches, labels, scan and stability. Batches are fitted one after the
    other in this process, and each matrix product has one thread, so nothing of it changes a byte.

    Raises
    ------
    InputError
        If there are no windows, or fewer than clusters.
    """
    config = run.config
    sets = _sets(run)
    normalise = _normalise(config, sets)
    n_clusters = _n_clusters(run, config, sets)
    run = options.begin(run, Outcome(did=True, counts={}))
    workers = team(options.workers, partial(_require_here, run.ledger, blas_backend(), mix=options.mix))
    n_scaled = config.n_components or N_AXES if normalise == "whiten" else 2**31
    kept = Kept(sets, min(sum(sets.n_features), n_scaled), workers)
    checkpoints = Checkpoints(run.ledger, _identity(run), blas_backend(), options.mix, options.part is not None)
    with threadpool_limits(1):
        fitting = Fitting(run, kept, normalise, n_clusters, checkpoints)
        clustering, sample = fitting.centroids() if options.part is None else fitting.centroids_of_shares()
        n_scanned = len(numbers_to_try(sample, config))
        spec = store_spec(run, sets.grid, clustering, normalise=normalise, n_scanned=n_scanned)
        run.ledger.settle_grid(sets.grid, sets.recorders)
        days = _days(run, sets, clustering, mix=options.mix)
        if options.part is not None:
            return _share(run, kept, clustering, spec, share(days, options.part))
        totals, near = _label(run, kept, clustering, spec, days)
        tried = scan(sample, config, workers)
        tables = {
            **clustering_tables(clustering),
            **scan_tables(tried),
            **_described(run, sets, totals, near),
            "stability": stability(sample, clustering.centroids, config, workers),
        }
    typed = {array.name: tables[array.name].astype(array.dtype) for array in spec.tables if array.name in ARRAYS}
    spec = replace(spec, attrs={**spec.attrs, ATTRIBUTE: clustering_id(typed)})
    commit(run.output, run.ledger, spec, sets.recorders, tables)
    run.ledger.remove_checkpoints()
    flags = tables["cluster_flags"]
    counts = {
        "windows": sets.n_windows,
        "clusters": n_clusters,
        "empty_clusters": int(np.count_nonzero(totals.n_windows == 0)),
        "flagged_clusters": int(np.count_nonzero(flags)),
        "mean_square_distance": float(f"{totals.squares[0] / sets.n_windows:.6g}"),
    }
    notes = whitening_notes(sets, clustering.scaling, config.shrinkage)
    return Outcome(did=True, counts=counts, backend=blas_backend(), notes=notes)


def finalise(run: Run[Config], options: Options) -> Outcome:
    """Finalise the store after all shares are done.

    Raises
    ------
    StoreError
        If there are no finished centroids, or with the list of all partitions that have no labels of them.
    """
    fitted = Checkpoints(run.ledger, _identity(run), blas_backend(), mix=True)
    found, survey = fitted.fit(), fitted.survey()
    again = f"`dawnchorus run MANIFEST {run.name}`, with --partition or without"
    if found is None or survey is None:
        raise StoreError(f"run {run.name!r}: its centroids are not fitted yet. Type {again}, then finalise.")
    sets = _sets(run)
    missing = [day for day in _days(run, sets, Clustering(survey[0], found[0].centroids), mix=True) if not day.files]
    if missing:
        names = [
            f"  {sets.recorders[day.recorder]} {sets.grid.day_of(int(day.parts[0][1].cells[0]))}" for day in missing
        ]
        raise StoreError(
            f"run {run.name!r}: {len(names)} partitions have no labels of these centroids yet:\n{listed(names)}\n"
            f"Type {again}, then finalise."
        )
    return execute(run, replace(options, part=None, mix=True))


def describe(run: Run[Config], options: Options) -> list[str]:
    """Return what a run would read, write and take, without writing anything."""
    sets = _sets(run)
    return needed(run, sets, n_clusters=_n_clusters(run, run.config, sets), threads=options.workers)


def _sets(run: Run[Config]) -> VectorSets:
    return open_vectors([one.output.url for one in run.sources("embeddings")], partial=run.config.partial)


def _identity(run: Run[Config]) -> str:
    """Return the digest of all that the centroids are made from: settings and vectors."""
    return short_hash([run.config_id, *(one.ledger.content() for one in run.sources("embeddings"))])


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


def _days(run: Run[Config], sets: VectorSets, clustering: Clustering, *, mix: bool) -> list[Day]:
    """Return the partitions, each with the files of its labels if those are of these centroids and vectors."""
    made = [one.ledger.written() for one in run.sources("embeddings")]
    written, backend, digest = run.ledger.written(), blas_backend(), sha256(clustering.centroids.tobytes())
    days, begun = [], 0
    for spans in by_day(sets.spans):
        recorder, number = spans[0].recorder, spans[0].day
        place = (sets.recorders[recorder], number)
        inputs = short_hash([digest, *(sorted(one[place].files.items()) for one in made)])
        entry = written.get(place)
        stands = entry is not None and entry.inputs == inputs and (mix or entry.backend == backend)
        files = entry.files if entry is not None and stands else {}
        days.append(Day(recorder, tuple(enumerate(spans, begun)), inputs, files))
        begun += len(spans)
    return days


def _labelled(
    run: Run[Config], kept: Kept, clustering: Clustering, spec: StoreSpec, days: Sequence[Day]
) -> Iterator[Counted]:
    """Label days and write their blocks; yield what was counted of each, in order."""
    config, sets = run.config, kept.sets
    label = Labeller(
        read=kept.read_scaled(clustering.scaling), centroids=clustering.centroids, store=run.output,
        ledger=run.ledger, spec=spec,
        recorders=sets.recorders, status_url=sets.urls[0], token=kept.reader.token,
        span_ms=round(config.exemplar_span_s * 1000), n_near=config.n_exemplars,
    )  # fmt: skip
    n_windows = sum(len(span.cells) for day in days for _, span in day.parts)
    with progress(f"{run.name}: labels", n_windows, "windows") as advance:
        for counted in kept.team.in_order(label, days):
            advance(counted.n_windows)
            yield counted


def _label(
    run: Run[Config], kept: Kept, clustering: Clustering, spec: StoreSpec, days: Sequence[Day]
) -> tuple[Totals, Candidates]:
    """Label every window and write every block; return what the labels say."""
    totals = no_totals(clustering.n_clusters, len(kept.sets.recorders))
    return totals, summed(_labelled(run, kept, clustering, spec, days), totals, run.config.n_exemplars)


def _share(run: Run[Config], kept: Kept, clustering: Clustering, spec: StoreSpec, days: Sequence[Day]) -> Outcome:
    """Label the days of a share that are not labelled yet."""
    missing = [day for day in days if not day.files]
    n_windows = sum(day.n_windows for day in _labelled(run, kept, clustering, spec, missing))
    return Outcome(did=bool(missing), counts={"windows": n_windows}, backend=blas_backend())


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
