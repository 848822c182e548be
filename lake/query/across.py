"""A cube at windows that are not its own: vectors that another program made have a grid of theirs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.chain import made_by
from lake.constants import OFFSET_ARRAY, STATUS_ARRAYS
from lake.errors import InputError
from lake.heard import OffsetsMs, windows_of_speech
from lake.query.select import open_any
from lake.read import Windows, grid_of, open_array, open_cube, recorder_names, values_at
from lake.shards import open_codes
from lake.verdicts import read_verdicts

Ints = NDArray[np.int64]
ReadSpans = Callable[[NDArray[np.integer[Any]], NDArray[np.integer[Any]]], NDArray[np.uint8]]
"""From recorder numbers and starts (milliseconds since 1970), shape (n,), to codes, shape (n, n_mels, n_frames)."""


def starts_of(dataset: xr.Dataset, windows: Windows) -> Ints:
    """Return the start of each window's sound, milliseconds since 1970, shape (n_windows,).

    That is the start of its cell, but for imported vectors and what was made of them: those begin where their sound
    did, half a hop away at most.
    """
    grid, offsets_ms = grid_of(dataset), offsets_ms_of(dataset)
    cell = windows.cell.astype(np.int64)
    start_ms: Ints = np.asarray(grid.origin_ms + cell * grid.hop_ms, dtype=np.int64)
    return start_ms if offsets_ms is None else np.add(start_ms, offsets_ms(windows.recorder, cell))


def cells_of_speech(url: str, dataset: xr.Dataset) -> pd.DataFrame:
    """Return ``i_recorder`` and ``cell`` of a store's windows that share time with what people marked as speech.

    Parameters
    ----------
    url, dataset
        The store, and the same opened. Without verdicts, and outside of a lake, there are none.
    """
    try:
        verdicts = read_verdicts(made_by(url).lake)
    except InputError:
        return pd.DataFrame({"i_recorder": [], "cell": []}, dtype=np.int64)
    return windows_of_speech(verdicts, grid_of(dataset), recorder_names(dataset), offsets_ms_of(dataset))


def offsets_ms_of(dataset: xr.Dataset) -> OffsetsMs | None:
    """Return the function that gives where windows of a store begin after their cells; ``None`` if all begin there."""
    offsets = offsets_of(dataset)
    if offsets is None:
        return None

    def offsets_ms(recorder: NDArray[np.integer[Any]], cell: NDArray[np.integer[Any]]) -> Ints:
        offset_s = np.nan_to_num(values_at(offsets, OFFSET_ARRAY, recorder, cell, 0.0))
        out: Ints = np.rint(offset_s * 1000).astype(np.int64)
        return out

    return offsets_ms


def offsets_of(dataset: xr.Dataset) -> xr.Dataset | None:
    """Return the vector set, opened as numbers, that says where windows of a store begin; ``None`` if none does."""
    if OFFSET_ARRAY in dataset:
        return dataset
    if "spectrogram" in dataset or "source" not in dataset.encoding:
        return None
    try:
        vectors = made_by(dataset.encoding["source"]).nearest("embeddings")
    except InputError:  # a store outside of a lake
        return None
    has_offsets = vectors is not None and OFFSET_ARRAY in vectors.index_names and vectors.output.exists("zarr.json")
    return open_any(vectors.output.url) if vectors is not None and has_offsets else None


def in_cube(dataset: xr.Dataset, windows: Windows, cube: xr.Dataset) -> Windows:
    """Return, for windows of a store, those of a cube that stand for them (:func:`cells_in`).

    Both have the same recorders in the same order. Windows of a store that was made from the cube are its own.
    """
    grid = grid_of(dataset)
    if grid.has_cells_of(grid_of(cube)) and offsets_of(dataset) is None:
        return windows
    cells = cells_in(cube, windows.recorder, starts_of(dataset, windows), grid.window_ms)
    return Windows(windows.recorder, cells)


def cells_in(cube: xr.Dataset, recorder: NDArray[np.integer[Any]], start_ms: Ints, length_ms: int) -> Ints:
    """Return the cell of a cube that stands for each span of sound: the first with a window that it touches.

    Parameters
    ----------
    cube
        Opened as numbers.
    recorder, start_ms
        Recorder number in the cube, and start of the span in milliseconds since 1970, shape (n,).
    length_ms
        Of each span.

    Returns
    -------
    NDArray
        int64, shape (n,); -1 where the cube has no window.
    """
    grid = grid_of(cube)
    status = next(name for name in STATUS_ARRAYS if name in cube)
    found = np.full(len(start_ms), -1, dtype=np.int64)
    begin = (start_ms - grid.origin_ms) // grid.hop_ms
    for step in range(length_ms // grid.hop_ms + 2):
        cell = begin + step
        is_open = np.flatnonzero((found < 0) & (grid.origin_ms + cell * grid.hop_ms < start_ms + length_ms))
        if not len(is_open):
            break
        is_there = values_at(cube, status, recorder[is_open], cell[is_open], 0) > 0
        found[is_open[is_there]] = cell[is_open[is_there]]
    return found


def open_spans(url: str, length_ms: int) -> ReadSpans:
    """Return the function that reads the codes of spans of sound out of a cube, wherever they begin.

    Parameters
    ----------
    url
        The cube.
    length_ms
        Length of each span.

    Returns
    -------
    ReadSpans
        A span has frames as long as the cube's. Each is the frame, of the windows that cover its centre, of the window
        whose own centre is nearest; 0 where nothing was recorded. May be called by several threads.
    """
    with open_cube(url) as cube:
        grid, n_mels, n_frames = grid_of(cube), cube.sizes["mel"], cube.sizes["frame"]
    n_cells = open_array(url, "status").shape[1]
    read = open_codes(url)
    frame_ms = grid.window_ms / n_frames
    n_out = max(1, round(length_ms / frame_ms))
    centre_ms = (np.arange(n_out) + 0.5) * length_ms / n_out
    n_covering = -(-grid.window_ms // grid.hop_ms)

    def one(recorder: int, start_ms: int) -> NDArray[np.uint8]:
        out = np.zeros((n_mels, n_out), dtype=np.uint8)
        instant_ms = start_ms - grid.origin_ms + centre_ms
        nearest = np.floor((instant_ms - (grid.window_ms - grid.hop_ms) / 2) / grid.hop_ms).astype(np.int64)
        for step in sorted(range(-n_covering, n_covering + 1), key=abs):
            cell = nearest + step
            frame = np.floor((instant_ms - cell * grid.hop_ms) / frame_ms).astype(np.int64)
            wanted = (~out.any(axis=0)) & (frame >= 0) & (frame < n_frames) & (cell >= 0) & (cell < n_cells)
            cells = np.unique(cell[wanted])
            if not len(cells):
                continue
            windows = read(np.full(len(cells), recorder), cells)
            at = np.searchsorted(cells, cell[wanted])
            out[:, wanted] = windows[at, :, frame[wanted]].T
        return out

    def read_spans(recorder: NDArray[np.integer[Any]], start_ms: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        pairs = zip(np.asarray(recorder).tolist(), np.asarray(start_ms).tolist(), strict=True)
        found = [one(*pair) for pair in pairs]
        return np.stack(found) if found else np.zeros((0, n_mels, n_out), dtype=np.uint8)

    return read_spans
