"""A lake opened for a notebook: its stores by name, tables of windows, and windows to see and hear."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from dawnchorus._detections import find_events, open_detections
from dawnchorus._people import batches, verdicts
from dawnchorus._stores import open_clusters, open_cube, open_embeddings, query, stores
from dawnchorus._windows import bar, draw, named, player, samples_of, span_of
from jobs.runner.manifest import read_manifest
from lake.chain import Made, made_by
from lake.errors import InputError
from lake.layout import Lake as Folders
from lake.query.nearest import Metric
from lake.query.search import Search
from lake.query.trace import Trace, trace
from lake.text import near_or_all, nearest
from lake.vectors import open_vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_OPENERS: dict[str, Callable[[str], xr.Dataset]] = {
    "spectrograms": open_cube, "embeddings": open_embeddings, "clusters": open_clusters, "detections": open_detections,
}  # fmt: skip


class Lake:
    """A lake that was opened by :func:`open`; nothing in it is written.

    ``lake["vectors"]``, or ``lake.vectors`` where no method has that name, is the store of the run ``vectors``, an
    xarray dataset; ``lake.runs`` lists them. A *window* is a row of a table that has a recorder and a time (of
    ``query``, ``similar``, ``events``, ``verdicts`` or your own), such as ``table.iloc[0]``; or a recorder and a time
    in UTC, such as ``("00004862", "2021-06-22T09:50:00")``. A row with ``end_utc`` or ``duration_s`` is the whole of
    that span. Rows of this lake's tables know which run they are windows of; of others, ``run`` names it.
    """

    def __init__(self, url: str, recordings: Path | None) -> None:
        self.url = url
        self._recordings = recordings
        self._searches: dict[str, Search] = {}

    @property
    def runs(self) -> pd.DataFrame:
        """A table of the finished stores: kind, run and store."""
        return stores(self.url)

    def __getitem__(self, run: str) -> xr.Dataset:
        kind, url = self._store(run)
        return _OPENERS[kind](url)

    def __getattr__(self, name: str) -> xr.Dataset:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except InputError as error:
            raise AttributeError(str(error)) from error

    def __dir__(self) -> Iterator[str]:
        yield from (*super().__dir__(), *(run for run in self.runs["run"] if run.isidentifier()))

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.runs["run"])

    def __repr__(self) -> str:
        runs = self.runs
        lines = [f"  {kind:<13} {run}" for kind, run in zip(runs["kind"], runs["run"], strict=True)]
        return "\n".join([f"dawnchorus.open({self.url!r})", *lines])

    def query(self, run: str, **wanted: Any) -> pd.DataFrame:  # noqa: ANN401 (passed on to `dawnchorus.query`, which checks them)
        """Return a table of windows of a run; the options are those of :func:`dawnchorus.query`.

        Examples
        --------
        >>> import dawnchorus
        >>> lake = dawnchorus.open("data/demo")
        >>> dawn = lake.query("clusters", hour="4-8", local=True, cluster=0)
        >>> set(dawn["cluster"])
        {0}
        """
        return self._of(run, query(self._store(run)[1], **wanted))

    def events(self, threshold: str | float = "precision", *, run: str = "", **options: Any) -> pd.DataFrame:  # noqa: ANN401 (passed on to `find_events`, which checks them)
        """Return when detectors hear their sounds; see :func:`dawnchorus.find_events`.

        Examples
        --------
        >>> import dawnchorus
        >>> events = dawnchorus.open("data/demo").events(0.5, gap_s=10)
        >>> bool((events["end_utc"] > events["start_utc"]).all())
        True
        """
        run = self._run_of("detections", run, "events")
        return self._of(run, find_events(self._store(run)[1], threshold, **options))

    def verdicts(self, *, settled: bool = False) -> pd.DataFrame:
        """Return what people said of windows; see :func:`dawnchorus.verdicts`.

        Examples
        --------
        >>> import dawnchorus
        >>> set(dawnchorus.open("data/demo").verdicts(settled=True)["verdict"]) <= {"yes", "no", "unsure"}
        True
        """
        return verdicts(self.url, settled=settled)

    def batches(self) -> pd.DataFrame:
        """Return a table of the batches that people were asked to hear; see :func:`dawnchorus.batches`.

        Examples
        --------
        >>> import dawnchorus
        >>> "n_answered" in dawnchorus.open("data/demo").batches()
        True
        """
        return batches(self.url)

    def similar(self, window: object, *, run: str = "", n: int = 20, metric: Metric = "cosine") -> pd.DataFrame:
        """Return the windows whose vectors are nearest to that of a window, nearest first.

        The vectors stay open: later searches of the same run are faster. A bar shows the progress of a long search
        where tqdm is installed.

        Parameters
        ----------
        window
            The window.
        run
            Whose vectors are compared; if left out, those that the row's run was made from, or the lake's only ones.
        n, metric
            How many at most; ``cosine`` or ``euclidean``.

        Returns
        -------
        pandas.DataFrame
            recorder, time (UTC) and distance, as :func:`dawnchorus.similar`.

        Raises
        ------
        InputError
            If there is no such run or window; the message names the nearest.

        Examples
        --------
        >>> import dawnchorus
        >>> lake = dawnchorus.open("data/demo")
        >>> near = lake.similar(("00004862", "2021-06-22T09:50:00"), n=5)
        >>> len(near), near["distance"].is_monotonic_increasing
        (5, True)
        """
        recorder, time, known = named(window)
        made = made_by(self._store(known)[1]).nearest("embeddings") if known and not run else None
        run = self._run_of("embeddings", run or (made.name if made else ""), "similar")
        if run not in self._searches:
            self._searches[run] = Search(open_vectors([self._store(run)[1]]), keep=False)
        search = self._searches[run]
        with bar(search.n_windows) as advance:
            return self._of(run, search.near_window(recorder, time, n=n, metric=metric, advance=advance))

    def trace(self, window: object, *, run: str = "") -> Trace:
        """Return which samples of which recordings a window is made of, and every run on the way.

        Examples
        --------
        >>> import dawnchorus
        >>> lake = dawnchorus.open("data/demo")
        >>> lake.trace(lake.query("clusters").iloc[0]).runs[-1]["job"]
        'spectrograms'
        """
        recorder, time, known = named(window)
        return trace(self._store(self._run_of("spectrograms", run or known, "trace"))[1], recorder, time)

    def show(self, window: object, *, run: str = "", ax: Any = None) -> Any:  # noqa: ANN401 (axes of Matplotlib, which the light install lacks)
        """Draw the spectrogram of a window: seconds, kHz in mel bands, and dB relative to full scale.

        Parameters
        ----------
        window
            The window, or a span of up to two minutes.
        run
            That it is a window of, if the row does not know; the only run of spectrograms if left out.
        ax
            Where to draw; a new figure if left out.

        Returns
        -------
        matplotlib.axes.Axes
            Its units are seconds after the start, and kHz; what was not recorded is left white.

        Raises
        ------
        InputError
            If there is no such window, with the nearest that there is, or Matplotlib is not installed.

        Examples
        --------
        >>> import dawnchorus
        >>> axes = dawnchorus.open("data/demo").show(("00004862", "2021-06-22T09:50:00"))
        >>> axes.get_xlabel(), axes.get_ylabel(), float(axes.get_xlim()[1])
        ('s', 'kHz', 5.0)
        """
        run, cube = self._cube(window, run, "show")
        return draw(span_of(window, self._store(run)[1]), cube.output.url, ax)

    def samples(self, window: object, *, run: str = "", speech: bool = False) -> "tuple[NDArray[np.float32], int]":
        """Return a window's sound as it went into the spectrogram: samples, shape (n_samples,), and their rate in Hz.

        Parameters
        ----------
        window, run
            As for :meth:`show`.
        speech
            Return it also where somebody marked the sound as speech.

        Raises
        ------
        InputError
            If there is no such window, or its recording is not there, or another file than the spectrogram was made
            from.
        UsageError
            If somebody marked the sound as speech.

        Examples
        --------
        >>> import dawnchorus
        >>> samples, rate_hz = dawnchorus.open("data/demo").samples(("00004862", "2021-06-22T09:50:00"))
        >>> len(samples) / rate_hz
        5.0
        """
        run, cube = self._cube(window, run, "listen")
        return samples_of(span_of(window, self._store(run)[1]), cube, self._root(cube), speech=speech)

    def listen(self, window: object, *, run: str = "", speed: float = 1.0, speech: bool = False) -> Any:  # noqa: ANN401 (IPython's Audio, as in `show`)
        """Return a player of a window's sound, cut from its recording.

        Parameters
        ----------
        window, run, speech
            As for :meth:`samples`.
        speed
            0.1 plays ten times slower, and lower: that is how bats are heard.

        Raises
        ------
        InputError, UsageError
            As :meth:`samples`, and if IPython is not installed.

        Examples
        --------
        >>> import dawnchorus
        >>> player = dawnchorus.open("data/demo").listen(("00004862", "2021-06-22T09:50:00"))
        >>> player.mimetype
        'audio/wav'
        """
        samples, rate_hz = self.samples(window, run=run, speech=speech)
        return player(samples, rate_hz, speed)

    def _store(self, run: str) -> tuple[str, str]:
        """Return kind and URL of a run's store; ``InputError`` with the nearest names if there is none."""
        known = {name: (kind, url) for kind, name, url in self.runs.itertuples(index=False)}
        if run not in known:
            example = next(iter([*nearest(run, known), *known]), "RUN")
            raise InputError(
                f"{self.url}: expected the run of a finished store, found none of the name {run!r}; "
                f"{near_or_all(run, known)}. Type lake[{example!r}]; `lake.runs` lists all."
            )
        return known[run]

    def _run_of(self, kind: str, run: str, method: str) -> str:
        """Return the run that is named, or the only one of a kind."""
        if run:
            return run
        runs = self.runs
        names = list(runs["run"][runs["kind"] == kind])
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            hint = f" Type lake.{method}(…, run={names[0]!r})." if names else ""
            raise InputError(f"{self.url}: expected one run of {kind}, found {listed}.{hint}")
        return str(names[0])

    def _cube(self, window: object, run: str, method: str) -> tuple[str, Made]:
        """Return the run of a window, and its spectrograms."""
        run = self._run_of("spectrograms", run or named(window)[2], method)
        url = self._store(run)[1]
        cube = made_by(url).nearest("spectrograms")
        if cube is None or not cube.output.exists("zarr.json"):
            raise InputError(f"{url}: expected the spectrograms that it was made from in the same lake, found none.")
        return run, cube

    def _root(self, cube: Made) -> Path:
        """Return the folder of the recordings: that which was named, or which the spectrograms were made from."""
        given = self._recordings or (cube.receipt.get("recordings") or {}).get("root")
        if given is None or not Path(given).is_dir():
            raise InputError(
                f"{given or self.url}: expected the folder of the recordings, found none. Type "
                f"dawnchorus.open({self.url!r}, recordings='/folder/of/the/recordings')."
            )
        return Path(given)

    def _of(self, run: str, table: pd.DataFrame) -> pd.DataFrame:
        table.attrs["run"] = run
        return table


