"""The table of names of a cluster store: its path and its digest."""

from lake.digest import sha256
from lake.storage import Storage


def names_key(store: Storage) -> tuple[Storage, str]:
    """Return folder and key of the names of a cluster store: ``<run>.names.csv`` next to ``<run>.zarr``."""
    folder, _, name = store.root.rpartition("/")
    beside = object.__new__(Storage)
    beside.fs, beside.root, beside.is_local = store.fs, folder, store.is_local
    return beside, f"{name.removesuffix('.zarr')}.names.csv"


def names_digest(store: Storage) -> str | None:
    """Return the SHA-256 of a clustering's table of names; ``None`` if there is none."""
    folder, key = names_key(store)
    data = folder.read_or_none(key)
    return None if data is None else sha256(data)
