"""Where things stand in a lake."""

from typing import Any
from urllib.parse import quote, unquote

from lake.errors import InputError
from lake.names import KINDS, STORES
from lake.storage import Storage


class Lake:
    """The folders of a lake, below one local path or fsspec URL.

    Parameters
    ----------
    url
        The lake's root.
    options
        Passed to fsspec.
    """

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 (fsspec's own options)
        self.storage = Storage(url, **options)

    def output(self, kind: str, run: str) -> Storage:
        """Return the storage of a run's output: a Zarr store, or a folder."""
        if kind not in KINDS:
            raise InputError(f"{kind!r} is no kind of output; there are {', '.join(KINDS)}.")
        is_store = kind in STORES
        return self.storage.below(f"{kind}/{safe_name(run)}{'.zarr' if is_store else ''}")

    def ledger(self, run: str) -> Storage:
        """Return the storage of a run's ledger."""
        return self.storage.below(f"ledgers/{safe_name(run)}")

    def receipts(self, run: str) -> Storage:
        """Return the storage of a run's receipts."""
        return self.storage.below(f"receipts/{safe_name(run)}")


def lake_and_run(output: Storage) -> tuple[Lake, str] | None:
    """Return the lake and the run of an output, ``<lake>/<kind>/<run>[.zarr]``; ``None`` if it stands elsewhere."""
    folder, _, last = output.root.rpartition("/")
    above, _, kind = folder.rpartition("/")
    if kind not in KINDS:
        return None
    lake = object.__new__(Lake)
    lake.storage = object.__new__(Storage)
    lake.storage.fs, lake.storage.root, lake.storage.is_local = output.fs, above, output.is_local
    return lake, unquote(last.removesuffix(".zarr"))


def run_of(url: str, **options: Any) -> tuple[Lake, str, str] | None:  # noqa: ANN401 (fsspec's own options)
    """Return lake, kind and run of an output at ``<lake>/<kind>/<run>[.zarr]``; ``None`` if it is elsewhere."""
    output = Storage(url, **options)
    found = lake_and_run(output)
    return None if found is None else (found[0], output.root.split("/")[-2], found[1])


def safe_name(name: str) -> str:
    """Return a name as one path component: what is not a letter, digit or one of ``-_.~`` as ``%XX``."""
    quoted = quote(name, safe="")
    return quoted.replace(".", "%2E") if set(name) <= {"."} else quoted
