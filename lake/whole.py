"""Check that a finished run still has all of its records, before its output is read and without parsing."""

import json
from typing import Any
from urllib.parse import unquote

from lake.constants import STORES
from lake.errors import StoreError
from lake.identity import content_id
from lake.layout import safe_name
from lake.ledger import Ledger
from lake.run_records import ADVICE, COMMIT_RECORD, FILES_RECORD, GRID_RECORD, RUN_RECORD
from lake.storage import Storage


def losses(ledger: Ledger, kind: str, receipt: dict[str, Any]) -> list[str]:
    """Return one line for each record that a finished run must have and has not, or has lost a part of.

    Parameters
    ----------
    ledger, kind
        The run's ledger, and the folder of the lake that its output is in.
    receipt
        Its last receipt.

    Notes
    -----
    A store that has grown since the last finalise has lost nothing: the files of lines are compared up to the length
    that they had then.

    Raises
    ------
    StoreError
        If a record is damaged.
    """
    wanted = (GRID_RECORD, COMMIT_RECORD) if kind in STORES else (FILES_RECORD,)
    path = ledger.storage.path
    gone = [f"{path(key)}: expected the record of a finished run, found no file"
            for key in (RUN_RECORD, *wanted) if not ledger.storage.exists(key)]  # fmt: skip
    if kind in STORES:
        return gone + ledger.lost()
    files, content = ledger.files(), receipt.get("content_id")
    if files is not None and content_id(files.items()) != content:
        gone.append(f"{path(FILES_RECORD)}: expected the files of the last receipt ({content}), found others")
    return gone


def require_grid(output: Storage, ledger: Ledger) -> None:
    """Refuse a ledger whose grid is gone, or is not that of its lines and of its store.

    Raises
    ------
    StoreError
        If it is so.
    """
    settled, where = ledger.grid(), ledger.storage.path(GRID_RECORD)
    folders = sorted({key.partition("/")[0] for key in ledger.line_files()})
    if settled is None:
        if folders:
            raise StoreError(f"{where}: expected the grid of the ledger's lines, found no file. {ADVICE[GRID_RECORD]}")
        return
    grid, recorders = settled
    unknown = [unquote(folder) for folder in folders if folder not in {safe_name(name) for name in recorders}]
    if unknown:
        raise StoreError(f"{where}: expected the recorders {', '.join(unknown)}, found none. {ADVICE[GRID_RECORD]}")
    stored = store_attributes(output).get("grid", grid.attrs)
    if stored != grid.attrs:
        raise StoreError(
            f"{where}: expected the grid of the store, {stored}, found {grid.attrs}. {ADVICE[GRID_RECORD]}"
        )


def store_attributes(output: Storage) -> dict[str, Any]:
    """Return the attributes of a Zarr store, none before its first commit.

    Raises
    ------
    StoreError
        If its root metadata are damaged.
    """
    data = output.read_or_none("zarr.json")
    if data is None:
        return {}
    try:
        return dict(dict(json.loads(data)).get("attributes", {}))
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{output.path('zarr.json')}: expected the metadata of a Zarr store, found damaged bytes ({error!r}). "
            "Restore it from a copy; or remove it and the run's commit.json, and type `dawnchorus run`: it is written "
            "again."
        ) from error
