"""``metrics.jsonl``: one line for each step that is looked at, each step once."""

import json
from collections.abc import Mapping
from typing import Final

from lake.storage import Storage

FILE: Final = "metrics.jsonl"


def append(storage: Storage, entry: Mapping[str, float]) -> None:
    """Write one line, durably."""
    storage.append(FILE, (json.dumps(entry) + "\n").encode())


def read(storage: Storage) -> list[dict[str, float]]:
    """Return the whole lines; one that a kill cut short is left out."""
    text = storage.read_or_none(FILE) or b""
    return [json.loads(line) for line in text.decode().split("\n")[:-1]]


def trim(storage: Storage, step: int) -> None:
    """Forget the lines of steps after ``step``, which will be done again."""
    if storage.exists(FILE):
        kept = [entry for entry in read(storage) if entry["step"] <= step]
        storage.write(FILE, "".join(json.dumps(entry) + "\n" for entry in kept).encode())
