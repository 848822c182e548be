"""Follow a store's receipts to the runs that it was made from, up to its cube."""

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from lake.constants import KINDS, STATUS_ARRAYS, STORES
from lake.errors import InputError, StoreError
from lake.graph import above
from lake.layout import Lake, run_of, without_older
from lake.ledger import Ledger
from lake.receipts import latest_receipt
from lake.storage import Storage

STATUS_OF = dict(zip(STORES, STATUS_ARRAYS, strict=True))
"""Variable with the status of a window, by the kind of the store."""
FOLDERS = tuple(kind for kind in KINDS if kind not in STORES)
"""Kinds of outputs that are folders of files."""


@dataclass(frozen=True)
class Made:
    """One run of a chain.

    Attributes
    ----------
    lake, name, kind, job
        The run, its place and its job.
    record
        What the ledger keeps of it: job, config, ``config_id`` and those of its inputs.
    receipt
        Its last receipt; empty if there is none.
    inputs
        The run in each role.
    """

    lake: Lake
    name: str
    kind: str
    job: str
    record: dict[str, Any]
    receipt: dict[str, Any]
    inputs: dict[str, "Made"]

    @property
    def index_names(self) -> set[str]:
        """Names of the variables that its ledger keeps of each window."""
        return index_names(Ledger(self.lake.ledger(self.name)))

    @property
    def output(self) -> Storage:
        """URL of its output."""
        return self.lake.output(self.kind, self.name)

    def above(self) -> Iterator["Made"]:
        """Return the run and all that it was made from, each once, nearest first."""
        return above(self, lambda made: made.inputs.values(), key=lambda made: (made.lake.storage.url, made.name))

    def nearest(self, kind: str) -> "Made | None":
        """Return the nearest run of a kind among itself and those it was made from."""
        return next((made for made in self.above() if made.kind == kind), None)


def made_by(url: str) -> Made:
    """Return the run whose output is at ``<lake>/<kind>/<run>[.zarr]``.

    Raises
    ------
    InputError
        If it stands in no lake, so that nothing is known of how it was made.
    """
    found = run_of(url)
    record = Ledger(found[0].ledger(found[2])).record() if found else None
    if found is None or record is None:
        raise InputError(
            f"{url}: expected <lake>/<kind>/<run>.zarr with a ledger at <lake>/ledgers/<run>, found none. "
            "Name the store inside its lake: how it was made is written there."
        )
    lake, kind, name = found
    return _made(lake, name, kind, record)


def lake_of(lake: Lake, told: Mapping[str, Any]) -> Lake:
    """Return the lake of an input from what a receipt in ``lake`` says of it: another one where it names one."""
    return Lake(str(told["lake"])) if told.get("lake") else lake


def clusterings_of(made: Made) -> list[str]:
    """Return the names of the cluster runs that were made from a run's vectors, without older clusterings of them."""
    return without_older(
        name
        for name, record in _records(made.lake)
        if made.record["config_id"] in record["inputs"].values()
        and _kind_of(made.lake, name) == "clusters"
        and made.name in _read_by(made.lake, name, made.name)
    )


def _read_by(lake: Lake, name: str, default: str) -> set[str]:
    """Return the names of the runs that a run read by its last receipt; cubes of equal settings have one identity."""
    inputs = (latest_receipt(lake, name) or {}).get("inputs") or {}
    return {told.get("run") or default for told in inputs.values()} or {default}


def _made(lake: Lake, name: str, kind: str, record: dict[str, Any]) -> Made:
    receipt = latest_receipt(lake, name) or {}
    inputs: dict[str, Made] = {}
    read = receipt.get("inputs") or {}
    gathered = {role: told.get("config_id") for role, told in read.items() if role not in record["inputs"]}
    for role, identity in {**record["inputs"], **gathered}.items():
        told = read.get(role, {})
        source, theirs = told.get("run"), lake_of(lake, told)
        stored = Ledger(theirs.ledger(source)).record() if source else None
        known = _records(theirs) if source is None else [] if stored is None else [(source, stored)]
        candidates = [(n, r) for n, r in known if r["config_id"] == identity]
        if candidates:
            other, found = candidates[0]
            inputs[role] = _made(theirs, other, _kind_of(theirs, other), found)
    return Made(lake, name, kind, record["job"], record, receipt, inputs)


def _records(lake: Lake) -> list[tuple[str, dict[str, Any]]]:
    """Return name and record of every run of a lake whose record is not damaged; the others are of no concern here."""
    folder = lake.storage.below("ledgers")
    if not folder.exists(""):
        return []
    names = sorted(posixpath.basename(str(path).rstrip("/")) for path in folder.fs.ls(folder.root, detail=False))
    found = []
    for name in names:
        with suppress(StoreError):
            found.append((unquote(name), Ledger(folder.below(name)).record()))
    return [(name, record) for name, record in found if record is not None]


def _kind_of(lake: Lake, name: str) -> str:
    """Return the folder of the lake that a run's output stands in; of a store that is gone, by its ledger."""
    indexed = index_names(Ledger(lake.ledger(name)))
    by_status = next((kind for kind, status in STATUS_OF.items() if status in indexed), None)
    return by_status or next((kind for kind in FOLDERS if lake.output(kind, name).exists("")), FOLDERS[0])


def index_names(ledger: Ledger) -> set[str]:
    """Return the names of the variables that a ledger keeps of each window; none of a run that writes no store."""
    entry = next((entry for _, _, day in ledger.entries() for entry in day.values()), None)
    return set() if entry is None else set(entry.index)
