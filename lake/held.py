"""The files of a run's output, held against the digests in its ledger as they are read."""

import json
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import zarr
import zarr.registry
from numpy.typing import NDArray
from zarr.abc.store import ByteGetter, ByteRequest, Store
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, BufferPrototype, NDBuffer
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.core.indexing import SelectorTuple
from zarr.registry import fully_qualified_name
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from lake.constants import DATA_ARRAYS
from lake.digest import cell_digest, sha256
from lake.errors import DawnchorusError, StoreError, TryAgainError
from lake.grid import Grid, iso
from lake.keys import chunk_of
from lake.layout import run_of, safe_name
from lake.ledger import Entry, Ledger
from lake.run_records import COMMIT_RECORD, FILES_RECORD, GRID_RECORD
from lake.storage import Storage

ADVICE = "Type `dawnchorus verify MANIFEST`: it names all damaged files, and says what to do about them."
UNREADABLE = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    struct.error,
)
"""Errors that zarr, xarray and codecs raise about bytes that are not what they expect."""
CODES = "spectrogram"
"""The array whose shards are too large to be read whole: its windows are compared one by one."""
_LOCK = threading.Lock()


class Held:
    """An output and the ledger of its run; without a ledger (a store that was copied elsewhere) nothing is compared.

    Parameters
    ----------
    output
        The store, or the folder of a model.
    ledger
        The ledger of its run, or ``None``.

    Notes
    -----
    Small files are compared with the SHA-256 in ``commit.json`` (stores) or ``files.json`` (folders), shards with that
    of their entry. Of the cube each window is compared with its own digest, see :meth:`require_windows`.
    """

    def __init__(self, output: Storage, ledger: Ledger | None) -> None:
        self.output, self.ledger = output, ledger
        self._files: dict[str, str] | None = None
        self._days: dict[tuple[int, str], tuple[NDArray[np.int64], NDArray[np.uint64]]] = {}
        self._settled: tuple[Grid, list[str]] | None = None
        self._seen: set[str] = set()

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 by key of the files that are no shards, as the run's last commit left them."""
        if self._files is None:
            self._files = {} if self.ledger is None else self._listed(self.ledger)
        return self._files

    def _listed(self, ledger: Ledger) -> dict[str, str]:
        for record in (COMMIT_RECORD, FILES_RECORD):
            if ledger.storage.exists(record):
                return {**(ledger.superseded() or {}), **_read_files(ledger, record)}
        if self.output.exists("zarr.json") and not ledger.is_committing():
            path = ledger.storage.path(COMMIT_RECORD)
            raise StoreError(f"{path}: expected the record of what a finalise wrote, found no file. {ADVICE}")
        return {}

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a file, or ``None`` if neither it nor a digest of it is there.

        Raises
        ------
        StoreError
            If they are not those that the ledger lists.
        """
        data = self.output.read_or_none(key)
        self.require(key, data)
        return data

    def require(self, key: str, data: Buffer | bytes | None) -> None:
        """Compare the bytes of a whole file, ``None`` if it is gone, with the ledger; raises as :meth:`read`."""
        expected = self._expected(key)
        found = None if data is None else _sha256(data)
        if expected in {None, found}:
            return
        self._reload()
        if self._expected(key) == found:  # a commit or a shard came while this was read
            return
        assert self.ledger is not None
        path = self.output.path(key)
        if self.ledger.is_committing():
            if found is not None and self.ledger.announced().get(key) == found:
                return
            raise TryAgainError(
                f"{path}: its run is being finalised, or was stopped while it was. Type the command that finalises it "
                "(`dawnchorus run MANIFEST`), then this one again."
            )
        what = "no file" if found is None else f"SHA-256 {found[:12]}…"
        raise StoreError(
            f"{path}: expected the file that the ledger lists (SHA-256 {expected[:12]}…), found {what}. {ADVICE}"
        )

    def require_shard(self, key: str) -> None:
        """Compare a shard of which a part is to be read with the ledger: whole the first time, if it is not large."""
        if self.ledger is None or key in self._seen:
            return
        if chunk_of(key)[0] == CODES:
            return
        self.read(key)
        self._seen.add(key)

    def require_windows(self, i_recorder: int, cells: Sequence[int] | NDArray[Any], codes: NDArray[np.uint8]) -> None:
        """Compare windows of a cube with the digests of their codes in the ledger.

        Parameters
        ----------
        i_recorder, cells
            Whose windows they are, shape (n,).
        codes
            uint8, shape (n, n_mels, n_frames).

        Raises
        ------
        StoreError
            If a window is not the one that was written.
        """
        for cell, window in zip(cells, codes, strict=True):
            self.require_window(i_recorder, int(cell), window)

    def require_window(self, i_recorder: int, cell: int, codes: NDArray[np.uint8]) -> None:
        """Compare one window, shape (n_mels, n_frames); see :meth:`require_windows`."""
        if self.ledger is None:
            return
        found = cell_digest([codes])
        if found == self._digest(i_recorder, cell):
            return
        self._reload()
        expected = self._digest(i_recorder, cell)
        if found == expected or (expected is None and not codes.any()):
            return
        grid, recorders = self._grid()
        shard = f"{CODES}/c.{i_recorder}.{cell // self._cells_per_block(CODES)}.0.0"
        where = f"{self.output.path(shard)}: the window of {recorders[i_recorder]} at {iso(grid.start_ms(cell))}"
        if expected is None:
            day = self.ledger.storage.path(f"{safe_name(recorders[i_recorder])}/{grid.day_of(cell)}.jsonl")
            raise StoreError(f"{where} is not in the ledger ({day}). {ADVICE}")
        raise StoreError(f"{where}: expected codes with the digest {expected}, found {found}. {ADVICE}")

    def _digest(self, i_recorder: int, cell: int) -> str | None:
        """Return the digest of a window in the ledger."""
        grid, _ = self._grid()
        day = grid.day_of(cell)
        if (i_recorder, day) not in self._days:
            entries = self._entries(i_recorder, day).values()
            pairs = sorted(pair for entry in entries for pair in zip(entry.cells, entry.digests, strict=True))
            self._days[i_recorder, day] = (
                np.array([pair[0] for pair in pairs], dtype=np.int64),
                np.array([int(pair[1], 16) for pair in pairs], dtype=np.uint64),
            )
        cells, digests = self._days[i_recorder, day]
        place = int(np.searchsorted(cells, cell))
        return f"{int(digests[place]):016x}" if place < len(cells) and cells[place] == cell else None

    def _expected(self, key: str) -> str | None:
        """Return the SHA-256 of a file in the ledger."""
        if self.ledger is None:
            return None
        found = self.files.get(key)
        array, position = chunk_of(key)
        if found is not None or array not in DATA_ARRAYS:
            return found
        i_recorder, block = position[:2]
        cell = block * self._cells_per_block(array)
        entry = self._entries(i_recorder, self._grid()[0].day_of(cell)).get(block)
        return None if entry is None else entry.files.get(key)

    def _cells_per_block(self, array: str) -> int:
        """Return how many cells along time one file of an array holds, as the root metadata say."""
        metadata = json.loads(self.read("zarr.json") or b"")["consolidated_metadata"]["metadata"]
        return int(metadata[array]["chunk_grid"]["configuration"]["chunk_shape"][1])

    def _entries(self, i_recorder: int, day: str) -> dict[int, Entry]:
        assert self.ledger is not None
        _, recorders = self._grid()
        return self.ledger.day(recorders[i_recorder], day) if i_recorder < len(recorders) else {}

    def _grid(self) -> tuple[Grid, list[str]]:
        assert self.ledger is not None
        if self._settled is None:
            self._settled = self.ledger.grid()
        if self._settled is None:
            path = self.ledger.storage.path(GRID_RECORD)
            raise StoreError(f"{path}: expected the grid of a finished run, found no file. {ADVICE}")
        return self._settled

    def _reload(self) -> None:
        """Drop what was read of the ledger, so that it is read again."""
        self._days.clear()
        self._files = self._settled = None


def held(url: str, **options: Any) -> Held:  # noqa: ANN401 (fsspec's own options)
    """Return the output at ``<lake>/<kind>/<run>[.zarr]`` with its ledger; any other store or folder without one."""
    found = run_of(url, **options)
    if found is None:
        return Held(Storage(url, **options), None)
    lake, kind, run = found
    ledger = Ledger(lake.ledger(run))
    return Held(lake.output(kind, run), ledger if ledger.storage.exists("") else None)


def read_held(folder: str, key: str) -> bytes | None:
    """Return the bytes of one file of an output, compared with its ledger; see :meth:`Held.read`."""
    return held(folder).read(key)


class HeldStore(WrapperStore[Store]):
    """A store that zarr reads, whose files are compared with the ledger on their way.

    Parameters
    ----------
    store
        The store itself.
    output
        Its files and their ledger.
    """

    def __init__(self, store: Store, output: Held) -> None:
        super().__init__(store)
        self.held = output

    def _with_store(self, store: Store) -> "HeldStore":
        return HeldStore(store, self.held)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the bytes of a file, or some of them; ``StoreError`` if the ledger lists others."""
        data = await super().get(key, prototype, byte_range)
        if data is None or byte_range is None:
            self.held.require(key, data)
        else:
            self.held.require_shard(key)
        return data


