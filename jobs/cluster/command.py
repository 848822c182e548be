"""The ``cluster`` job: embeddings and the cluster store around the pure core."""

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from jobs.cluster import generations, growing
from jobs.cluster.assigning import Passes, centroids_digest, days_of, vector_sets
from jobs.cluster.bounds import bound_tables
from jobs.cluster.checkpoint import Checkpoints
from jobs.cluster.config import Config, number_of_clusters
from jobs.cluster.core import Clustering
from jobs.cluster.exemplars import Candidates, exemplars
from jobs.cluster.fitting import Fitting
from jobs.cluster.flags import contrast_db, flags_of, largest_shares
from jobs.cluster.labels import Totals
from jobs.cluster.sizes import needed
from jobs.cluster.source import Kept
from jobs.cluster.stability import numbers_to_try, scan, stability
from jobs.cluster.store import Tables, clustering_tables, scan_tables, store_spec
from jobs.common.days import share
from jobs.common.ordered import Team, team
from jobs.common.partitioned import require_worker
from jobs.common.processors import blas_backend
from jobs.common.run import Options, Outcome, Run
from lake.clustering import ARRAYS, ATTRIBUTE, clustering_id
from lake.errors import InputError, StoreError
from lake.identity import short_hash
from lake.ledger import Ledger
from lake.read import grid_of, open_cube, recorder_names
from lake.scaling import N_AXES, Normalise
from lake.shards import open_codes
from lake.vectors import VectorSets
from lake.whitening import whitening_notes
from lake.write import commit


def execute(run: Run[Config], options: Options) -> Outcome:
    """Label the windows that came since; fit centroids first where there are none yet, or with ``options.refresh``.

    Where a model was made again, vectors are others: then, too, centroids are fitted anew, as a new generation.

    Every pass but the fit itself is made of steps that threads, or the workers of a Dask scheduler, work on: reading
    and moments, the vectors of the fit's next batches, labels, scan and stability. Batches are fitted one after the
    other in this process, and each matrix product has one thread, so nothing of it changes a byte.

    Raises
    ------
    InputError
        If there are no windows, or fewer than clusters.
    """
    workers = team(options.workers, partial(_require_here, run.ledger, blas_backend(), mix=options.mix))
    if options.refresh or not growing.goes_on(run):
        return _fit(run, options, workers)
    return growing.grow(run, options, workers)


def finalise(run: Run[Config], options: Options) -> Outcome:
    """Finalise the store after all shares are done.

    Raises
    ------
    StoreError
        If there are no finished centroids, or with the list of all partitions that have no labels of them.
    """
    if growing.goes_on(run):
        growing.require_whole(run)
    else:
        _require_whole(run)
    return execute(run, replace(options, part=None, mix=True))


def progress_of(run: Run[Config]) -> tuple[int, int]:
    """Return how many windows have labels, and how many there are to label."""
    return growing.progress_of_growth(run) if growing.goes_on(run) else (0, vector_sets(run).n_windows)


def describe(run: Run[Config], options: Options) -> list[str]:
    """Return what a run would read, write and take, without writing anything."""
    sets = vector_sets(run)
    if growing.goes_on(run) and not options.refresh:
        done, total = progress_of(run)
        return [f"{total - done} of {total} windows get the nearest centroid; the clustering stays as it is"]
    return needed(run, sets, n_clusters=_n_clusters(run, run.config, sets), threads=options.workers)


def _fit(run: Run[Config], options: Options, workers: Team) -> Outcome:
    """Fit centroids, label every window and finalise the store."""
    config = run.config
    sets = vector_sets(run)
    normalise = _normalise(config, sets)
    n_clusters = _n_clusters(run, config, sets)
    remade = growing.remade_vectors(run) if growing.is_fitted(run) and not options.refresh else []
    run = options.begin(run, Outcome(did=True, counts={}))
    n_scaled = config.n_components or N_AXES if normalise == "whiten" else 2**31
    kept = Kept(sets, min(sum(sets.n_features), n_scaled), workers)
    checkpoints = Checkpoints(run.ledger, _identity(run), blas_backend(), options.mix, options.part is not None)
    with threadpool_limits(1):
        fitting = Fitting(run, kept, normalise, n_clusters, checkpoints)
        clustering, sample = fitting.centroids() if options.part is None else fitting.centroids_of_shares()
        spec = store_spec(
            run, sets.grid, clustering, normalise=normalise, n_scanned=len(numbers_to_try(sample, config))
        )
        found = clustering_tables(clustering)
        identity = clustering_id({one.name: found[one.name].astype(one.dtype) for one in spec.tables
                                  if one.name in ARRAYS and one.name in found})  # fmt: skip
        spec = generations.begin(run, replace(spec, attrs={**spec.attrs, ATTRIBUTE: identity}), identity)
        run.ledger.settle_grid(sets.grid, sets.recorders)
        passes = Passes(run, kept, clustering, spec, centroids_digest(found["centroid"]))
        days = passes.days(mix=options.mix)
        if options.part is not None:
            return passes.share(share(days, options.part))
        totals, near = passes.label(days)
        tables = {
            **found,
            **scan_tables(scan(sample, config, workers)),
            **_described(run, sets, totals, near),
            **bound_tables(*totals.all_labels, n_clusters),
            "stability": stability(sample, clustering.centroids, config, workers),
        }
    commit(run.output, run.ledger, spec, sets.recorders, tables)
    names = [
        f"{name} was made again with another model, so clusters were fitted anew" for name in remade
    ] + generations.finish(run, spec)
    run.ledger.remove_checkpoints()
    flags = tables["cluster_flags"]
    counts = {
        "windows": sets.n_windows,
        "clusters": n_clusters,
        "empty_clusters": int(np.count_nonzero(totals.n_windows == 0)),
        "flagged_clusters": int(np.count_nonzero(flags)),
        "mean_square_distance": float(f"{totals.squares[0] / sets.n_windows:.6g}"),
    }
    notes = [*whitening_notes(sets, clustering.scaling, config.shrinkage), *names]
    return Outcome(did=True, counts=counts, backend=blas_backend(), notes=notes)


def _require_whole(run: Run[Config]) -> None:
    """Refuse to finalise before centroids are fitted, and every partition has labels of them."""
    fitted = Checkpoints(run.ledger, _identity(run), blas_backend(), mix=True)
    found, survey = fitted.fit(), fitted.survey()
    if found is None or survey is None:
        raise StoreError(
            f"run {run.name!r}: its centroids are not fitted yet. Type `dawnchorus run MANIFEST {run.name}`, with "
            "--partition or without, then finalise."
        )
    sets = vector_sets(run)
    centroids = clustering_tables(Clustering(survey[0], found[0].centroids))["centroid"]
    days = days_of(run, sets, centroids_digest(centroids), mix=True, is_growth=False)
    growing.refuse_missing(run, sets, days)


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
