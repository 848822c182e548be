"""Opening the stores of a lake, and asking them for windows."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any, SupportsInt

import pandas as pd
import xarray as xr

import dawnchorus.xarray  # noqa: F401 (adds ds.dawnchorus)
from lake.layout import Lake
from lake.query.find import ask, parse_wanted
from lake.read import open_clusters as _open_clusters
from lake.read import open_embeddings as _open_embeddings
from lake.read import open_store


def stores(lake: str, **options: Any) -> pd.DataFrame:  # noqa: ANN401 (fsspec's own options)
    """Return a table of the finished stores of a lake.

    Parameters
    ----------
    lake
        The lake's folder, or an fsspec URL such as ``s3://bucket/lake``.
    options
        Passed to fsspec.

    Returns
    -------
    pandas.DataFrame
        kind (``spectrograms``, ``embeddings``, ``clusters`` or ``detections``), run, and store: the path or URL that
        the other functions take. Runs whose output is no store, such as a model or an atlas, are not listed.

    Raises
    ------
    InputError
        If there is no folder of a lake.

    Examples
    --------
    >>> import dawnchorus
    >>> table = dawnchorus.stores("data/demo")
    >>> table["kind"][table["run"] == "vectors"].item()
    'embeddings'
    """
    there = Lake(lake, **options)
    rows = [(kind, run, there.output(kind, run).url) for kind, run in there.stores()]
    return pd.DataFrame(rows, columns=["kind", "run", "store"])


def open_cube(store: str, *, codes: bool = False, **options: Any) -> xr.Dataset:  # noqa: ANN401 (fsspec's own options)
    """Open a cube of spectrograms; nothing is read before it is used.

    Parameters
    ----------
    store
        ``<lake>/spectrograms/<run>.zarr``: a path or an fsspec URL.
    codes
        Leave values as they are stored: uint8, 0 is missing, code c is ``c * 0.5 - 124.5`` dBFS. All index variables
        stay integers then, too.
    options
        Passed to fsspec.

    Returns
    -------
    xarray.Dataset
        ``spectrogram`` on (recorder, time, mel, frame): levels in dBFS, NaN where nothing was recorded; and what is
        known of each window, ``status``, ``coverage``, ``level_db``, ``recording`` and others
        (``docs/store-format.md``). Times are UTC. Files are compared with the run's ledger as they are read.

    Raises
    ------
    StoreError
        If there is no finished store, or it is damaged; while values are read as well.
    StoreFormatError
        If it is of another kind, or of a newer format than this release reads.

    Examples
    --------
    >>> import dawnchorus
    >>> cube = dawnchorus.open_cube("data/demo/spectrograms/mels.zarr")
    >>> window = cube["spectrogram"].sel(recorder="00004862", time="2021-06-22T09:50:00")
    >>> window.shape  # mel bands and frames
    (128, 256)
    >>> bool(window.max() <= 3.0)  # dBFS
    True
    """
    return open_store(store, "spectrograms", mask_and_scale=not codes, times=True, **options)


def open_embeddings(store: str, **options: Any) -> xr.Dataset:  # noqa: ANN401 (fsspec's own options)
    """Open a store of embeddings: one vector a window; nothing is read before it is used.

    Parameters
    ----------
    store
        ``<lake>/embeddings/<run>.zarr``: a path or an fsspec URL.
    options
        Passed to fsspec.

    Returns
    -------
    xarray.Dataset
        ``embedding`` on (recorder, time, feature), NaN where there is no window, and ``embedding_status``.

    Raises
    ------
    StoreError, StoreFormatError
        As :func:`open_cube`.

    Examples
    --------
    >>> import dawnchorus
    >>> vectors = dawnchorus.open_embeddings("data/demo/embeddings/vectors.zarr")
    >>> day = vectors["embedding"].sel(recorder="00004862", time="2021-06-22").dropna("time")
    >>> day.dims
    ('time', 'feature')
    """
    return _open_embeddings(store, times=True, **options)


def open_clusters(store: str, **options: Any) -> xr.Dataset:  # noqa: ANN401 (fsspec's own options)
    """Open a clustering: the cluster of each window, and what is known of each cluster.

    Parameters
    ----------
    store
        ``<lake>/clusters/<run>.zarr``: a path or an fsspec URL.
    options
        Passed to fsspec.

    Returns
    -------
    xarray.Dataset
        ``cluster`` on (recorder, time), an integer, -1 where there is no window; ``distance`` to the centroid; and
        on ``cluster_id``: ``n_windows``, ``centroid``, exemplars, flags, stability.

    Raises
    ------
    StoreError, StoreFormatError
        As :func:`open_cube`.

    Examples
    --------
    >>> import dawnchorus
    >>> clusters = dawnchorus.open_clusters("data/demo/clusters/clusters.zarr")
    >>> clusters["cluster"].dims
    ('recorder', 'time')
    >>> int(clusters["n_windows"].sum()) == int((clusters["cluster"] >= 0).sum())
    True
    """
    return _open_clusters(store, times=True, **options)


def query(
    store: str,
    *,
    recorder: str | Sequence[str] = (),
    date: str | datetime.date | None = None,
    hour: str | int | None = None,
    local: bool = False,
    site: str | Sequence[str] = (),
    cluster: int | str | Sequence[int | str] = (),
    features: bool = False,
    sound: str | Sequence[str] = (),
    cube: str | None = None,
    clusters: str | None = None,
    say: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Return a table of windows by recorder, day, hour of the day, site and cluster.

    What is not asked for does not restrict. The parameters have the names of the options of ``dawnchorus query``.

    Parameters
    ----------
    store
        A cube, a store of embeddings, a clustering or detections.
    recorder, site, cluster
        Only these: one, or several.
    date
        A day (``"2021-06-22"``), a month (``"2021-06"``), or two joined by a slash, both included.
    hour
        An hour of the day (``5``), or ``"5-8"``: from five until before eight; ``"22-4"`` is over midnight.
    local
        Whether days and hours are local time at the recorder, not UTC.
    features
        Whether the embedding's features are columns, ``f0`` and up.
    sound
        Sounds whose ``score`` and ``probability`` are wanted, of detections: one row for each window and sound.
    cube, clusters
        The cube, for local time and sites, and the clustering, for clusters. They are found by themselves inside a
        lake if they are needed; named, their columns ``time_local``, ``site`` and ``cluster`` are added.
    say
        Called with a note where windows are left out.

    Returns
    -------
    pandas.DataFrame
        One row a window, by recorder and time (UTC), with what the store says of it. Only the days that can match are
        read. Of detections, windows that somebody marked as speech are left out. Recordings laid in sequence have no
        part in days and hours.

    Raises
    ------
    UsageError
        If a date or an hour is none, the lake has several clusterings of the store and none is named, or sounds are
        asked of another store than detections.
    InputError
        If the store has no such recorder or site, or lacks what is asked for.

    Examples
    --------
    >>> import dawnchorus
    >>> table = dawnchorus.query("data/demo/clusters/clusters.zarr", recorder="00004862", date="2021-06-22", hour=9)
    >>> list(table.columns)
    ['recorder', 'time', 'cluster', 'cluster_status', 'distance']
    >>> dawnchorus.query("data/demo/embeddings/vectors.zarr", hour="4-8", local=True)["site"].nunique() > 1
    True
    """
    wanted = parse_wanted(
        recorders=_each(recorder), sites=_each(site),
        clusters=_each_cluster(cluster),
        dates=None if date is None else str(date),
        hours=None if hour is None else str(hour), local=local,
    )  # fmt: skip
    return ask(store, wanted, cube=cube, clusters=clusters, features=features, sounds=_each(sound), say=say)


def _each_cluster(cluster: int | str | Sequence[int | str]) -> Sequence[int | str]:
    if isinstance(cluster, str):
        return [cluster]
    return [int(cluster)] if isinstance(cluster, SupportsInt) else cluster


def _each(names: str | Sequence[str]) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names
