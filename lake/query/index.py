"""The index of a vector set: the codes of its windows, day by day, kept in the lake for searches."""

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from lake.digest import sha256
from lake.errors import DawnchorusError
from lake.layout import run_of, safe_name
from lake.ledger import Ledger
from lake.query.codes import Codes, encode, pack, unpack
from lake.scaling import Vectors
from lake.storage import ABANDONED_S, Storage
from lake.vectors import Span, VectorSets

FOLDER = "caches/codes"
ALGORITHM = 1
"""Rises when the same vectors get other codes."""
SUFFIX = ".codes"
N_DIGITS = 24
"""Of a digest, in the name of a file."""

Day = tuple[Span, ...]


class SetIndex:
    """The codes of one vector set, a file for each recorder's day.

    Parameters
    ----------
    storage
        Where they are kept; ``None`` outside of a lake, where nothing is.
    shards
        SHA-256 of each file of the store by its key.
    cells_per_day
        Of the grid.
    columns
        Where the set stands among those that are read side by side.

    Notes
    -----
    A file is named by a digest of what it was made from: the day's shard, as the ledger lists it, and which of its
    cells are windows. A day that changed has another name, and growth adds names. Each file is there whole or not at
    all, and several processes that code a day write the same under one name. Files that no day is named by are
    removed, and what killed processes left half-written, once it is old enough to be nobody's.

    Attributes
    ----------
    problem
        Why codes could not be written; empty if they could.
    """

    def __init__(self, storage: Storage | None, shards: dict[str, str], cells_per_day: int, columns: slice) -> None:
        self.storage, self.problem = storage, ""
        self._shards, self._cells_per_day, self._columns = shards, cells_per_day, columns
        self._codes: dict[tuple[int, int], list[Codes]] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._being_made: dict[tuple[int, int], list[Codes]] = {}
        self._written: dict[str, int] = {}

    @property
    def folder(self) -> str:
        """Where codes are kept."""
        return "" if self.storage is None else self.storage.url

    def open(self, day: Day) -> None:
        """Open the codes of a day, if they are there; damaged ones are not used."""
        name = self._name_of(day)
        if self.storage is None or name is None:
            return
        self._names[_key(day)] = name
        data: bytes | NDArray[np.uint8] | None
        data = _mapped(Path(self.storage.path(name))) if self.storage.is_local else self.storage.read_or_none(name)
        n_windows = sum(len(span.cells) for span in day)
        found = None if data is None else unpack(data, n_windows, self._columns.stop - self._columns.start)
        if found is not None:
            self._codes[_key(day)] = found

    def codes(self, day: Day) -> list[Codes] | None:
        """Return the codes of a day, ``None`` where there are none."""
        return self._codes.get(_key(day))

    def add(self, day: Day, vectors: Vectors) -> None:
        """Code the next windows of a day that has no codes; the sets stand side by side, shape (n, n_features)."""
        key = _key(day)
        if key in self._names and key not in self._codes and not self.problem:
            self._being_made.setdefault(key, []).append(encode(vectors[:, self._columns]))

    def keep(self, day: Day) -> None:
        """Write the codes of a day once all of its windows were added."""
        blocks = self._being_made.pop(_key(day), None)
        if self.storage is None or not blocks:
            return
        data = pack(blocks)
        try:
            self.storage.write(self._names[_key(day)], data)
        except (DawnchorusError, OSError) as error:  # somebody else's lake, or a full one
            self.problem = str(error)
            return
        self._written[self._names[_key(day)]] = len(data)
        self.open(day)

    def settle(self) -> int:
        """Remove files of no day, if codes were written; return how many bytes those take."""
        n_bytes = sum(self._written.values())
        if self.storage is not None and self._written:
            self._written.clear()
            known = set(self._names.values())
            try:
                for key in self.storage.list_keys():
                    if key.endswith(SUFFIX) and key not in known:
                        self.storage.remove(key)
                self.storage.remove_unfinished(least_age_s=ABANDONED_S)
            except (DawnchorusError, OSError) as error:
                self.problem = str(error)
        return n_bytes

    def _name_of(self, day: Day) -> str | None:
        """Return the name of the file of a day; ``None`` if the ledger lists no shard of it."""
        shard = self._shards.get(f"embedding/c.{day[0].recorder}.{day[0].day}.0")
        if shard is None:
            return None
        cells = np.concatenate([span.cells for span in day]) - day[0].day * self._cells_per_day
        digest = xxhash.xxh3_64_hexdigest(np.ascontiguousarray(cells, dtype="<i8").data)
        return sha256(f"{ALGORITHM} {shard} {digest}".encode())[:N_DIGITS] + SUFFIX


def index_of(url: str, sets: VectorSets, number: int) -> SetIndex:
    """Return the index of a store, the one of that number among vector sets; its days are not opened yet."""
    first = sum(sets.n_features[:number])
    columns, per_day = slice(first, first + sets.n_features[number]), sets.grid.cells_per_day
    found = run_of(url)
    if found is None or Ledger(found[0].ledger(found[2])).record() is None:
        return SetIndex(None, {}, per_day, columns)
    lake, _, run = found
    entries = Ledger(lake.ledger(run)).written().values()
    shards = {key: digest for entry in entries for key, digest in entry.files.items()}
    return SetIndex(lake.storage.below(f"{FOLDER}/{safe_name(run)}"), shards, per_day, columns)


def _key(day: Sequence[Span]) -> tuple[int, int]:
    return day[0].recorder, day[0].day


def _mapped(path: Path) -> NDArray[np.uint8] | None:
    """Return the bytes of a file as the system's cache has them; ``None`` if there are none."""
    try:
        with path.open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
    except (OSError, ValueError):  # not there, or empty
        return None
