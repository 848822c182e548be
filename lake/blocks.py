"""Blocks of an array as the bytes of one Zarr v3 file, and back; metadata documents of a store."""

import json
import struct
import warnings
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

import google_crc32c
import numpy as np
import zarr
import zarr.storage
import zstandard
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer, default_buffer_prototype

from lake.schema import ArraySpec, StoreSpec
from lake.storage import PAGE_BYTES

CHUNK_KEYS = {"name": "default", "separator": "."}
ZSTD_LEVEL = 2
"""On spectrograms of real recordings 5 % larger than level 3, written in 0.6 of its time, read in the same."""
WINDOW_LOG = 18
"""Bytes, as a power of two, that a match may lie back: all of a MiB takes a tenth longer, and saves less than 1 %."""
_NO_CHUNK = b"\xff" * 16
"""Place and size, in a shard's index, of a chunk that is not there."""


def block_key(spec: ArraySpec, position: tuple[int, ...]) -> str:
    """Return the key, below the store, of the file that holds a block."""
    return ".".join([f"{spec.name}/c", *map(str, position)])


def encode_block(spec: ArraySpec, block: NDArray[Any]) -> bytes | None:
    """Return the bytes of the file that holds a block, or ``None`` if all of it is the fill value.

    Parameters
    ----------
    spec
        The array's schema.
    block
        One whole shard (or chunk, where there are no shards), shape ``spec.block``.

    Raises
    ------
    ValueError
        If the shape or type is another: anything smaller than a shard would corrupt it.
    """
    if block.shape != spec.block:
        raise ValueError(f"{spec.name}: a block has the shape {spec.block}, found {block.shape}")
    if spec.shards is not None and spec.dtype != "str":
        shard = Shard(spec)
        for number, chunk in enumerate(_chunks(spec, block)):
            shard.put(number, chunk)
        data = shard.finish()
        return None if data is None else bytes(data)
    memory: dict[str, Buffer] = {}
    _create(spec, spec.block, zarr.storage.MemoryStore(memory), path="")[...] = block
    key = ".".join(["c", *("0" for _ in spec.block)])
    return memory[key].to_bytes() if key in memory else None


def compressor(n_bytes: int) -> zstandard.ZstdCompressor:
    """Return the compressor of chunks of some bytes; each frame ends with the checksum of its content."""
    size = {"source_size": n_bytes, "window_log": min(WINDOW_LOG, max(n_bytes.bit_length(), zstandard.WINDOWLOG_MIN))}
    return zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, write_checksum=1, **size)
    )


