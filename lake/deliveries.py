"""Deliveries of verdicts: files of a lake that are added and never changed, each named by its time and its digest."""

from collections.abc import Iterator

from lake.digest import sha256
from lake.layout import Lake
from lake.storage import Storage

FOLDER = "verdicts"
DIGEST_LETTERS = 32


def verdicts_folder(lake: Lake) -> Storage:
    """Return the storage of the deliveries of a lake."""
    return lake.storage.below(FOLDER)


def deliveries(lake: Lake) -> list[str]:
    """Return the keys of the deliveries of a lake, the earliest first."""
    folder = verdicts_folder(lake)
    return sorted(folder.list_keys()) if folder.exists("") else []


def damaged_deliveries(lake: Lake) -> Iterator[str]:
    """Yield a line for each delivery whose bytes are not those that its name says, and each strange file."""
    folder = verdicts_folder(lake)
    for key in deliveries(lake):
        digest = key.removesuffix(".csv").rpartition("_")[2]
        if not key.endswith(".csv") or len(digest) != DIGEST_LETTERS:
            yield f"{folder.path(key)}: expected a delivery of verdicts, found a file of another name"
        elif delivery_digest(folder.read(key)) != digest:
            yield f"{folder.path(key)}: expected bytes with the digest {digest}, found others"


def delivery_digest(data: bytes) -> str:
    """Return the digest of a delivery's bytes that its name ends in."""
    return sha256(data)[:DIGEST_LETTERS]
