"""Writing a store: blocks with their ledger entries, then index, coordinates and the one commit point."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from lake.blocks import block_key, decode_block, encode_block, holds_same, metadata_documents
from lake.constants import MS_PER_DAY
from lake.digest import cell_digests, sha256
from lake.errors import StoreError
from lake.grid import Grid
from lake.identity import content_id
from lake.ledger import Entry, Ledger, day_of_block
from lake.specs import ArraySpec, StoreSpec
from lake.storage import Storage


def write_block(
    store: Storage,
    ledger: Ledger,
    spec: StoreSpec,
    blocks: Mapping[str, NDArray[Any]],
    entry: Entry,
    *,
    i_recorder: int,
) -> Entry:
    """Write the shards of one block, then their ledger entry; return the entry as written.

    Parameters
    ----------
    store, ledger
        Where the store and its ledger stand.
    spec
        The store's schema.
    blocks
        For each data array one whole shard, shape ``spec.block``.
    entry
        The entry without ``files`` and ``digests``, which are filled in here.
    i_recorder
        Position of the recorder in the store.

    Notes
    -----
    Each file is written aside and renamed; the entry follows when all files stand. A block without an
    entry does not count and is written again. Files that take the place of others are announced first, so that readers
    know them although the entry is still the earlier one.
    """
    first = entry.block * spec.cells_per_block
    digests = cell_digests([blocks[array.name][0] for array in spec.data], [cell - first for cell in entry.cells])
    shards = {array.name: encode_block(array, blocks[array.name]) for array in spec.data}
    return write_shards(store, ledger, spec, shards, replace(entry, digests=digests), i_recorder=i_recorder)


def write_shards(
    store: Storage,
    ledger: Ledger,
    spec: StoreSpec,
    shards: Mapping[str, bytes | memoryview | None],
    entry: Entry,
    *,
    i_recorder: int,
    write: Callable[[str, str, bytes | memoryview], object] | None = None,
) -> Entry:
    """Write the encoded shards of one block, ``None`` for those that hold nothing; see :func:`write_block`.

    The entry comes with its digests, and without ``files``. ``write`` takes an array's name, a key and its bytes, and
    writes them as :meth:`Storage.write_if_changed` does.
    """
    ledger.require_claim()
    keys = shard_keys(spec, i_recorder, entry.block)
    files = {key: sha256(data) for name, key in keys.items() if (data := shards[name]) is not None}
    ledger.announce({key: digest for key, digest in files.items() if store.exists(key)})
    for name, key in keys.items():
        data = shards[name]
        if data is None:
            store.remove(key)
        elif write is None:
            store.write_if_changed(key, data)
        else:
            write(name, key, data)
    written = replace(entry, files=files)
    ledger.add(day_of_block(spec.grid, spec.cells_per_block, entry.block), written)
    return written


def shard_keys(spec: StoreSpec, i_recorder: int, block: int) -> dict[str, str]:
    """Return the key of the shard of each data array at one block, by the array's name."""
    return {array.name: block_key(array, (i_recorder, block, *(0 for _ in array.dims[2:]))) for array in spec.data}


def read_block(store: Storage, array: ArraySpec, i_recorder: int, block: int) -> NDArray[Any]:
    """Return one whole shard as it is stored, shape ``array.block``.

    Raises
    ------
    StoreError
        If there is no such shard, or it does not decode.
    """
    key = block_key(array, (i_recorder, block, *(0 for _ in array.dims[2:])))
    data = store.read_or_none(key)
    if data is None:
        raise StoreError(
            f"{store.path(key)}: expected a shard that the ledger lists, found none. Restore it from a copy."
        )
    try:
        return decode_block(array, data)
    except (RuntimeError, ValueError, TypeError, LookupError, MemoryError) as error:  # as codecs speak of damaged bytes
        raise StoreError(
            f"{store.path(key)}: expected a shard, found damaged bytes ({error}). Restore it from a copy."
        ) from error