class Shard:
    """A shard being put together: its chunks are compressed as they come, then the index of their places follows.

    zarr-python writes the same, in twice the time, of which half goes into copies and tasks. The memory is used
    again for the next shard: what is new costs as much as the compression.

    Parameters
    ----------
    spec
        The array's schema; it has shards.

    Notes
    -----
    Format: Zarr v3 specification, codec ``sharding_indexed`` version 1.0.
    """

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        self._dtype = np.dtype(spec.dtype).newbyteorder("<")
        self._n_chunks = prod(whole // part for whole, part in zip(spec.block, spec.chunks, strict=True))
        self._empty = np.full(spec.chunks, spec.fill, dtype=self._dtype).reshape(-1).view(np.uint8)
        self._codec = compressor(self._empty.nbytes)
        most = self._empty.nbytes + self._empty.nbytes // 256 + 64  # ZSTD_COMPRESSBOUND
        memory = np.empty(self._n_chunks * (most + 16) + 4 + PAGE_BYTES, dtype=np.uint8)
        self._memory = memory[-memory.ctypes.data % PAGE_BYTES :].data
        self.clear()

    def clear(self) -> None:
        """Forget the chunks."""
        self._index = bytearray()
        self._place = 0

    def put(self, number: int, chunk: NDArray[Any]) -> None:
        """Compress a chunk of the array's type; chunks come in the order of their numbers, and may be left out.

        Raises
        ------
        ValueError
            If the chunk comes late, or holds more or fewer values than a chunk does.
        """
        n_behind = len(self._index) // 16
        if not n_behind <= number < self._n_chunks:
            raise ValueError(f"chunk {number} comes after {n_behind} of {self._n_chunks}")
        values = np.ascontiguousarray(chunk, dtype=self._dtype).reshape(-1).view(np.uint8)
        if values.nbytes != self._empty.nbytes:
            raise ValueError(f"a chunk has {self._empty.nbytes} bytes, found {values.nbytes}")
        self._index += _NO_CHUNK * (number - n_behind)
        if _is_same(values, self._empty):
            self._index += _NO_CHUNK
            return
        data = self._codec.compress(values.data)
        self._memory[self._place : self._place + len(data)] = data
        self._index += struct.pack("<QQ", self._place, len(data))
        self._place += len(data)

    def finish(self) -> memoryview | None:
        """Return the shard's bytes, ``None`` if it holds nothing; they last until the next ``put``."""
        index = bytes(self._index) + _NO_CHUNK * (self._n_chunks - len(self._index) // 16)
        end = self._place + len(index) + 4
        is_empty = self._place == 0
        self._memory[self._place : end] = index + struct.pack("<I", google_crc32c.value(index))
        self.clear()
        return None if is_empty else self._memory[:end]


def _is_same(values: NDArray[np.uint8], others: NDArray[np.uint8]) -> bool:
    """Tell whether bytes are the same; most differ at their start."""
    return np.array_equal(values[:4096], others[:4096]) and np.array_equal(values, others)


def _chunks(spec: ArraySpec, block: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the chunks of a shard in order of their indices, the last one varying fastest."""
    starts = [range(0, whole, part) for whole, part in zip(spec.block, spec.chunks, strict=True)]
    for corner in product(*starts):
        yield block[tuple(slice(a, a + n) for a, n in zip(corner, spec.chunks, strict=True))]


def decode_block(spec: ArraySpec, data: bytes) -> NDArray[Any]:
    """Return the block, shape ``spec.block``, that a file's bytes hold."""
    memory: dict[str, Buffer] = {}
    array = _create(spec, spec.block, zarr.storage.MemoryStore(memory), path="")
    memory[".".join(["c", *("0" for _ in spec.block)])] = default_buffer_prototype().buffer.from_bytes(data)
    return np.asarray(array[...])


def holds_same(one: bytes, other: bytes) -> bool:
    """Tell whether two files are the same, or compressed frames of the same content, with a checksum or without."""
    if one == other:
        return True
    if not one.startswith(zstandard.FRAME_HEADER) or not other.startswith(zstandard.FRAME_HEADER):
        return False
    try:
        return bool(_content(one) == _content(other))
    except (zstandard.ZstdError, MemoryError):  # the one that stands is damaged
        return False


def _content(frame: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)


def metadata_documents(spec: StoreSpec, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """Return the ``zarr.json`` of a store's group and arrays by key; the group's consolidates all.

    Parameters
    ----------
    spec
        The store's schema.
    sizes
        The size of every dimension.
    """
    memory: dict[str, Buffer] = {}
    store = zarr.storage.MemoryStore(memory)
    zarr.create_group(store, zarr_format=3, attributes=dict(spec.attrs))
    for array in spec.arrays:
        _create(array, tuple(sizes[dim] for dim in array.dims), store, path=array.name)
    with warnings.catch_warnings():
        # Consolidated metadata of v3 is not yet in the specification; zarr-python and xarray read it.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", UserWarning)
        zarr.consolidate_metadata(store, zarr_format=3)
    documents = {key: json.loads(value.to_bytes()) for key, value in memory.items() if key.endswith("zarr.json")}
    return {key: json.dumps(document, sort_keys=True).encode() for key, document in sorted(documents.items())}


def _create(spec: ArraySpec, shape: tuple[int, ...], store: zarr.storage.MemoryStore, path: str) -> zarr.Array[Any]:
    with warnings.catch_warnings():
        # Variable-length text is not yet in the v3 specification; zarr-python and xarray read it.
        warnings.filterwarnings("ignore", ".*does not have a Zarr V3 specification.*")
        warnings.filterwarnings("ignore", ".*is currently not part in the Zarr format 3 specification.*")
        return zarr.create_array(
            store,
            name=path or None,
            shape=shape,
            dtype=str if spec.dtype == "str" else spec.dtype,
            chunks=spec.chunks,
            shards=spec.shards,
            fill_value=spec.fill,
            compressors=[ZstdCodec(level=ZSTD_LEVEL, checksum=True)],
            dimension_names=spec.dims,
            chunk_key_encoding=CHUNK_KEYS,  # type: ignore[arg-type] # zarr takes the JSON form too
            attributes=dict(spec.attrs),
            config={"write_empty_chunks": False},
        )
