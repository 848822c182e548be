"""Paths in a lake."""

import posixpath
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

from lake.constants import KINDS, STORES
from lake.digest import sha256
from lake.errors import InputError
from lake.storage import Storage

MOST_BYTES = 255
"""Bytes of a path component that file systems take."""
RUN_BYTES = 250
"""Of a run's name, which gets a suffix."""
TAIL_LETTERS = 32
OLDER = re.compile(r"(.+)\.(\d+)")
"""Name of an older clustering of a run: ``<run>.<n>`` is its n-th one."""


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
        return self.storage.below(f"{kind}/{safe_name(run, RUN_BYTES)}{'.zarr' if is_store else ''}")

    def stores(self) -> list[tuple[str, str]]:
        """Return kind and run of every finished store, by kind and name.

        Raises
        ------
        InputError
            If there is no such folder.
        """
        if not self.storage.exists(""):
            raise InputError(f"{self.storage.url}: expected the folder of a lake, found nothing.")
        found = []
        for kind in STORES:
            folder = self.storage.below(kind)
            paths = folder.fs.ls(folder.root, detail=False) if folder.exists("") else []
            names = [posixpath.basename(str(path).rstrip("/")) for path in paths]
            stores = [name for name in names if name.endswith(".zarr") and folder.exists(f"{name}/zarr.json")]
            found += [(kind, name) for name in sorted(unquote(store.removesuffix(".zarr")) for store in stores)]
        return found

    def ledger(self, run: str) -> Storage:
        """Return the storage of a run's ledger."""
        return self.storage.below(f"ledgers/{safe_name(run, RUN_BYTES)}")

    def receipts(self, run: str) -> Storage:
        """Return the storage of a run's receipts."""
        return self.storage.below(f"receipts/{safe_name(run, RUN_BYTES)}")


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


def older_name(run: str, generation: int) -> str:
    """Return the name of a clustering of a run once a newer one has replaced it."""
    return f"{run}.{generation}"


def without_older(names: Iterable[str]) -> list[str]:
    """Return the names of cluster runs without those of older clusterings of the others."""
    known = list(names)
    found = {name: OLDER.fullmatch(name) for name in known}
    return [name for name, match in found.items() if match is None or match[1] not in known]


def safe_name(name: str, most_bytes: int = MOST_BYTES) -> str:
    """Return a name as one path component: what is not a letter, digit or one of ``-_.~`` as ``%XX``.

    A component that would be longer than ``most_bytes`` ends in ``~`` and a digest of the name instead. It is its own
    safe name once it is unquoted, so that it leads to the same folder.
    """
    quoted = quote(name, safe="")
    if len(quoted) <= most_bytes:
        return quoted.replace(".", "%2E") if set(name) <= {"."} else quoted
    tail = _tail(name)
    kept = quoted[: most_bytes - len(tail)]
    while unquote(kept, errors="replace").endswith("\ufffd") or quote(unquote(kept), safe="") != kept:
        kept = kept[:-1]
    return kept + tail


def _tail(name: str) -> str:
    return "~" + sha256(name.encode("utf-8", "surrogatepass"))[:TAIL_LETTERS]
