"""The shard format: windows to the bytes of one Zarr v3 file, and single windows straight out of it.

``docs/store-format.md`` is the normative text. A shard is its chunks, each a zstd frame with a checksum, then an index
of their offsets and sizes, then the index's CRC-32C (Zarr v3 specification, codec ``sharding_indexed`` version 1.0).
"""

import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from lake.errors import StoreError
from lake.held import CODES, held
from lake.read import open_array, read_rows
from lake.specs import ArraySpec
from lake.storage import Storage
from lake.threads import in_threads

ZSTD_LEVEL: Final = 2
"""Against level 3, on spectrograms of real recordings: 5 % larger, 40 % faster to write, as fast to read."""
WINDOW_LOG: Final = 18
"""zstd's window is 2**18 bytes, 256 KiB: 1 MiB would save less than 1 % of the space and take 10 % longer."""
_ABSENT: Final = 2**64 - 1
"""Offset and size, in a shard's index, of a chunk that holds only the fill value."""
_NO_CHUNK: Final = struct.pack("<QQ", _ABSENT, _ABSENT)
Numbers = Sequence[int] | NDArray[np.integer[Any]]
ReadCodes = Callable[[Numbers, Numbers], NDArray[np.uint8]]
"""From recorder numbers and cells, shape (n,), to the windows' codes, uint8, shape (n, n_mels, n_frames)."""
OPEN_FILES: Final = 256
CODECS: Final = ["bytes", "zstd"]
INDEX_CODECS: Final = ["bytes", "crc32c"]
ADVICE: Final = (
    "`dawnchorus verify` lists the damaged files; restore them from a copy, or remove their lines from the ledger"
    " and run the spectrograms again."
)


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
        self._memory = np.empty(self._n_chunks * (most + 16) + 4, dtype=np.uint8).data
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
    """Return whether bytes are the same; most differ at their start."""
    return np.array_equal(values[:4096], others[:4096]) and np.array_equal(values, others)


@dataclass(frozen=True)
class Layout:
    """The layout of a cube's array in files.

    Attributes
    ----------
    folder
        The array's.
    n_mels, n_frames
        Shape of a window, which is one chunk.
    cells_per_shard
        Windows in a file.
    """

    folder: Path
    n_mels: int
    n_frames: int
    cells_per_shard: int


def layout_of(url: str) -> Layout | None:
    """Return how a cube's codes lie in files, or ``None`` where it is not as the format's first version says."""
    storage = Storage(url)
    if not storage.is_local:
        return None
    array = open_array(url, CODES)
    metadata = array.metadata.to_dict()
    shard: Any = metadata["chunk_grid"]
    codecs: Any = metadata["codecs"]
    keys: Any = metadata["chunk_key_encoding"]
    if len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed" or metadata["data_type"] != "uint8":
        return None
    inner = codecs[0]["configuration"]
    shape, chunk = tuple(shard["configuration"]["chunk_shape"]), tuple(inner["chunk_shape"])
    as_known = (
        [each["name"] for each in inner["codecs"]] == CODECS
        and [each["name"] for each in inner["index_codecs"]] == INDEX_CODECS
        and inner["index_location"] == "end"
        and keys == {"name": "default", "configuration": {"separator": "."}}
        and metadata["fill_value"] == 0
        and chunk[:2] == (1, 1)
        and shape[0] == 1
        and shape[2:] == chunk[2:] == tuple(array.shape[2:])
    )
    if not as_known:
        return None
    return Layout(Path(storage.url) / CODES, n_mels=chunk[2], n_frames=chunk[3], cells_per_shard=shape[1])


@dataclass
class _Shard:
    """An open file, and where each window lies in it: offset and size, shape (cells_per_shard, 2)."""

    path: Path
    descriptor: int
    index: NDArray[np.uint64]

    def __del__(self) -> None:
        os.close(self.descriptor)


