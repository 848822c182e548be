"""Generations: arrays of a store that are made anew while readers keep the old ones, and replace them in one commit.

Scores of other heads are other numbers everywhere. Until all of them are written the store shows the earlier ones. So
the files of the next generation have other keys: ``score/c.0.1.0`` and ``score/0.1.0`` in turn, two encodings of chunk
keys that every reader of Zarr v3 knows. The root ``zarr.json`` says which one holds, and is replaced by the commit.
Whoever has the store open goes on reading the generation that was there, until the one after the next begins.
"""

import json
from collections.abc import Iterable

from lake.keys import chunk_of
from lake.ledger import Ledger
from lake.specs import KeyPrefix
from lake.storage import Storage
from lake.whole import store_attributes


def committed_prefix(store: Storage, array: str) -> KeyPrefix | None:
    """Return the prefix of the keys of an array in a store as it was last committed, ``None`` before that."""
    if not store_attributes(store):
        return None
    document = json.loads(store.read("zarr.json"))["consolidated_metadata"]["metadata"][array]
    return "" if document["chunk_key_encoding"]["name"] == "v2" else "c."


def next_prefix(prefix: KeyPrefix) -> KeyPrefix:
    """Return the prefix of the keys of the generation after one."""
    return "" if prefix == "c." else "c."


def begin_generation(store: Storage, ledger: Ledger, arrays: Iterable[str], prefix: KeyPrefix) -> None:
    """Make room for the files of a generation, before the first of them is written.

    Parameters
    ----------
    store, ledger
        The store and its ledger; the claim on the run is held.
    arrays
        Names of the arrays and tables that change with the generation.
    prefix
        Of the keys that are about to be written; that of the committed store where it goes on growing.

    Notes
    -----
    The files of the committed generation are listed in ``superseded.json`` before the ledger gets lines of the next:
    they are compared with it as long as they stand. Doing it again changes nothing, so that several processes may.
    """
    names = set(arrays)
    committed = committed_prefix(store, next(iter(sorted(names))))
    if committed is None:
        return
    known = ledger.superseded() or {}
    if committed == prefix:
        kept = {key: digest for key, digest in known.items() if _prefix_of(key) != prefix}
        if kept != known:
            ledger.settle_superseded(kept)
        return
    if any(_prefix_of(key) == committed for key in known):
        return
    shards = {key: digest for entry in ledger.written().values() for key, digest in entry.files.items()}
    files = {**(ledger.committed() or ("", {}))[1], **shards}
    ledger.settle_superseded({key: digest for key, digest in files.items() if chunk_of(key)[0] in names})


def end_generation(store: Storage, ledger: Ledger, arrays: Iterable[str]) -> None:
    """Remove, after a commit, files of these arrays that no record lists: of a generation that no reader can have."""
    shards = {key for entry in ledger.written().values() for key in entry.files}
    known = {*shards, *(ledger.superseded() or {}), *(ledger.committed() or ("", {}))[1]}
    for name in sorted(set(arrays)):
        for key in store.list_keys(name):
            if chunk_of(key)[0] and key not in known:
                store.remove(key)


def _prefix_of(key: str) -> KeyPrefix:
    """Return the prefix of the key of a chunk or shard."""
    return "c." if "/c." in key else ""