def commit(
    store: Storage,
    ledger: Ledger,
    spec: StoreSpec,
    recorders: Sequence[str],
    tables: Mapping[str, NDArray[Any]],
    *,
    row_maps: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Write index variables, coordinates and tables, then the root metadata: the one commit point.

    Idempotent: what stands already is not written again, so unchanged files keep their time. While a store grows
    within its extent, a cell's status comes last, so that whoever reads it finds the rest. What killed processes left
    half-written is removed, so nobody else may be writing this store.

    Parameters
    ----------
    store, ledger, spec
        The store, its ledger and its schema.
    recorders
        Recorder names in the order of the store.
    tables
        Values of every coordinate and table but ``recorder`` and ``time``.
    row_maps
        For ``recording`` and ``deployment``: the row of the store's table by the key that
        :func:`row_key` makes of an entry's row.
    """
    ledger.require_claim()
    ledger.begin_commit()
    spec = _compressed_as_before(store, spec)
    _, last = ledger.committed() or ("", {})
    write_all = partial(_write_all, store, ledger, last)
    files: dict[str, str] = {}
    shards: list[tuple[str, str]] = []
    values = {**tables, "recorder": np.asarray(recorders, dtype=object)}
    sizes = {"recorder": len(recorders), "time": spec.grid.n_cells, **spec.sizes}
    for array in spec.tables:
        if array.name == "time":
            write_all(_times(array, spec.grid), files)
            continue
        sizes.update(dict(zip(array.dims, values[array.name].shape, strict=True)))
        write_all(_table(array, values[array.name]), files)
    for recorder, day, latest in ledger.entries():
        position = (recorders.index(recorder), _day_number(spec.grid, day))
        write_all(_index_day(spec, position, list(latest.values()), row_maps or {}), files)
        shards += [item for entry in latest.values() for item in entry.files.items()]
    store.remove_unfinished()
    documents = metadata_documents(spec, sizes)
    root = documents.pop("zarr.json")
    write_all(documents.items(), files)
    write_all([("zarr.json", root)], files)
    ledger.compact()
    ledger.settle_commit(content_id(shards), files)
    ledger.end_commit()


def row_key(row: Mapping[str, Any]) -> str:
    """Return the key of a row of an entry's table: digest, recorder and start, or the deployment's name.

    Silent recordings of several starts have the same bytes.
    """
    if row.get("sha256"):
        return " ".join(str(row[key]) for key in ("sha256", "recorder", "start_ms") if key in row)
    return str(row["deployment"])


def _write_all(
    store: Storage,
    ledger: Ledger,
    last: Mapping[str, str],
    files: Iterable[tuple[str, bytes | None]],
    written: dict[str, str],
) -> None:
    """Write files unless they stand already, and add their digests to those written.

    One that holds the same is not written again in a newer format: its digest is that of the file that stands. Files
    that the last commit did not leave so are announced first: whoever reads them meanwhile knows them.
    """
    coming: list[tuple[str, bytes]] = []
    digests: dict[str, str] = {}
    for key, data in files:
        if data is None:
            continue
        before = store.read_or_none(key)
        if before is None or not holds_same(before, data):
            coming.append((key, data))
            before = data
        digests[key] = sha256(before)
    ledger.announce({key: digest for key, digest in digests.items() if last.get(key) != digest})
    for key, data in coming:
        store.write(key, data)
    written |= digests


def _index_day(
    spec: StoreSpec,
    position: tuple[int, int],
    entries: Sequence[Entry],
    row_maps: Mapping[str, Mapping[str, int]],
) -> Iterator[tuple[str, bytes | None]]:
    """Yield key and bytes of one day of each index variable, the status last."""
    first = position[1] * spec.grid.cells_per_day
    for array in sorted(spec.index, key=lambda array: array.name.endswith("status")):
        day = np.full(array.block, array.fill, dtype=array.dtype)
        for entry in entries:
            values = entry.index[array.name]
            if array.name in row_maps:
                rows = {"recording": entry.recordings, "deployment": entry.deployments}[array.name]
                numbers = [row_maps[array.name][row_key(row)] for row in rows]
                values = [numbers[value] if value >= 0 else array.fill for value in values]
            day[0, np.asarray(entry.cells, dtype=np.int64) - first] = [array.fill if v is None else v for v in values]
        yield block_key(array, position), encode_block(array, day)


def _table(array: ArraySpec, values: NDArray[Any]) -> Iterator[tuple[str, bytes | None]]:
    """Yield key and bytes of each chunk of a coordinate or table along its first dimension."""
    rows = array.chunks[0]
    for i in range(-(-values.shape[0] // rows)):
        part = values[i * rows : (i + 1) * rows]
        dtype = object if array.dtype == "str" else array.dtype
        block = np.full((rows, *part.shape[1:]), array.fill, dtype=dtype)
        block[: len(part)] = part
        yield block_key(array, (i, *(0 for _ in array.dims[1:]))), encode_block(array, block)


def _times(array: ArraySpec, grid: Grid) -> Iterator[tuple[str, bytes | None]]:
    """Yield key and bytes of each chunk of the coordinate ``time``, milliseconds after the origin."""
    (rows,) = array.chunks
    for first in range(0, grid.n_cells, rows):
        cells = np.arange(first, first + rows, dtype=np.int64)
        times = np.where(cells < grid.n_cells, cells * grid.hop_ms, array.fill)
        yield block_key(array, (first // rows,)), encode_block(array, times)


def _compressed_as_before(store: Storage, spec: StoreSpec) -> StoreSpec:
    """Return the schema with the times of a store of format 2 or older compressed as they stand.

    Both the first chunk and the description must say so: one alone may be another file in its place.
    """
    chunk = store.read_or_none(block_key(next(table for table in spec.tables if table.name == "time"), (0,)))
    described = store.read_or_none("time/zarr.json")
    is_plain = chunk is not None and chunk.startswith(zstandard.FRAME_HEADER)
    if not is_plain or described is None or b'"zstd"' not in described or b'"blosc"' in described:
        return spec
    return replace(spec, tables=tuple(replace(table, is_counter=False) for table in spec.tables))


def _day_number(grid: Grid, day: str) -> int:
    return int((np.datetime64(day, "ms").astype(np.int64) - grid.origin_ms) // MS_PER_DAY)
