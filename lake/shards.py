"""Single windows straight out of a cube's shards: one read at a place of a file, and zstd.

This reads what ``docs/store-format.md`` describes and nothing else; :func:`open_windows` falls back to zarr where
an array is laid out in another way or is not on a local disk.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from lake.errors import StoreError
from lake.held import held
from lake.read import open_array, read_rows
from lake.storage import Storage

Read = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""From numbers of windows, shape (n,), to their codes, uint8, shape (n, n_mels, n_frames)."""

OPEN_FILES: Final = 256
NO_CHUNK: Final = 2**64 - 1
CODECS: Final = ["bytes", "zstd"]
INDEX_CODECS: Final = ["bytes", "crc32c"]
ADVICE: Final = (
    "`dawnchorus verify` tells which files are damaged; restore them from a copy, or remove their lines from the ledger"
    " and run the spectrograms again."
)


@dataclass(frozen=True)
class Layout:
    """How a cube's array lies in files.

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
    metadata = open_array(url, "spectrogram").metadata.to_dict()
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
        and shape[2:] == chunk[2:] == tuple(open_array(url, "spectrogram").shape[2:])
    )
    if not as_known:
        return None
    return Layout(Path(storage.url) / "spectrogram", n_mels=chunk[2], n_frames=chunk[3], cells_per_shard=shape[1])


@dataclass
class _Shard:
    """An open file, and where each window lies in it: offset and size, shape (cells_per_shard, 2)."""

    path: Path
    descriptor: int
    index: NDArray[np.uint64]

    def __del__(self) -> None:
        os.close(self.descriptor)


def open_windows(url: str, recorder: NDArray[np.int32], cell: NDArray[np.int64], *, n_threads: int = 1) -> Read:
    """Open a cube's windows for reading in any order; picklable arguments, so that a process can do it for itself.

    Parameters
    ----------
    url
        A finished cube.
    recorder, cell
        Where each window is, shape (n_windows,).
    n_threads
        Threads that read and decode side by side.

    Returns
    -------
    Read
        Raises :class:`~lake.errors.StoreError` where a shard is damaged, or a window is not the one that the ledger
        lists. A file that is replaced while it is open is read as it was.
    """
    layout = layout_of(url)
    if layout is None:
        array = open_array(url, "spectrogram")
        return lambda windows: np.asarray(read_rows(array, recorder[windows], cell[windows]), dtype=np.uint8)
    output = held(url)
    shards: OrderedDict[tuple[int, int], _Shard | None] = OrderedDict()
    lock = threading.Lock()
    own = threading.local()
    pool = ThreadPoolExecutor(n_threads) if n_threads > 1 else None

    def shard_of(key: tuple[int, int]) -> _Shard | None:
        with lock:
            if key not in shards:
                shards[key] = _opened(layout, *key)
                while len(shards) > OPEN_FILES:
                    shards.popitem(last=False)
            shards.move_to_end(key)
            return shards[key]

    def read(windows: NDArray[np.int64]) -> NDArray[np.uint8]:
        codes = np.empty((len(windows), layout.n_mels, layout.n_frames), dtype=np.uint8)

        def one(i: int) -> None:
            if not hasattr(own, "zstd"):
                own.zstd = zstandard.ZstdDecompressor()
            number, place = divmod(int(cell[windows[i]]), layout.cells_per_shard)
            i_recorder = int(recorder[windows[i]])
            _read_into(codes[i], shard_of((i_recorder, number)), place, own.zstd)
            output.require_window(i_recorder, int(cell[windows[i]]), codes[i])

        for _ in (map if pool is None else pool.map)(one, range(len(windows))):
            pass
        return codes

    return read


def _opened(layout: Layout, recorder: int, number: int) -> _Shard | None:
    """Open a shard and read its index; ``None`` where there is no file, as of windows nobody recorded."""
    path = layout.folder / f"c.{recorder}.{number}.0.0"
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
    return shard


def _read_into(out: NDArray[np.uint8], shard: _Shard | None, place: int, zstd: zstandard.ZstdDecompressor) -> None:
    offset, size = (NO_CHUNK, 0) if shard is None else (int(value) for value in shard.index[place])
    if shard is None or offset == NO_CHUNK:
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
