"""Reading a store: what plain xarray opens, checked, and the fast way to many windows."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from lake.constants import FORMAT_VERSION, MS_PER_DAY, STATUS, STATUS_ARRAYS
from lake.errors import DawnchorusError, InputError, StoreError, StoreFormatError
from lake.grid import Grid
from lake.held import CODES, UNREADABLE, HeldStore, held, naming, open_held
from lake.keys import inside
from lake.storage import Storage
from lake.whole import store_attributes

_OF_DAY = re.compile(r"/c\.(\d+)\.(\d+)$")
"""The file that an index variable has of one recorder's day."""
_ALL = slice(None)
MOST_DAYS = 32
"""Days that are read at once."""


def open_store(
    url: str, kind: str, *, mask_and_scale: bool = True, compared: bool = True, times: bool = False,
    indexes: bool = True,
    **options: Any,  # noqa: ANN401 (fsspec's own options)
) -> xr.Dataset:  # fmt: skip
    """Open a store of the lake as xarray does by itself, and check what it is.

    Parameters
    ----------
    url
        The store: a local path or an fsspec URL.
    kind
        ``spectrograms``, ``embeddings``, ``clusters`` or ``detections``.
    mask_and_scale
        Decode codes to levels and missing cells to NaN.
    compared
        Whether files are compared with the ledger of the store's run. Only the run itself, whose record of them was
        lost and which is to write it again, goes on without.
    times
        Whether there is the coordinate ``time``: eight bytes a cell, which is much where a grid spans years. The
        grid (:func:`grid_of`) says the same.
    indexes
        Whether coordinates can be selected by value (``sel``). To make an index xarray imports Dask, which is a tenth
        of the time of a command that only reads.
    options
        Passed to fsspec.

    Returns
    -------
    xr.Dataset
        Lazy, without a Dask graph.

    Raises
    ------
    StoreError
        If there is no finished store, or a file of it is not the one that its run's ledger lists. Raised while values
        are read as well: each file is compared, and each chunk checked, when it is read.
    StoreFormatError
        If it is of another kind, or of a newer format than this release reads.
    """
    storage = Storage(url, **options)
    if not storage.exists("zarr.json"):
        if Path(url).is_file():
            raise StoreError(f"{url}: expected a store, a folder such as lake/clusters/RUN.zarr; found a file.")
        state = "a run has begun but not been finalised" if storage.exists("") else "nothing is there"
        raise StoreError(f"{url}: expected a finished store, found none ({state}); see `dawnchorus status MANIFEST`.")
    _require_known_format(url, store_attributes(storage))
    with _opening(url):
        store: Any = open_held(
            url, compared=compared, **options
        )  # zarr's stores are taken too, though xarray's types do not say so
        left_out = None if times else ["time"]
        dataset = xr.open_dataset(
            store,
            engine="zarr",
            consolidated=True,
            mask_and_scale=mask_and_scale,
            drop_variables=left_out,
            create_default_indexes=indexes,
        )
    dataset.encoding["source"] = storage.url
    found = dataset.attrs.get("dawnchorus_kind", "no dawnchorus store")
    if found != kind:
        raise StoreFormatError(f"{url}: expected a store of {kind}, found {found}. Name one below `{kind}`.")
    return dataset


def _require_known_format(url: str, attributes: Mapping[str, Any]) -> None:
    """Refuse a store of a newer format, in which anything may be otherwise."""
    version = attributes.get("dawnchorus_format", 0)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise StoreFormatError(
            f"{url}: its format is version {version}, this release reads up to {FORMAT_VERSION}. "
            "Install a newer dawnchorus."
        )


@contextmanager
def _opening(url: str) -> Iterator[None]:
    """Turn what zarr and xarray raise about damaged metadata into an error that names the store."""
    try:
        with naming():
            yield
    except UNREADABLE as error:
        if isinstance(error, DawnchorusError):
            raise
        raise StoreError(
            f"{url}/zarr.json: expected the metadata of a store, found them or coordinates damaged ({error}). "
            "`dawnchorus verify MANIFEST` names all damaged files; restore them from a copy."
        ) from error


def open_cube(url: str, **options: Any) -> xr.Dataset:  # noqa: ANN401 (fsspec's own options)
    """Open a spectrogram cube as codes: uint8, 0 is missing, code c is ``c * 0.5 - 124.5`` dBFS."""
    return open_store(url, "spectrograms", mask_and_scale=False, **options)


def open_embeddings(url: str, **options: Any) -> xr.Dataset:  # noqa: ANN401 (fsspec's own options)
    """Open an embedding store; a missing window's embedding is NaN."""
    return open_store(url, "embeddings", **options)


def open_clusters(url: str, **options: Any) -> xr.Dataset:  # noqa: ANN401 (fsspec's own options)
    """Open a cluster store as integers; the cluster of a missing window is -1."""
    return open_store(url, "clusters", mask_and_scale=False, **options)


