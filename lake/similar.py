"""The windows nearest to one, or that a detector scores highest: exactly, in one pass over a store of any size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lake.chain import made_by
from lake.errors import InputError
from lake.grid import Grid, iso
from lake.heard import windows_of_speech
from lake.nearest import Comparison, Metric
from lake.query import resolve_recorder
from lake.read import grid_of, open_detections, recorder_names, usable_windows, values_at
from lake.text import near_or_all
from lake.threads import in_threads
from lake.vectors import Span, VectorSets, open_vectors
from lake.verdicts import read_verdicts
from lake.whitening import study_whitening, whitening_notes

Instant = str | datetime | np.datetime64
"""ISO 8601 in UTC, or a time, of a table for example; without a zone it is UTC."""
Normalise = Literal["auto", "whiten", "none"]


@dataclass(frozen=True)
class Place:
    """One window: recorder number and cell."""

    recorder: int
    cell: int


def place_of(recorders: list[str], grid: Grid, recorder: str, time: Instant) -> Place:
    """Return the window of a recorder that an instant falls into: the last one that begins at it or before.

    Parameters
    ----------
    recorders, grid
        The store's.
    recorder, time
        A name, and an instant.

    Raises
    ------
    InputError
        If there is no such recorder, the text is no time, or the grid does not reach it.
    """
    recorder = resolve_recorder(recorder, recorders)
    if isinstance(time, datetime) and time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    time = str(time)
    try:
        instant_ms = int(np.datetime64(time.removesuffix("Z"), "ms").astype(np.int64))
    except ValueError:
        raise InputError(f"--time {time!r}: expected a time in UTC such as 2021-06-22T09:50:00.") from None
    cell = (instant_ms - grid.origin_ms) // grid.hop_ms
    if not 0 <= cell < grid.n_cells:
        raise InputError(f"--time {time!r}: the store goes from {iso(grid.origin_ms)} to {iso(grid.end_ms)}.")
    return Place(recorders.index(recorder), int(cell))


def similar(
    urls: str | Sequence[str], recorder: str, time: Instant, *, n: int = 20, metric: Metric = "cosine",
    normalise: Normalise = "auto", apart_s: float | None = None, threads: int = 2,
    advance: Callable[[int], None] | None = None, say: Callable[[str], None] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return the windows whose vectors are nearest to that of one window.

    Parameters
    ----------
    urls
        An embedding store, or several of the same windows, whose vectors are joined.
    recorder, time
        The window: a recorder's name, and an instant in UTC at its start or within it.
    n
        How many at most.
    metric
        ``cosine``: one less the cosine of the angle; ``euclidean``.
    normalise
        ``whiten``: vectors are whitened over all windows of the stores, as the ``cluster`` job does it; ``none``: they
        are compared as they are stored; ``auto``: ``whiten`` for vectors of ``embed``, ``none`` for imported ones.
    apart_s
        Windows of the same recorder whose starts are nearer than this are left out, the window itself always;
        by default the length of a window, so that none shares sound with it.
    threads
        That read and compare; they change no result.
    advance
        Called with the number of windows that were compared.
    say
        Called with a note where the stores have fewer windows than features to whiten, and where windows are left out
        because people marked them as speech.

    Returns
    -------
    pandas.DataFrame
        recorder, time and distance, nearest first; of windows at the same distance the one that stands first.

    Raises
    ------
    InputError
        If the window is not in the store, or stores are not of the same windows.

    Examples
    --------
    >>> import dawnchorus
    >>> near = dawnchorus.similar(
    ...     "data/demo/embeddings/vectors.zarr", "00004862", "2021-06-22T09:50:00", n=5
    ... )
    >>> list(near.columns), len(near), near["distance"].is_monotonic_increasing
    (['recorder', 'time', 'distance'], 5, True)
    """
    sets = open_vectors([urls] if isinstance(urls, str) else urls)
    grid, recorders = sets.grid, list(sets.recorders)
    place = place_of(recorders, grid, recorder, time)
    wanted = np.concatenate([np.asarray(array[place.recorder, place.cell]) for array in sets.arrays])
    if not np.isfinite(wanted).all():
        raise InputError(f"{sets.urls[0]}: recorder {recorder!r} has no vector at {iso(grid.start_ms(place.cell))}.")
    apart = max(1, -(-round((grid.window_ms / 1000 if apart_s is None else apart_s) * 1000) // grid.hop_ms))
    return _nearest(
        sets, wanted, (place, apart), n=n, metric=metric, normalise=normalise, threads=threads,
        advance=advance, say=say,
    )  # fmt: skip


def similar_to(
    urls: str | Sequence[str], vector: NDArray[np.floating], *, n: int = 20, metric: Metric = "cosine",
    normalise: Normalise = "auto", threads: int = 2, advance: Callable[[int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return the windows whose vectors are nearest to a vector, shape (n_features,); see :func:`similar`.

    Raises
    ------
    InputError
        If the vector has another number of features, or is not finite, or stores are not of the same windows.
    """
    sets = open_vectors([urls] if isinstance(urls, str) else urls)
    if vector.shape != (sum(sets.n_features),) or not np.isfinite(vector).all():
        raise InputError(
            f"{' and '.join(sets.urls)}: expected a finite vector of {sum(sets.n_features)} features, found one of "
            f"shape {vector.shape}. Make it with the runs that made the stores."
        )
    return _nearest(
        sets, vector, None, n=n, metric=metric, normalise=normalise, threads=threads, advance=advance, say=say
    )


def highest(url: str, sound: str, *, n: int = 20, say: Callable[[str], None] | None = None) -> pd.DataFrame:
    """Return the windows that a sound's detector scores highest.

    Parameters
    ----------
    url
        A store of detections.
    sound
        The sound.
    n
        How many at most.
    say
        Called with a note where windows marked as speech are left out.

    Returns
    -------
    pandas.DataFrame
        recorder, time, score and probability, the highest first; of windows with the same score the one that stands
        first.

    Raises
    ------
    InputError
        If the store has no such sound, or no score of it.
    StoreError, StoreFormatError
        If there is no finished store, or it is of another kind.
    """
    with open_detections(url) as dataset:
        known = [str(name) for name in dataset["sound"].to_numpy()]
        if sound not in known:
            raise InputError(f"sound {sound!r} is not in {url}; {near_or_all(sound, known)}.")
        grid, recorders = grid_of(dataset), recorder_names(dataset)
        windows, of_sound = usable_windows(dataset, status="detection_status"), dataset.isel(sound=known.index(sound))
        score = values_at(of_sound, "score", windows.recorder, windows.cell)
        speech = _speech(url, grid, recorders, say)
        is_open = np.isfinite(score)
        for i, cells in speech.items():
            is_open &= (windows.recorder != i) | ~np.isin(windows.cell, cells)
        if not np.isfinite(score).any():
            raise InputError(f"{url}: sound {sound!r} has no detector. Hear more windows of it: `dawnchorus review`.")
        rows = np.flatnonzero(is_open)
        best = windows.take(rows[np.argsort(-score[rows], kind="stable")[:n]])
        found = [values_at(of_sound, name, best.recorder, best.cell) for name in ("score", "probability")]
    times = (grid.origin_ms + best.cell * grid.hop_ms).astype("datetime64[ms]")
    names = [recorders[i] for i in best.recorder]
    return pd.DataFrame({"recorder": names, "time": times, "score": found[0], "probability": found[1]})


def _nearest(
    sets: VectorSets, vector: NDArray[np.floating], beside: tuple[Place, int] | None, *, n: int, metric: Metric,
    normalise: Normalise, threads: int, advance: Callable[[int], None] | None, say: Callable[[str], None] | None,
) -> pd.DataFrame:  # fmt: skip
    """Compare all windows but those nearer in time to a window than a number of cells."""
    is_whitened = normalise == "whiten" or (normalise == "auto" and sets.is_own)
    scaling = study_whitening(sets, threads=threads) if is_whitened else None
    if scaling is not None and say is not None:
        for note in whitening_notes(sets, scaling):
            say(note)
    compare = Comparison(sets, vector.astype(np.float32), scaling, metric)
    speech = _speech(sets.urls[0], sets.grid, list(sets.recorders), say)
    best = pd.DataFrame({"recorder": [], "cell": [], "distance": []})

    def look(span: Span) -> tuple[pd.DataFrame, int]:
        allowed = ~np.isin(span.cells, speech.get(span.recorder, ()))
        if beside is not None and span.recorder == beside[0].recorder:
            allowed &= np.abs(span.cells - beside[0].cell) >= beside[1]
        limit = best["distance"].iloc[-1] if len(best) == n else np.inf
        rows, distance = compare.nearest(span, allowed, n, float(limit))
        return pd.DataFrame({"recorder": span.recorder, "cell": span.cells[rows], "distance": distance}), len(allowed)

    with threadpool_limits(1):  # the spans are read in threads already; those of BLAS would wait for each other
        for found, n_compared in in_threads(look, sets.spans, threads):
            if len(found):
                both = pd.concat([best, found]) if len(best) else found
                best = both.sort_values(["distance", "recorder", "cell"], kind="stable").head(n)
            if advance is not None:
                advance(n_compared)
    compare.keep()
    grid = sets.grid
    times = (grid.origin_ms + best["cell"].to_numpy(dtype=np.int64) * grid.hop_ms).astype("datetime64[ms]")
    names = [sets.recorders[int(i)] for i in best["recorder"]]
    return pd.DataFrame({"recorder": names, "time": times, "distance": best["distance"].to_numpy(dtype=np.float64)})


def _speech(
    url: str, grid: Grid, recorders: list[str], say: Callable[[str], None] | None
) -> dict[int, NDArray[np.int64]]:
    """Return the cells of windows that share time with speech, by recorder number."""
    try:
        lake = made_by(url).lake
    except InputError:  # outside of a lake there are no verdicts
        return {}
    found = windows_of_speech(read_verdicts(lake), grid, recorders)
    if len(found) and say is not None:
        say(f"windows that people marked as speech are left out: {len(found)}.")
    recorder, cell = found["i_recorder"].to_numpy(dtype=np.int64), found["cell"].to_numpy(dtype=np.int64)
    return {int(i): cell[recorder == i] for i in np.unique(recorder)}
