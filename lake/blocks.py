"""Blocks of an array as the bytes of one Zarr v3 file, and back; metadata documents of a store."""

import json
import warnings
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import zarr
import zarr.storage
import zstandard
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer, default_buffer_prototype

from lake.shards import ZSTD_LEVEL, Shard
from lake.specs import ArraySpec, StoreSpec

CHUNK_KEYS = {"c.": {"name": "default", "separator": "."}, "": {"name": "v2", "separator": "."}}
"""Encoding of the keys of chunks by their prefix."""


_PLAIN = (ZstdCodec(level=ZSTD_LEVEL, checksum=True),)
_COUNTER = (BloscCodec(typesize=8, cname="zstd", clevel=5, shuffle="bitshuffle"), Crc32cCodec())


def block_key(spec: ArraySpec, position: tuple[int, ...]) -> str:
    """Return the key, below the store, of the file that holds a block."""
    return f"{spec.name}/{spec.key_prefix}{'.'.join(map(str, position))}"


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
    key = _only_key(spec)
    return memory[key].to_bytes() if key in memory else None


def _chunks(spec: ArraySpec, block: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the chunks of a shard in order of their indices, the last one varying fastest."""
    starts = [range(0, whole, part) for whole, part in zip(spec.block, spec.chunks, strict=True)]
    for corner in product(*starts):
        yield block[tuple(slice(a, a + n) for a, n in zip(corner, spec.chunks, strict=True))]


def decode_block(spec: ArraySpec, data: bytes) -> NDArray[Any]:
    """Return the block, shape ``spec.block``, that a file's bytes hold."""
    memory: dict[str, Buffer] = {}
    array = _create(spec, spec.block, zarr.storage.MemoryStore(memory), path="")
    memory[_only_key(spec)] = default_buffer_prototype().buffer.from_bytes(data)
    return np.asarray(array[...])


def _only_key(spec: ArraySpec) -> str:
    """Return the key, below the array, of its first block."""
    return block_key(spec, tuple(0 for _ in spec.block)).partition("/")[2]


def holds_same(one: bytes, other: bytes) -> bool:
    """Return whether two files are the same, or compressed frames of the same content, with a checksum or without."""
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
            compressors=_COUNTER if spec.is_counter else _PLAIN,
            dimension_names=spec.dims,
            chunk_key_encoding=CHUNK_KEYS[spec.key_prefix],  # type: ignore[arg-type] # zarr takes the JSON form too
            attributes=dict(spec.attrs),
            config={"write_empty_chunks": False},
        )