def open_held(url: str, *, compared: bool = True, **options: Any) -> HeldStore:  # noqa: ANN401 (fsspec's own options)
    """Return a store for zarr or xarray to read; not compared, the chunks' own checksums alone are looked at."""
    output = held(url, **options) if compared else Held(Storage(url, **options), None)
    place = output.output
    if place.is_local:
        return HeldStore(LocalStore(place.root, read_only=True), output)
    return HeldStore(FsspecStore.from_url(place.url, storage_options=options, read_only=True), output)


class NamingPipeline(BatchedCodecPipeline):
    """zarr's pipeline of codecs, whose errors about damaged bytes name their file."""

    async def read(
        self,
        batch_info: Iterable[tuple[ByteGetter, ArraySpec, SelectorTuple, SelectorTuple, bool]],
        out: NDBuffer,
        drop_axes: tuple[int, ...] = (),
    ) -> None:
        """Read chunks; ``StoreError`` if one does not decode."""
        batch = list(batch_info)
        try:
            await super().read(batch, out, drop_axes)
        except UNREADABLE as error:
            for one in batch:
                try:
                    await super().read([one], out, drop_axes)
                except UNREADABLE as reason:
                    if isinstance(reason, DawnchorusError):
                        raise
                    raise undecodable(_path_of(one[0]), reason) from error
            raise