def open_detections(url: str, **options: Any) -> xr.Dataset:  # noqa: ANN401 (fsspec's own options)
    """Open a store of detections; the score of a missing window, or of a sound without a head, is NaN."""
    return open_store(url, "detections", **options)


def grid_of(dataset: xr.Dataset) -> Grid:
    """Return the time grid of a store."""
    config = dataset.attrs["grid"]
    days = dataset.sizes["time"] * config["hop_ms"] // MS_PER_DAY
    return Grid(config["origin_ms"], config["origin_ms"] + days * MS_PER_DAY, config["window_ms"], config["hop_ms"])


def recorder_names(dataset: xr.Dataset) -> list[str]:
    """Return the names of a store's recorders, in its order."""
    return [str(name) for name in np.asarray(dataset.variables["recorder"])]


def paths_of(cube: xr.Dataset, rows: NDArray[Any] | slice = _ALL) -> list[str]:
    """Return the paths of a cube's recordings, all or those of some rows, below the recordings' root.

    Raises
    ------
    StoreError
        If one leads out of the root: a store may come from anyone.
    """
    place = f"{cube.encoding.get('source', 'cube')}: recording_path"
    return [inside(str(path), place) for path in np.asarray(cube["recording_path"])[rows]]


def table_rows(
    cube: xr.Dataset, columns: Mapping[str, tuple[str, Any]], rows: NDArray[Any] | slice = _ALL
) -> list[dict[str, Any]]:
    """Return rows of one of a cube's tables, all or some.

    Parameters
    ----------
    cube
        Opened as numbers.
    columns
        Key in a row and fill value, by the table's name: those of :mod:`lake.schema`. A column that the cube lacks,
        since it was written before there was one, has its fill value.
    rows
        Which rows.
    """
    values = {key: np.asarray(cube[name])[rows].tolist() for name, (key, _) in columns.items() if name in cube}
    fills = dict(columns.values())
    return [{**fills, **dict(zip(values, row, strict=True))} for row in zip(*values.values(), strict=True)]


@dataclass(frozen=True)
class Windows:
    """Positions of windows in a store, sorted by recorder and time.

    Attributes
    ----------
    recorder
        Recorder number, int32, shape (n_windows,).
    cell
        Time index, int64, shape (n_windows,).
    """

    recorder: NDArray[np.int32]
    cell: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.cell)

    def take(self, rows: NDArray[np.integer[Any]] | slice) -> "Windows":
        """Return some of the windows."""
        return Windows(self.recorder[rows], self.cell[rows])


def windows_of(dataset: xr.Dataset, recorders: Iterable[str], cells: NDArray[np.int64]) -> Windows:
    """Return windows by the names of their recorders, in the order given; number -1 where the store has no such."""
    number = {name: i for i, name in enumerate(recorder_names(dataset))}
    return Windows(np.array([number.get(name, -1) for name in recorders], dtype=np.int32), cells)


def usable_windows(dataset: xr.Dataset, *, partial: bool = True, status: str = "status") -> Windows:
    """Return the windows whose status is ok, or partial if those count as well.

    Parameters
    ----------
    dataset
        An open store.
    partial
        Whether partial windows are taken.
    status
        The status variable's name, one of ``lake.constants.STATUS_ARRAYS``.
    """
    wanted = [STATUS["ok"], STATUS["partial"]] if partial else [STATUS["ok"]]
    numbers: list[NDArray[Any]] = [np.empty(0, dtype=np.int32)]
    cells: list[NDArray[Any]] = [np.empty(0, dtype=np.int64)]
    for i, first, last in spans_there(dataset):
        found = first + np.flatnonzero(np.isin(np.asarray(dataset[status][i, first:last]), wanted))
        numbers.append(np.full(len(found), i, dtype=np.int32))
        cells.append(found.astype(np.int64))
    return Windows(np.concatenate(numbers), np.concatenate(cells))


