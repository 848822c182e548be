"""Older clusterings of a run, whole and readable under a name of their own: ``<run>.<n>`` is its n-th one."""

from lake.errors import InputError
from lake.layout import OLDER, Lake, older_name
from lake.ledger import Ledger
from lake.names import names_key
from lake.receipts import latest_receipt
from lake.records import seal
from lake.run_records import COMMIT_RECORD, GRID_RECORD, RUN_RECORD
from lake.storage import Storage
from lake.whole import store_attributes

ATTRIBUTE = "generation"
"""Attribute of a cluster store: the number of its clustering; the first one has none."""


def generation_of(store: Storage) -> int:
    """Return the number of the clustering that a store holds, from 1 on; 0 before the first commit."""
    attributes = store_attributes(store)
    return int(attributes.get(ATTRIBUTE, 1)) if attributes else 0


def older_of(lake: Lake, kind: str, run: str) -> list[str]:
    """Return the names of the older clusterings of a run that are still there, oldest first."""
    found = {name: OLDER.fullmatch(name) for other, name in lake.stores() if other == kind}
    numbers = sorted(int(match[2]) for match in found.values() if match is not None and match[1] == run)
    return [older_name(run, number) for number in numbers]


def keep_older(lake: Lake, kind: str, run: str, ledger: Ledger) -> str:
    """Copy the committed store of a run, with ledger, last receipt and names, to its older name; return that name.

    Parameters
    ----------
    lake, kind, run
        Whose store it is.
    ledger
        Its ledger; nobody may be writing to it.

    Notes
    -----
    The root metadata are copied last, so a copy that was stopped is none; doing it again continues it.

    Raises
    ------
    InputError
        If another run has that name.
    """
    store = lake.output(kind, run)
    name = older_name(run, generation_of(store))
    copy = lake.output(kind, name)
    there = Ledger(lake.ledger(name))
    _require_same(there, ledger, name)
    if copy.exists("zarr.json"):
        return name
    shards = {key for entry in ledger.written().values() for key in entry.files}
    files = {*shards, *(ledger.committed() or ("", {}))[1]} - {"zarr.json"}
    for key in (RUN_RECORD, GRID_RECORD, *ledger.line_files(), COMMIT_RECORD):
        _copy(ledger.storage, there.storage, key)
    for key in sorted(files):
        _copy(store, copy, key)
    receipt = latest_receipt(lake, run)
    if receipt is not None:
        lake.receipts(name).write("1of1.json", seal({**receipt, "run": name}, indent=2))
    copy_names(store, copy)
    _copy(store, copy, "zarr.json")
    return name


def copy_names(store: Storage, copy: Storage) -> None:
    """Copy the names of a clustering, if it has any, to a copy of its store."""
    folder, key = names_key(store)
    data = folder.read_or_none(key)
    if data is not None:
        to, other = names_key(copy)
        to.write_if_changed(other, data)


def _copy(here: Storage, there: Storage, key: str) -> None:
    data = here.read_or_none(key)
    if data is not None:
        there.write_if_changed(key, data)


def _require_same(there: Ledger, ledger: Ledger, name: str) -> None:
    """Refuse to write over another run."""
    found, own = there.record(), ledger.record()
    if found is not None and own is not None and found["config_id"] != own["config_id"]:
        raise InputError(
            f"ledgers/{name}: expected no run of this name, where the older clustering is to be kept; found a "
            f"{found['job']!r} run. Give that run another name, or remove it."
        )
