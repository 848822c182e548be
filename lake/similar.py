"""The windows nearest to one window: exactly, in one pass over a store of any size."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from lake.errors import InputError
from lake.grid import Grid, iso
from lake.query import resolve_recorder
from lake.read import grid_of, open_array, open_embeddings, usable_windows

Metric = Literal["cosine", "euclidean"]


@dataclass(frozen=True)
class Place:
    """One window: recorder number and cell."""

    recorder: int
    cell: int


def place_of(recorders: list[str], grid: Grid, recorder: str, time: str) -> Place:
    """Return the window of a recorder that an instant falls into: the last one that begins at it or before.

    Parameters
    ----------
    recorders, grid
        The store's.
    recorder, time
        A name, and ISO 8601 in UTC.

    Raises
    ------
    InputError
        If there is no such recorder, the text is no time, or the grid does not reach it.
    """
    recorder = resolve_recorder(recorder, recorders)
    try:
        instant_ms = int(np.datetime64(time.removesuffix("Z"), "ms").astype(np.int64))
    except ValueError:
        raise InputError(f"--time {time!r}: expected a time in UTC such as 2021-06-22T09:50:00.") from None
    cell = (instant_ms - grid.origin_ms) // grid.hop_ms
    if not 0 <= cell < grid.n_cells:
        raise InputError(f"--time {time!r}: the store goes from {iso(grid.origin_ms)} to {iso(grid.end_ms)}.")
    return Place(recorders.index(recorder), int(cell))


def similar(
    url: str, recorder: str, time: str, *, n: int = 20, metric: Metric = "cosine", apart_s: float | None = None,
    threads: int = 2, advance: Callable[[int], None] = lambda _: None,
) -> pd.DataFrame:  # fmt: skip
    """Return the windows whose vectors are nearest to that of one window.

    Parameters
    ----------
    url
        An embedding store.
    recorder, time
        The window.
    n
        How many at most.
    metric
        ``cosine``: one less the cosine of the angle; ``euclidean``.
    apart_s
        Windows of the same recorder whose starts are nearer than this are left out, the window itself always;
        by default the length of a window, so that none shares sound with it.
    threads
        That read and compare; they change no result.
    advance
        Called with the number of windows that were compared.

    Returns
    -------
    pandas.DataFrame
        recorder, time and distance, nearest first; of windows at the same distance the one that stands first.

    Raises
    ------
    InputError
        If the window is not in the store.
    """
    with open_embeddings(url) as dataset:
        grid, recorders = grid_of(dataset), [str(name) for name in dataset["recorder"].to_numpy()]
        windows = usable_windows(dataset, status="embedding_status")
    place = place_of(recorders, grid, recorder, time)
    array = open_array(url, "embedding")
    wanted = np.asarray(array[place.recorder, place.cell], dtype=np.float64)
    if not np.isfinite(wanted).all():
        raise InputError(f"{url}: recorder {recorder!r} has no vector at {iso(grid.start_ms(place.cell))}.")
    apart = max(1, -(-round((grid.window_ms / 1000 if apart_s is None else apart_s) * 1000) // grid.hop_ms))
    best = pd.DataFrame({"recorder": [], "cell": [], "distance": []})
    parts = _parts(windows.recorder, windows.cell, grid.cells_per_day)

    def compare(part: tuple[int, NDArray[np.int64]]) -> pd.DataFrame:
        number, cells = part
        distance = _distances(array, number, cells, wanted, metric)
        if number == place.recorder:
            distance[np.abs(cells - place.cell) < apart] = np.inf
        near = np.argsort(distance, kind="stable")[:n]
        return pd.DataFrame({"recorder": number, "cell": cells[near], "distance": distance[near]})

    for found, n_compared in _threaded(compare, parts, threads):
        both = pd.concat([best, found]) if len(best) else found
        best = both[np.isfinite(both["distance"])].sort_values(["distance", "recorder", "cell"], kind="stable").head(n)
        advance(n_compared)
    times = (grid.origin_ms + best["cell"].to_numpy(dtype=np.int64) * grid.hop_ms).astype("datetime64[ms]")
    names = [recorders[int(i)] for i in best["recorder"]]
    return pd.DataFrame({"recorder": names, "time": times, "distance": best["distance"].to_numpy(dtype=np.float64)})


def _parts(
    recorder: NDArray[np.int32], cell: NDArray[np.int64], cells_per_day: int
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield recorder and cells of each day: the part of a store that is read at once."""
    key = np.stack([recorder, cell // cells_per_day])
    edges = np.flatnonzero(np.diff(key, axis=1, prepend=-1).any(axis=0))
    for first, last in zip(edges, [*edges[1:], len(cell)], strict=True):
        yield int(recorder[first]), cell[first:last]


def _distances(
    array: zarr.Array[Any], recorder: int, cells: NDArray[np.int64], wanted: NDArray[np.float64], metric: Metric
) -> NDArray[np.float64]:
    first, out = int(cells[0]), np.empty(len(cells))
    step = max(1, array.chunks[1])
    for begin in range(first - first % step, int(cells[-1]) + 1, step):
        low, high = np.searchsorted(cells, [begin, begin + step])
        if low == high:
            continue
        there = cells[low:high]
        vectors = np.asarray(array[recorder, int(there[0]) : int(there[-1]) + 1], dtype=np.float64)[there - there[0]]
        if metric == "euclidean":
            vectors -= wanted
            out[low:high] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        else:
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors)) * np.sqrt(wanted @ wanted)
            out[low:high] = 1 - vectors @ wanted / np.where(lengths > 0, lengths, 1)
    return out


def _threaded(
    compare: Callable[[tuple[int, NDArray[np.int64]]], pd.DataFrame],
    parts: Iterator[tuple[int, NDArray[np.int64]]],
    threads: int,
) -> Iterator[tuple[pd.DataFrame, int]]:
    """Yield what each part gave, in order, with a few parts under way."""
    with ThreadPoolExecutor(max(1, threads)) as workers:
        running = [(workers.submit(compare, part), len(part[1])) for part in islice(parts, 2 * threads)]
        while running:
            future, n_windows = running.pop(0)
            found = future.result()
            running += [(workers.submit(compare, part), len(part[1])) for part in islice(parts, 1)]
            yield found, n_windows
