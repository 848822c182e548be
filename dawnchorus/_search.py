"""Embedding stores that are opened once for many searches."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pandas as pd

from lake.query.nearest import Metric
from lake.query.search import Normalise
from lake.query.search import Search as _Search
from lake.vectors import open_vectors


class Search(_Search):
    """Embedding stores opened for searches, by :func:`open_search`.

    The tables have the columns recorder, time (UTC) and distance, nearest first; of windows at the same distance the
    one that stands first. Windows that somebody marked as speech are left out.
    """

    def near_clip(
        self, audio: str | Path, start_s: float = 0.0, *, recorder: str = "", n: int = 20, metric: Metric = "cosine"
    ) -> pd.DataFrame:
        """Return the windows nearest to a clip of sound.

        Parameters
        ----------
        audio, start_s
            A sound file, and the second of it that a window's length is taken from.
        recorder
            Whose background is subtracted, by a model that subtracts those of recorders.
        n, metric
            How many at most; ``cosine`` or ``euclidean``.

        Returns
        -------
        pandas.DataFrame
            recorder, time and distance.

        Raises
        ------
        InputError
            If the clip cannot be decoded, is too short or silent, or the vectors were made elsewhere.
        """
        from jobs.runner.registry import ALL, needing  # noqa: PLC0415 (all but a clip is compared without torch)

        with needing("near_clip", ALL):
            example = import_module("jobs.workflows.example")
        vector = example.clip_vector(list(self.sets.urls), Path(audio), start_s, recorder=recorder)
        return self.near_vector(vector, n=n, metric=metric)


def open_search(
    stores: str | Sequence[str],
    *,
    normalise: Normalise = "auto",
    index: bool = True,
    threads: int = 2,
    say: Callable[[str], None] | None = None,
) -> Search:
    """Open embedding stores for many searches of the nearest windows.

    Parameters
    ----------
    stores
        ``<lake>/embeddings/<run>.zarr``, or several of the same windows, whose vectors are joined.
    normalise
        As for :func:`similar`.
    index
        Whether searches go through an index of the vectors in 8 bits, which the first one keeps in the lake's
        ``caches/codes``: 1.15 GB for 2.2 million windows of 512 features. It changes no result.
    threads
        That read and compare; they change no result.
    say
        Called with notes, such as that the index could not be kept.

    Returns
    -------
    Search
        ``near_window(recorder, time, n=20, metric="cosine", apart_s=None)``, ``near_vector(vector, n=20,
        metric="cosine")`` and ``near_clip(audio, start_s=0, recorder="", n=20, metric="cosine")`` return tables of
        recorder, time and distance, nearest first; ``n_windows`` are searched, those that the stores had when they
        were opened.

    Raises
    ------
    InputError
        If stores are not of the same windows; by a search, if there is no such window.
    StoreError, StoreFormatError
        If there is no finished store, or it is damaged.
    UsageError
        If a word or a number is none of those that are expected.

    Examples
    --------
    >>> import dawnchorus
    >>> search = dawnchorus.open_search("data/demo/embeddings/vectors.zarr")
    >>> near = search.near_window("00004862", "2021-06-22T09:50:00", n=5)
    >>> list(near.columns), len(near)
    (['recorder', 'time', 'distance'], 5)
    >>> vectors = dawnchorus.open_embeddings("data/demo/embeddings/vectors.zarr")["embedding"]
    >>> vector = vectors.sel(recorder="00004862", time="2021-06-22T09:50:00").to_numpy()
    >>> itself = search.near_vector(vector, n=1)
    >>> itself["recorder"][0], str(itself["time"][0]), bool(itself["distance"][0] < 1e-5)
    ('00004862', '2021-06-22 09:50:00', True)
    >>> window = dawnchorus.trace("data/demo/embeddings/vectors.zarr", "00004862", "2021-06-22T09:50:00").pieces[0]
    >>> start_s = window.first_sample / window.sample_rate_hz
    >>> clip = search.near_clip(f"data/demo/study/audio/{window.path}", start_s, recorder="00004862", n=1)
    >>> str(clip["time"][0])
    '2021-06-22 09:50:00'
    """
    sets = open_vectors([stores] if isinstance(stores, str) else stores)
    return Search(sets, normalise=normalise, index=index, threads=threads, say=say)