def undecodable(path: str, reason: Exception) -> StoreError:
    """Return the error of a file whose bytes do not decode."""
    return StoreError(f"{path}: expected chunks that decode, found damaged bytes ({reason}). {ADVICE}")


@contextmanager
def naming() -> Iterator[None]:
    """Make arrays opened while the block runs name the files that do not decode."""
    with _LOCK, zarr.config.set({"codec_pipeline.path": fully_qualified_name(NamingPipeline)}):
        yield


def _path_of(getter: ByteGetter) -> str:
    """Return the path of the file that zarr reads a chunk from."""
    store, key = getattr(getter, "store", None), getattr(getter, "path", str(getter))
    return store.held.output.path(key) if isinstance(store, HeldStore) else key


def _sha256(data: Buffer | bytes) -> str:
    return sha256(data if isinstance(data, bytes) else data.as_buffer_like())


_READ: dict[str, tuple[str, dict[str, str]]] = {}
"""The files that records list, by the record's path, with the stamp of its state."""


def _read_files(ledger: Ledger, record: str) -> dict[str, str]:
    """Return the files that a record lists; it is parsed once while it stays the same."""
    path = ledger.storage.path(record)
    version = str(ledger.storage.fs.ukey(path))
    if _READ.get(path, ("",))[0] != version:
        committed = ledger.committed()
        _READ[path] = version, committed[1] if committed else ledger.files() or {}
    return _READ[path][1]


zarr.registry.register_pipeline(NamingPipeline)
