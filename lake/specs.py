"""Specification of a store: its arrays, and each array's dimensions, type, chunks and attributes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lake.grid import Grid

KeyPrefix = Literal["c.", ""]
"""Zarr v3 chunk keys: ``c.0.1`` (default encoding) or ``0.1`` (the encoding ``v2``); the separator is a dot."""


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store.

    Attributes
    ----------
    name, dims, dtype, fill
        ``dtype`` is a numpy name, or ``str`` for variable-length text.
    chunks
        Cells in one chunk (the unit of a read) along each dimension.
    shards
        Cells in one shard (the unit of a write), or ``None`` where a chunk is a file of its own.
    attrs
        CF attributes.
    key_prefix
        What the keys of its files begin with, below its name; see :mod:`lake.generations`.
    is_counter
        Whether values rise by equal steps: Blosc's bit shuffle makes a hundredth of them, zstd alone a quarter.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    fill: int | float | str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    key_prefix: KeyPrefix = "c."
    is_counter: bool = False

    @property
    def block(self) -> tuple[int, ...]:
        """Cells in one file."""
        return self.shards or self.chunks


@dataclass(frozen=True)
class StoreSpec:
    """One store: arrays that jobs write in blocks, index variables, coordinates and tables.

    Attributes
    ----------
    kind
        ``spectrograms``, ``embeddings``, ``clusters`` or ``detections``.
    grid, sizes
        The time grid, and the size of every dimension but ``recorder`` and ``time`` and of tables.
    data
        Arrays on (recorder, time, ...) written shard by shard.
    index
        Variables on (recorder, time) that finalising writes from the ledger.
    tables
        Coordinates and tables that finalising writes.
    attrs
        Attributes of the store.
    """

    kind: str
    grid: Grid
    sizes: Mapping[str, int]
    data: tuple[ArraySpec, ...]
    index: tuple[ArraySpec, ...]
    tables: tuple[ArraySpec, ...]
    attrs: Mapping[str, Any]

    @property
    def cells_per_block(self) -> int:
        """Cells along time in one shard; the same for all data arrays of a store."""
        (count,) = {spec.block[1] for spec in self.data}
        return count

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """All arrays of the store."""
        return (*self.data, *self.index, *self.tables)