def open_codes(url: str, *, n_threads: int = 1) -> ReadCodes:
    """Return the function that reads single windows of a cube, in any order.

    Parameters
    ----------
    url
        A finished cube. An array of another layout, or on an object store, is read by zarr.
    n_threads
        Threads that read and decode at the same time.

    Returns
    -------
    ReadCodes
        May be called by several threads. Raises :class:`~lake.errors.StoreError` where a shard is damaged, or a window
        is not the one that the ledger lists. A file that is replaced while it is open is read as it was.
    """
    layout = layout_of(url)
    if layout is None:
        array = open_array(url, CODES)
        return lambda recorder, cell: np.asarray(read_rows(array, recorder, cell), dtype=np.uint8)
    output = held(url)
    shards: OrderedDict[tuple[int, int], _Shard | None] = OrderedDict()
    lock = threading.Lock()
    own = threading.local()

    def shard_of(key: tuple[int, int]) -> _Shard | None:
        with lock:
            if key not in shards:
                shards[key] = _opened(layout, *key)
                if shards[key] is None:
                    output.require(f"{CODES}/{_file_name(*key)}", None)
                while len(shards) > OPEN_FILES:
                    shards.popitem(last=False)
            shards.move_to_end(key)
            return shards[key]

    def read(recorder: Numbers, cell: Numbers) -> NDArray[np.uint8]:
        codes = np.empty((len(cell), layout.n_mels, layout.n_frames), dtype=np.uint8)

        def read_one(i: int) -> None:
            if not hasattr(own, "zstd"):
                own.zstd = zstandard.ZstdDecompressor()
            number, place = divmod(int(cell[i]), layout.cells_per_shard)
            _read_into(codes[i], shard_of((int(recorder[i]), number)), place, own.zstd)
            output.require_window(int(recorder[i]), int(cell[i]), codes[i])

        windows = range(len(cell))
        # All at once: a window is read into its place, so none is held; fewer ahead cost a fifth of the rate.
        reads = (
            in_threads(read_one, windows, n_threads, ahead=len(windows)) if n_threads > 1 else map(read_one, windows)
        )
        for _ in reads:
            pass
        return codes

    return read


def _file_name(recorder: int, number: int) -> str:
    return f"c.{recorder}.{number}.0.0"


def _opened(layout: Layout, recorder: int, number: int) -> _Shard | None:
    """Open a shard and read its index; ``None`` where there is no file, as of windows nobody recorded."""
    path = layout.folder / _file_name(recorder, number)
    n_bytes = 16 * layout.cells_per_shard
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    shard = _Shard(path, descriptor, np.empty((0, 2), dtype=np.uint64))
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, n_bytes + 4, max(size - n_bytes - 4, 0))
    expected = int.from_bytes(data[n_bytes:], "little")
    if len(data) != n_bytes + 4 or google_crc32c.value(data[:n_bytes]) != expected:
        raise StoreError(f"{path}: its index is damaged. {ADVICE}")
    shard.index = np.frombuffer(data[:n_bytes], dtype="<u8").reshape(-1, 2)
    offset, length = shard.index[(shard.index != _ABSENT).any(axis=1)].T
    if (offset > size).any() or (length > size - np.minimum(offset, size)).any():
        raise StoreError(f"{path}: its index points behind the end of the file. {ADVICE}")
    return shard


def _read_into(out: NDArray[np.uint8], shard: _Shard | None, place: int, zstd: zstandard.ZstdDecompressor) -> None:
    offset, size = (_ABSENT, 0) if shard is None else (int(value) for value in shard.index[place])
    if shard is None or offset == _ABSENT:
        out[:] = 0
        return
    data, problem = os.pread(shard.descriptor, size, offset), None
    try:
        with zstd.stream_reader(data) as stream:
            n_read = stream.readinto(out.reshape(-1).data)
            n_read += len(stream.read(1))  # to the frame's end, where its checksum is compared
    except zstandard.ZstdError as error:
        n_read, problem = 0, error
    if n_read != out.size:
        raise StoreError(f"{shard.path}: its window {place} does not decode. {ADVICE}") from problem
