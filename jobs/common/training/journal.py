"""``metrics.jsonl``: one line for each step that is looked at, each step once."""

from collections.abc import Mapping
from typing import Final

from lake.records import seal, unseal
from lake.storage import Storage

FILE: Final = "metrics.jsonl"
ADVICE: Final = "Restore the file from a copy; or remove the line: no result depends on it."


def append(storage: Storage, entry: Mapping[str, float]) -> None:
    """Write one line, durably."""
    storage.append(FILE, _line(entry))


def read(storage: Storage) -> list[dict[str, float]]:
    """Return the whole lines; one that a kill cut short is left out.

    Raises
    ------
    StoreError
        If a line is damaged.
    """
    lines = (storage.read_or_none(FILE) or b"").split(b"\n")[:-1]
    return [unseal(line, f"{storage.path(FILE)}, line {i}", ADVICE) for i, line in enumerate(lines, 1)]


def trim(storage: Storage, step: int) -> None:
    """Forget the lines of steps after ``step``, which will be done again."""
    if storage.exists(FILE):
        kept = [entry for entry in read(storage) if entry["step"] <= step]
        storage.write(FILE, b"".join(_line(entry) for entry in kept))


def _line(entry: Mapping[str, float]) -> bytes:
    return seal(entry, allow_nan=True)