def values_at(
    dataset: xr.Dataset, name: str, recorder: NDArray[Any] | Sequence[int], cell: NDArray[Any] | Sequence[int],
    fill: float | None = None,
) -> NDArray[Any]:  # fmt: skip
    """Return a variable's values of single cells.

    Parameters
    ----------
    dataset
        An open store.
    name
        A variable on (recorder, time, ...).
    recorder, cell
        Positions, shape (n,), in any order.
    fill
        Value of cells that the store has no file of, or does not reach; the array's own if ``None``.

    Returns
    -------
    NDArray
        Shape (n, ...). Only days that have files are read: grids of many years with few recordings cost nothing.
    """
    variable, source = dataset.variables[name], dataset.encoding.get("source")
    if fill is None:
        fill = open_array(source, name).fill_value if source else 0
    out = np.full((len(cell), *variable.shape[2:]), fill, dtype=variable.dtype)
    recorder, cell = np.asarray(recorder, dtype=np.int64), np.asarray(cell, dtype=np.int64)
    n_cells = variable.shape[1]
    key = np.where((cell >= 0) & (cell < n_cells) & (recorder >= 0), recorder * n_cells + cell, -1)
    order = np.argsort(key, kind="stable")
    in_order = key[order]
    for i, first, last in spans_there(dataset):
        low, high = np.searchsorted(in_order, [i * n_cells + first, i * n_cells + last])
        if high > low:
            rows = order[low:high]
            begin, end = int(cell[rows[0]]), int(cell[rows[-1]]) + 1
            out[rows] = np.asarray(variable[i, begin:end])[cell[rows] - begin]
    return out


def spans_there(dataset: xr.Dataset) -> list[tuple[int, int, int]]:
    """Return recorder, first cell and one past the last of the days that a store has windows of, in order.

    Neighbouring days are joined, up to :data:`MOST_DAYS`. Days that nobody recorded have no files; they are found by a
    listing, not by asking for each.
    """
    name = next(one for one in STATUS_ARRAYS if one in dataset)
    n_recorders, n_cells = dataset.sizes["recorder"], dataset.sizes["time"]
    source = dataset.encoding.get("source")
    array = open_array(source, name) if source else None
    if source is None or array is None or array.shape != (n_recorders, n_cells):  # a part of a store, or made in memory
        return [(i, 0, n_cells) for i in range(n_recorders)]
    most, spans = MOST_DAYS * array.chunks[1], list[tuple[int, int, int]]()
    for i, day in days_of(source, name):
        first = day * array.chunks[1]
        last = min(first + array.chunks[1], n_cells)
        if spans and spans[-1][0] == i and spans[-1][2] == first and last - spans[-1][1] <= most:
            first = spans.pop()[1]
        spans.append((i, first, last))
    return spans


def days_of(url: str, name: str) -> list[tuple[int, int]]:
    """Return recorder number and day of each file of an index variable, sorted.

    Those of a run are listed in its ledger, so a file that is gone is not taken for a day that nobody recorded.
    """
    output = held(url)
    keys = (_OF_DAY.search(key) for key in output.files or output.output.list_keys(name) if key.startswith(f"{name}/"))
    return sorted((int(key[1]), int(key[2])) for key in keys if key)


def read_rows(
    array: zarr.Array[Any], recorder: Sequence[int] | NDArray[Any], cell: Sequence[int] | NDArray[Any]
) -> NDArray[Any]:
    """Return the values of single cells of an array on (recorder, time, ...), in the order asked for.

    Parameters
    ----------
    array
        The Zarr array, from :func:`open_array`.
    recorder, cell
        Positions, shape (n,).

    Returns
    -------
    NDArray
        Shape (n, ...). Runs of neighbouring cells are read at once; nothing else is read.

    Raises
    ------
    StoreError
        If a chunk is damaged, or a window of a cube is not the one that its run's ledger lists.
    """
    recorder, cell = np.asarray(recorder, dtype=np.int64), np.asarray(cell, dtype=np.int64)
    out = np.empty((len(cell), *array.shape[2:]), dtype=array.dtype)
    order = np.lexsort((cell, recorder))
    breaks = np.flatnonzero((np.diff(cell[order]) != 1) | (np.diff(recorder[order]) != 0)) + 1
    for rows in np.split(order, breaks):
        if len(rows):
            i, first = int(recorder[rows[0]]), int(cell[rows[0]])
            out[rows] = array[i, first : first + len(rows)]
            if isinstance(array.store, HeldStore) and array.basename == CODES:
                array.store.held.require_windows(i, cell[rows], out[rows])
    return out


def open_array(url: str, name: str, **options: Any) -> zarr.Array[Any]:  # noqa: ANN401 (fsspec's own options)
    """Open one array of a finished store with zarr itself, for reading in a hot path; errors as :func:`open_store`."""
    with _opening(url):
        group = zarr.open_group(open_held(url, **options), mode="r", use_consolidated=True)
        found = group.get(name)
    if not isinstance(found, zarr.Array):
        raise InputError(f"{url}: expected an array {name!r}, found {', '.join(sorted(group.array_keys()))}.")
    return found


def read_codes(
    dataset: xr.Dataset, recorder: Sequence[int] | NDArray[Any], cell: Sequence[int] | NDArray[Any]
) -> NDArray[np.uint8]:
    """Return the codes of single windows of a cube, uint8, shape (n_windows, n_mels, n_frames)."""
    array = open_array(dataset.encoding["source"], "spectrogram")
    return np.asarray(read_rows(array, recorder, cell), dtype=np.uint8)
