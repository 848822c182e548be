"""A clustering that grows: windows that came after the fit get the nearest centroid that the store holds."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from jobs.cluster.assigning import Passes, centroids_digest, days_of, vector_sets
from jobs.cluster.bounds import advice, bound_tables, n_beyond
from jobs.cluster.config import Config
from jobs.cluster.core import Clustering
from jobs.cluster.labels import Day
from jobs.cluster.source import Kept
from jobs.cluster.store import GROWTH, OF_GRID, Tables, of_generation, store_spec
from jobs.common.days import share
from jobs.common.ordered import Team
from jobs.common.processors import blas_backend
from jobs.common.run import Options, Outcome, Run, is_committed, listed, main_role
from lake.clustering import ATTRIBUTE, clustering_id_of
from lake.digest import has_own_digest, with_digest
from lake.errors import IdentityError, InputError, StoreError, TryAgainError
from lake.older import generation_of
from lake.read import grid_of, open_clusters, recorder_names, usable_windows, values_at
from lake.receipts import latest_receipt, read_receipts
from lake.run_records import CHECKPOINTS, UNFINISHED
from lake.scaling import stored_centroids, stored_scaling
from lake.specs import StoreSpec
from lake.vectors import VectorSets
from lake.write import commit

BOUNDS: Final = f"{CHECKPOINTS}/bounds.npz"


@dataclass(frozen=True)
class Fitted:
    """A clustering as its store holds it.

    Attributes
    ----------
    clustering, spec, tables
        The clustering, the schema of its store on the grid of the vectors, and the store's tables.
    centroids
        Digest of the centroids.
    extent
        Cells and recorders of the store as it is.
    """

    clustering: Clustering
    spec: StoreSpec
    tables: Tables
    centroids: str
    extent: tuple[int, tuple[str, ...]]


def is_fitted(run: Run[Config]) -> bool:
    """Return whether a store is committed, and no new clustering of it was begun."""
    stands = run.ledger.committed() is not None and run.output.exists("zarr.json")
    return stands and not run.ledger.storage.exists(UNFINISHED)


def goes_on(run: Run[Config]) -> bool:
    """Return whether new windows can be given to the clusters that a store holds."""
    return is_fitted(run) and not remade_vectors(run)


def remade_vectors(run: Run[Config]) -> list[str]:
    """Return the vector sets whose model is another than when these clusters last read them.

    Their axes have another meaning now, so distances to the old centroids say nothing.
    """
    receipt = latest_receipt(run.lake, run.name)
    inputs = {} if receipt is None else receipt.get("inputs", {})
    found = []
    for role, source in run.inputs.items():
        then = inputs.get(role, {}).get("content_id")
        if main_role(role) != "embeddings" or then in {None, source.ledger.content()}:
            continue
        models = {
            one.get("content_id"): one.get("inputs", {}).get("model", {}).get("content_id")
            for one in read_receipts(source.lake, source.name)
            if one.get("state") == "done"
        }
        if then in models and models[then] != models.get(source.ledger.content(), models[then]):
            found.append(source.name)
    return found


def grow(run: Run[Config], options: Options, workers: Team) -> Outcome:
    """Label the windows that the store does not have, and those whose vectors changed; all else stays.

    Raises
    ------
    IdentityError, InputError
        If the vectors do not go on from those that the store has.
    TryAgainError
        If other windows were labelled on another kind of processor.
    """
    sets = vector_sets(run)
    fitted = read_fitted(run, sets)
    days = _days(run, sets, fitted, options)
    if not any(not day.files for day in days) and _is_current(run, sets, fitted):
        return Outcome(did=False, counts={})
    run = options.begin(run, Outcome(did=False, counts={}))
    fitted = read_fitted(run, sets)
    passes = Passes(run, Kept(sets, fitted.clustering.scaling.n_scaled, workers), *_what(fitted))
    with threadpool_limits(1):
        run.ledger.settle_grid(sets.grid, sets.recorders)
        days = _days(run, sets, fitted, options)
        at_fit = _at_fit(run, fitted)
        if options.part is not None:
            return passes.share(share(days, options.part))
        n_before = int(fitted.tables["n_windows"].sum())
        totals, _ = passes.label(days)
    tables = {**fitted.tables, **at_fit, "n_windows": totals.n_windows}
    tables["n_beyond"] = n_beyond(*totals.all_labels, tables["distance_bound"])
    commit(run.output, run.ledger, fitted.spec, sets.recorders, tables)
    run.ledger.remove_checkpoints()
    counts = {
        "windows": sets.n_windows,
        "windows_at_fit": int(tables["n_windows_at_fit"].sum()),
        "new_windows": sets.n_windows - n_before,
        "beyond_bounds": int((tables["n_beyond"] - tables["n_beyond_at_fit"]).sum()),
    }
    return Outcome(
        did=True, counts=counts, backend=blas_backend(),
        advice=advice(tables, run.name, is_auto=run.config.n_clusters == "auto"),
    )  # fmt: skip


def require_whole(run: Run[Config]) -> None:
    """Refuse to finalise before all shares of a growth are done.

    Raises
    ------
    StoreError
        With the list of partitions that have no labels yet.
    """
    sets = vector_sets(run)
    days = _days(run, sets, read_fitted(run, sets), Options(mix=True))
    refuse_missing(run, sets, days)


def refuse_missing(run: Run[Config], sets: VectorSets, days: Sequence[Day]) -> None:
    """Raise StoreError with the partitions that have no labels, if there are any."""
    names = [f"  {sets.recorders[day.recorder]} {sets.grid.day_of(int(day.parts[0][1].cells[0]))}"
             for day in days if not day.files]  # fmt: skip
    if names:
        raise StoreError(
            f"run {run.name!r}: {len(names)} partitions have no labels of these centroids yet:\n{listed(names)}\n"
            f"Type `dawnchorus run MANIFEST {run.name}`, with --partition or without, then finalise."
        )


def progress_of_growth(run: Run[Config]) -> tuple[int, int]:
    """Return how many windows have labels, and how many there are."""
    sets = vector_sets(run)
    days = _days(run, sets, read_fitted(run, sets), Options(mix=True))
    return sum(day.n_windows for day in days if day.files), sets.n_windows


def read_fitted(run: Run[Config], sets: VectorSets) -> Fitted:
    """Return the clustering of a store, with the schema of the store as it grows to the extent of the vectors.

    Raises
    ------
    IdentityError, InputError
        If the vectors are of another grid or other recorders, or have other features.
    """
    with open_clusters(run.output.url) as store:
        _require_goes_on(run, store, sets)
        scaling, centroids = stored_scaling(store), stored_centroids(store)
        if store["centroid"].dims[1] == "component":  # whitened; by how much stands in the axes
            scaling = replace(scaling, shrinkage=(run.config.shrinkage,) * len(scaling.scales))
        if scaling.n_features != sum(sets.n_features):
            raise InputError(
                f"run {run.name!r}: expected vectors of {scaling.n_features} features, found {sum(sets.n_features)}. "
                "Give the run a new name."
            )
        clustering = Clustering(scaling, centroids)
        normalise = store.attrs.get("normalise", run.config.normalise)
        spec = store_spec(run, sets.grid, clustering, normalise=normalise, n_scanned=store.sizes.get("scan", 0))
        wanted = tuple(one for one in spec.tables if one.name in {*store.variables, *GROWTH, *OF_GRID})
        attrs = {**spec.attrs, ATTRIBUTE: clustering_id_of(store)}
        spec = of_generation(replace(spec, tables=wanted, attrs=attrs), generation_of(run.output))
        tables = {one.name: store[one.name].to_numpy() for one in wanted
                  if one.name in store.variables and one.name not in OF_GRID}  # fmt: skip
        extent = store.sizes["time"], tuple(recorder_names(store))
    return Fitted(clustering, spec, tables, centroids_digest(tables["centroid"].astype(np.float32)), extent)


def _what(fitted: Fitted) -> tuple[Clustering, StoreSpec, str]:
    return fitted.clustering, fitted.spec, fitted.centroids


def _require_goes_on(run: Run[Config], store: xr.Dataset, sets: VectorSets) -> None:
    grid, recorders = grid_of(store), tuple(recorder_names(store))
    if grid.attrs != sets.grid.attrs or grid.n_cells > sets.grid.n_cells:
        raise IdentityError(
            f"run {run.name!r}: expected vectors on the grid of its store, {grid.attrs}, found {sets.grid.attrs}. "
            "Give the run a new name."
        )
    if sets.recorders[: len(recorders)] != recorders:
        raise IdentityError(
            f"run {run.name!r}: expected vectors of the recorders {', '.join(recorders)}, and others after them, found "
            f"{', '.join(sets.recorders)}. Give the run a new name."
        )


def _days(run: Run[Config], sets: VectorSets, fitted: Fitted, options: Options) -> list[Day]:
    """Return the partitions, after refusing to mix labels of several kinds of processors."""
    days = days_of(run, sets, fitted.centroids, mix=options.mix, is_growth=True)
    backends = Counter(entry.backend for entry in run.ledger.written().values())
    others = sorted(set(backends) - {blas_backend()})
    if others and not options.mix and any(not day.files for day in days):
        raise TryAgainError(
            f"run {run.name!r} was begun on {', '.join(others)}; this machine computes as {blas_backend()}, whose "
            "distances differ in the last digits. Go on where it was begun, or add --mix."
        )
    return days


def _is_current(run: Run[Config], sets: VectorSets, fitted: Fitted) -> bool:
    is_whole = run.ledger.record() is not None and not run.ledger.is_committing() and is_committed(run)
    return is_whole and fitted.extent == (sets.grid.n_cells, sets.recorders)


def _at_fit(run: Run[Config], fitted: Fitted) -> Tables:
    """Return the tables of the fit that a store lacks which an older release fitted, from the labels that it has.

    They are kept before the first label is written, and read again where a process was ended since.
    """
    if GROWTH.keys() <= fitted.tables.keys():
        return {}
    kept = run.ledger.storage.read_or_none(BOUNDS)
    if kept is not None and has_own_digest(kept):
        with np.load(io.BytesIO(kept), allow_pickle=False) as held:
            return dict(held)
    with open_clusters(run.output.url) as store:
        windows = usable_windows(store, status="cluster_status")
        cluster, distance = (values_at(store, name, windows.recorder, windows.cell) for name in ("cluster", "distance"))
    tables = bound_tables(cluster, distance, fitted.clustering.n_clusters)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **tables)
    run.ledger.require_claim()
    run.ledger.storage.write(BOUNDS, with_digest(buffer.getvalue()))
    return tables