def open(lake: str | Path, recordings: str | Path | None = None) -> Lake:  # noqa: A001 (always written dawnchorus.open)
    """Open a lake for reading: its stores by name, tables of windows, and windows to see and hear.

    Parameters
    ----------
    lake
        The lake's folder, an fsspec URL such as ``s3://bucket/lake``, or a study's manifest.
    recordings
        The folder of the recordings, for sound; the one that the spectrograms were made from if left out.

    Returns
    -------
    Lake
        ``lake["run"]`` is a store as an xarray dataset; ``query``, ``similar``, ``events``, ``verdicts``, ``batches``
        and ``trace`` return tables, ``show``, ``listen`` and ``samples`` a window.

    Raises
    ------
    InputError
        If there is no lake; the message names one that is near.

    Examples
    --------
    >>> import dawnchorus
    >>> lake = dawnchorus.open("data/demo")
    >>> lake  # doctest: +ELLIPSIS
    dawnchorus.open('data/demo')
      spectrograms  mels
    ...
      detections    detections
    >>> lake.vectors["embedding"].dims
    ('recorder', 'time', 'feature')
    >>> table = lake.query("clusters", date="2021-06-22", hour="4-8", local=True)
    >>> near = lake.similar(table.iloc[0], n=3)
    >>> axes = lake.show(near.iloc[0])
    >>> player = lake.listen(near.iloc[0])
    """
    if str(lake).endswith(".toml"):
        manifest = read_manifest(Path(lake))
        run = next(iter(manifest.runs.values()), None)
        if run is None:
            raise InputError(f"{lake}: expected a manifest with runs, found none.")
        if recordings is None and run.recordings is not None:
            recordings = run.recordings.root
        lake = run.lake.storage.url
    url = str(lake)
    if not Folders(url).storage.exists("ledgers"):
        raise InputError(_no_lake(url))
    return Lake(url, None if recordings is None else Path(recordings))


def _no_lake(url: str) -> str:
    """Return what to say where there is no lake, with those near by."""
    here = Path(url)
    known = sorted({str(path.parent) for path in [*here.glob("ledgers"), *here.glob("*/ledgers")]})
    if not here.is_dir():
        known = sorted({str(path.parent) for path in here.parent.glob("*/ledgers")})
    found = "a folder without `ledgers`" if here.is_dir() else "nothing"
    start = f"{url}: expected the folder of a lake, or a study's manifest; found {found}."
    return f"{start} Near by is {', '.join(known[:5])}: type dawnchorus.open({known[0]!r})." if known else start
