"""A new clustering of a run that has one: the older one is kept under its own name, and names of clusters go over."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.cluster.config import Config
from jobs.cluster.fitting import LOOK_EVERY_S
from jobs.cluster.store import generation_arrays, of_generation
from jobs.common.run import Run
from lake.claims import claim
from lake.clustering import clustering_id_of
from lake.errors import InputError, TryAgainError
from lake.generations import begin_generation, end_generation
from lake.layout import older_name
from lake.names import names_key
from lake.older import copy_names, generation_of, keep_older
from lake.query.carrying import carried, fates, match_names, overlap_table
from lake.query.naming import read_names, write_names
from lake.read import open_clusters
from lake.run_records import CHECKPOINTS
from lake.specs import StoreSpec


def begin(run: Run[Config], spec: StoreSpec, identity: str) -> StoreSpec:
    """Return the schema of the store as the clustering to come has it; keep the one that it replaces.

    Parameters
    ----------
    run
        The run, claimed; every share of several may do this.
    spec
        The schema without a generation.
    identity
        The ``clustering_id`` of the clustering to come.
    """
    generation = generation_of(run.output)
    if not generation or run.ledger.committed() is None:
        return of_generation(spec, max(1, generation))
    if _identity_of(run) == identity:  # the same clustering again, or one whose commit stands
        return of_generation(spec, generation)
    with _alone(run, generation):
        keep_older(run.lake, run.kind, run.name, run.ledger)
    coming = of_generation(spec, generation + 1)
    before = of_generation(spec, generation)
    begin_generation(run.output, run.ledger, generation_arrays(before), coming.data[0].key_prefix)
    return coming


def finish(run: Run[Config], spec: StoreSpec) -> list[str]:
    """Remove files that no reader can have, and carry the names of the clustering before; return a line for each."""
    end_generation(run.output, run.ledger, generation_arrays(spec))
    generation = generation_of(run.output)
    if generation < 2:
        return []
    before = older_name(run.name, generation - 1)
    return _carry(run, before) if run.lake.output(run.kind, before).exists("zarr.json") else []


def _carry(run: Run[Config], before: str) -> list[str]:
    """Carry the names that people gave to the clusters before, by the windows that clusters share."""
    folder, key = names_key(run.output)
    data = folder.read_or_none(key)
    if data is None or _identity_of(run).encode() in data:
        return []
    old = run.lake.output(run.kind, before)
    copy_names(run.output, old)  # as they are now
    try:
        names = read_names(old).rows
    except InputError as error:
        return [f"names are not carried: {error}"]
    if not names:
        return []
    with open_clusters(old.url) as first, open_clusters(run.output.url) as second:
        matches = match_names(names, overlap_table(first, second))
    write_names(run.output, carried(matches, before))
    lines = list(fates(matches))
    if not all(match.is_carried for match in matches):
        lines.append(f"all names before are in {before}.names.csv, beside {before}.zarr")
    return lines


def _identity_of(run: Run[Config]) -> str:
    with open_clusters(run.output.url) as store:
        return clustering_id_of(store)


@contextmanager
def _alone(run: Run[Config], generation: int) -> Iterator[None]:
    """Copy the previous clustering, one share at a time; a whole copy is not made again."""
    shared = run.ledger.storage.below(CHECKPOINTS)
    while True:
        try:
            with claim(shared, older_name(run.name, generation), (0, 1), run.config_id):
                yield
                return
        except TryAgainError:
            time.sleep(LOOK_EVERY_S)
