"""The files of batches: their names, receipts and digests. Tables are read by :mod:`lake.batches`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lake.digest import sha256
from lake.errors import StoreError
from lake.identity import canonical
from lake.layout import Lake
from lake.records import RESTORE, unseal
from lake.storage import Storage

FOLDER = "batches"
_DIGEST_LETTERS = 16
_ID = re.compile(rf"[a-z]+-([0-9a-f]{{{_DIGEST_LETTERS}}})")


def batch_names(lake: Lake) -> list[str]:
    """Return the names of the batches of a lake, sorted."""
    return [key.removesuffix(".csv") for key in _keys(lake) if key.endswith(".csv")]


def damaged_batches(lake: Lake) -> Iterator[str]:
    """Yield a line for each batch that is not as it was written, and each strange file among them.

    A receipt without a table is what a killed command left; the same command takes it up again.
    """
    keys = _keys(lake)
    for key in keys:
        batch, _, form = key.rpartition(".")
        if not _ID.fullmatch(batch) or form not in {"csv", "json"}:
            yield f"{batches_folder(lake).path(key)}: expected a batch of windows, found a file of another name."
        elif form == "csv" and (wrong := batch_damage(lake, batch)):
            yield wrong


def batches_folder(lake: Lake) -> Storage:
    """Return the storage of the batches of a lake."""
    return lake.storage.below(FOLDER)


def _keys(lake: Lake) -> list[str]:
    folder = batches_folder(lake)
    return folder.list_keys() if folder.exists("") else []


def batch_receipt(folder: Storage, batch: str) -> dict[str, Any]:
    """Return the receipt of a batch; ``StoreError`` if it is damaged."""
    return unseal(folder.read(f"{batch}.json"), folder.path(f"{batch}.json"))


def batch_damage(lake: Lake, batch: str) -> str:
    """Return a line on what is wrong with the files of a batch; empty if nothing is."""
    folder, named = batches_folder(lake), _ID.fullmatch(batch)
    where = folder.path(f"{batch}.csv")
    if named is None:
        return f"{where}: expected a batch of windows, found a file of another name."
    if not folder.exists(f"{batch}.json"):
        return f"{where}: expected its receipt {batch}.json next to it, found none."
    try:
        asked = batch_receipt(folder, batch)["asked"]
    except StoreError as error:
        return str(error).removesuffix(f" {RESTORE}")
    except KeyError:
        return f"{folder.path(batch)}.json: expected the receipt of a batch, found another record."
    found = batch_digest(asked, folder.read(f"{batch}.csv"))
    if found != named[1]:
        return f"{where}: expected windows and a receipt with the digest {named[1]}, found {found}."
    return ""


def batch_digest(asked: Mapping[str, Any], data: bytes) -> str:
    """Return the digest of what was asked and of the table's bytes that the name of a batch ends in."""
    return sha256(canonical(asked) + b"\n" + data)[:_DIGEST_LETTERS]
