"""The windows nearest to one, or that a detector scores highest."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lake.errors import InputError
from lake.heard import speech_note
from lake.query.across import cells_of_speech
from lake.query.find import number_of_sound
from lake.query.nearest import Metric
from lake.query.search import Normalise, Search
from lake.query.select import Instant
from lake.read import grid_of, open_detections, recorder_names, usable_windows, values_at
from lake.vectors import open_vectors


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
    return open_search(urls, normalise=normalise, threads=threads, say=say).near_window(
        recorder, time, n=n, metric=metric, apart_s=apart_s, advance=advance
    )


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
    return open_search(urls, normalise=normalise, threads=threads, say=say).near_vector(
        vector, n=n, metric=metric, advance=advance
    )


def open_search(
    urls: str | Sequence[str], *, normalise: Normalise = "auto", index: bool = True, threads: int = 2,
    say: Callable[[str], None] | None = None,
) -> Search:  # fmt: skip
    """Return embedding stores opened for many searches; see :func:`similar`."""
    sets = open_vectors([urls] if isinstance(urls, str) else urls)
    return Search(sets, normalise=normalise, index=index, threads=threads, say=say)


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
        number = number_of_sound(dataset, sound)
        grid, recorders = grid_of(dataset), recorder_names(dataset)
        windows, of_sound = usable_windows(dataset, status="detection_status"), dataset.isel(sound=number)
        score = values_at(of_sound, "score", windows.recorder, windows.cell)
        speech = cells_of_speech(url, dataset)
        if len(speech) and say is not None:
            say(speech_note(len(speech)))
        withheld = speech["i_recorder"].to_numpy(dtype=np.int64) * grid.n_cells + speech["cell"].to_numpy()
        is_open = np.isfinite(score) & ~np.isin(
            windows.recorder.astype(np.int64) * grid.n_cells + windows.cell, withheld
        )
        if not np.isfinite(score).any():
            raise InputError(f"{url}: sound {sound!r} has no detector. Hear more windows of it: `dawnchorus review`.")
        rows = np.flatnonzero(is_open)
        best = windows.take(rows[np.argsort(-score[rows], kind="stable")[:n]])
        found = [values_at(of_sound, name, best.recorder, best.cell) for name in ("score", "probability")]
    times = (grid.origin_ms + best.cell * grid.hop_ms).astype("datetime64[ms]")
    names = [recorders[i] for i in best.recorder]
    return pd.DataFrame({"recorder": names, "time": times, "score": found[0], "probability": found[1]})
