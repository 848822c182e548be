"""Finding windows in a store by what other stores of the lake know: local time, site, cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.chain import clusterings_of, made_by
from lake.constants import MS_PER_DAY, MS_PER_HOUR, OFFSET_UNKNOWN_S, STATUS_ARRAYS, UNTIMED
from lake.errors import InputError, UsageError
from lake.grid import iso
from lake.heard import speech_note
from lake.query.across import cells_of_speech, in_cube
from lake.query.naming import numbers_of
from lake.query.select import open_any, parse_dates, resolve_recorder, rows_of
from lake.read import Windows, grid_of, recorder_names, spans_there, values_at, windows_of
from lake.text import near_or_all, nearest_hint, resolve

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Wanted:
    """A selection of windows; an empty field selects all.

    Attributes
    ----------
    recorders, sites
        Names, and names of sites.
    clusters
        Numbers, or names that people gave.
    dates
        First and last day.
    hours
        From this hour of the day until before that one; ``(22, 4)`` is over midnight.
    is_local
        Whether days and hours are those of the recorder's place, or UTC.
    """

    recorders: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    clusters: tuple[int | str, ...] = ()
    dates: tuple[date, date] | None = None
    hours: tuple[int, int] | None = None
    is_local: bool = False


def parse_hours(text: str) -> tuple[int, int]:
    """Return the hours of ``5`` or ``5-8``.

    Raises
    ------
    UsageError
        If the text is neither.
    """
    first, _, last = text.partition("-")
    if not first.isdigit() or not (last.isdigit() or "-" not in text):
        raise UsageError(f"--hour {text!r}: expected an hour (5) or two joined by a dash (5-8, 22-4).")
    hours = int(first), int(last) if last else int(first) + 1
    if hours[0] > 23 or hours[1] > 24 or hours[0] == hours[1]:
        raise UsageError(f"--hour {text!r}: expected hours from 0 to 23, and 24 at most for the end.")
    return hours


def parse_wanted(
    recorders: Sequence[str] = (), sites: Sequence[str] = (), clusters: Sequence[int | str] = (),
    dates: str | None = None, hours: str | None = None, *, local: bool = False,
) -> Wanted:  # fmt: skip
    """Return which windows are wanted, with days and hours as people write them.

    Raises
    ------
    UsageError
        As :func:`lake.query.select.parse_dates` and :func:`parse_hours`.
    """
    days, of_day = parse_dates(dates) if dates else None, parse_hours(hours) if hours else None
    return Wanted(tuple(recorders), tuple(sites), tuple(map(number_or_name, clusters)), days, of_day, local)


def number_or_name(cluster: int | str) -> int | str:
    """Return a cluster as it is asked for: digits are a number, all else is a name."""
    return int(cluster) if isinstance(cluster, int) or cluster.isdecimal() else cluster


def ask(
    url: str, wanted: Wanted, *, cube: str | None = None, clusters: str | None = None, features: bool = False,
    sounds: Sequence[str] = (), say: Callable[[str], None] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return a table of the wanted windows of a store, as :func:`find` does.

    Of detections, windows that people marked as speech are left out.

    Parameters
    ----------
    url, wanted
        The store, and which windows.
    cube, clusters
        The cube and a clustering; without a name they are found in the lake of the store if they are needed.
    features
        Whether the embedding's features are columns.
    sounds
        Sounds whose scores are wanted, of detections: one row for each window and sound that has a score.
    say
        Called with a note where windows are left out.

    Raises
    ------
    UsageError
        If a clustering is needed, and the lake has none or several of the store; if sounds are wanted of another
        store than detections.
    StoreError, InputError
        As :func:`lake.query.select.open_any` and :func:`find`.
    """
    dataset = open_any(url, indexes=False)
    if sounds and "score" not in dataset:
        raise UsageError(f"--sound: {url} has no scores of sounds; name a store below `detections`.")
    needs_cube, needs_clusters = wanted.is_local or bool(wanted.sites), bool(wanted.clusters)
    if clusters is None and needs_clusters and "cluster" not in dataset:
        clusters = _only_clustering(url)
    opened = open_any(cube, indexes=False) if cube else _cube_of(url, dataset) if needs_cube else None
    found = find(dataset, wanted, cube=opened, clusters=open_any(clusters) if clusters else None, features=features)
    if "score" not in dataset:
        return found
    open_to_all = _without_speech(url, dataset, found, say)
    return with_scores(dataset, open_to_all, sounds) if sounds else open_to_all


def number_of_sound(dataset: xr.Dataset, sound: str) -> int:
    """Return the place of a sound in a store of detections; ``InputError`` if it is not there, or has no detector."""
    url, known = dataset.encoding.get("source"), [str(name) for name in np.asarray(dataset["sound"])]
    found = resolve(sound, known)
    if found is None:
        raise InputError(f"sound {sound!r} is not in {url}; {near_or_all(sound, known)}.")
    return known.index(found)


def with_scores(dataset: xr.Dataset, table: pd.DataFrame, sounds: Sequence[str]) -> pd.DataFrame:
    """Return a table of windows with what the detectors of sounds say: one row for each window and sound.

    Parameters
    ----------
    dataset
        Detections.
    table
        Windows, with the columns recorder and time.
    sounds
        Names; windows without a score have no row.

    Raises
    ------
    InputError
        If the store has no such sound, or the sound no detector.
    """
    windows, parts = _windows_in(dataset, table), []
    for sound in dict.fromkeys(sounds):
        of_sound = dataset.isel(sound=number_of_sound(dataset, sound))
        values = {
            name: values_at(of_sound, name, windows.recorder, windows.cell).astype(np.float64)
            for name in ("score", "probability")
        }
        part = table.copy()
        part.insert(2, "sound", sound)
        part.insert(3, "score", values["score"])
        part.insert(4, "probability", values["probability"])
        parts.append(part[np.isfinite(values["score"])])
        if len(table) and parts[-1].empty:
            raise InputError(
                f"{dataset.encoding.get('source')}: sound {sound!r} has no score in these windows. If it has no "
                "detector, hear more windows of it: `dawnchorus review`."
            )
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def _without_speech(
    url: str, dataset: xr.Dataset, table: pd.DataFrame, say: Callable[[str], None] | None
) -> pd.DataFrame:
    """Return the windows that share no time with what people marked as speech; say how many do."""
    grid, windows = grid_of(dataset), _windows_in(dataset, table)
    speech = cells_of_speech(url, dataset).astype(np.int64)
    keys = windows.recorder.astype(np.int64) * grid.n_cells + windows.cell
    withheld = np.isin(keys, speech["i_recorder"] * grid.n_cells + speech["cell"])
    if withheld.any() and say is not None:
        say(speech_note(int(withheld.sum())))
    return table[~withheld].reset_index(drop=True)


def _windows_in(dataset: xr.Dataset, table: pd.DataFrame) -> Windows:
    """Return the windows of the rows of a table, by recorder and time."""
    grid, instants_ms = grid_of(dataset), table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    return windows_of(dataset, table["recorder"], (instants_ms - grid.origin_ms) // grid.hop_ms)


def _cube_of(url: str, dataset: xr.Dataset) -> xr.Dataset | None:
    if "spectrogram" in dataset:
        return dataset
    found = made_by(url).nearest("spectrograms")
    return open_any(found.output.url, indexes=False) if found else None


def _only_clustering(url: str) -> str:
    made = made_by(url)
    names = clusterings_of(made)
    if len(names) != 1:
        raise UsageError(f"{url}: name one of its clusterings with --clusters; it has {', '.join(names) or 'none'}.")
    return made.lake.output("clusters", names[0]).url


def find(
    dataset: xr.Dataset,
    wanted: Wanted,
    *,
    cube: xr.Dataset | None = None,
    clusters: xr.Dataset | None = None,
    features: bool = False,
) -> pd.DataFrame:
    """Return a table of the wanted windows.

    Parameters
    ----------
    dataset
        A store that was opened as numbers (:func:`lake.query.select.open_any`).
    wanted
        Which windows.
    cube
        The cube that they were made from: needed for local time and sites; adds the columns ``time_local`` and
        ``site``.
    clusters
        A clustering of them: needed for clusters; adds the column ``cluster``.
    features
        Whether the embedding's features are columns, ``f0`` and up.

    Returns
    -------
    pandas.DataFrame
        One row a window, by recorder as asked for and time; only the days that can match are read. Recorders
        whose recordings have no times have no part in days and hours.

    Raises
    ------
    InputError
        If the store lacks a recorder, a site or the name of a cluster is unknown, or a store that is needed is not
        given or has another grid.
    """
    if cube is None and (wanted.is_local or wanted.sites):
        raise InputError("local time and sites are in the cube of spectrograms; name it with --cube.")
    if wanted.clusters and clusters is None and "cluster" not in dataset:
        raise InputError("clusters are in a store below `clusters`; name one with --clusters.")
    if cube is not None:
        _require_same_recorders(dataset, cube)
    if clusters is not None:
        _require_same_grid(dataset, clusters)
    grid, known = grid_of(dataset), recorder_names(dataset)
    asked = [known.index(resolve_recorder(name, known)) for name in wanted.recorders]
    there = _there(dataset, list(dict.fromkeys(asked)) or range(len(known)), wanted)
    more: dict[str, NDArray[np.generic]] = {}
    local_ms = None
    keep = np.ones(len(there), dtype=np.bool_)
    if cube is not None:
        of_cube = in_cube(dataset, there, cube)
        local_ms = local_times_ms(cube, of_cube, grid.origin_ms + there.cell * grid.hop_ms)
        sites = _sites(cube, of_cube, wanted)
        more |= {"time_local": local_ms.astype("datetime64[ms]"), "site": sites}
        same = [resolve(site, set(sites.astype(str))) or "" for site in wanted.sites]
        keep &= np.isin(sites.astype(str), [site for site in same if site]) if wanted.sites else True
    keep &= _in_time(dataset, there.cell, local_ms, wanted)
    labelled = dataset if "cluster" in dataset else clusters
    if labelled is not None:
        numbers = reached(labelled, "cluster", there, -1)
        more |= {"cluster": numbers} if labelled is clusters else {}
        keep &= np.isin(numbers, numbers_of(labelled, wanted.clusters)) if wanted.clusters else True
    table = rows_of(dataset, there.take(np.flatnonzero(keep)), features=features)
    for place, (column, values) in enumerate(more.items(), start=2):
        table.insert(place, column, values[keep])
    return table


def extent(dataset: xr.Dataset) -> str:
    """Return, for a message, how many windows a store has, of which recorders, and from when to when."""
    names = recorder_names(dataset)
    there = _there(dataset, range(len(names)), Wanted())
    if not len(there):
        return "the store has no windows"
    grid, of = grid_of(dataset), [names[i] for i in np.unique(there.recorder)]
    span = f"{iso(grid.start_ms(int(there.cell.min())))} to {iso(grid.start_ms(int(there.cell.max())))}"
    clusters = f" in clusters 0 to {dataset.sizes['cluster_id'] - 1}" if "cluster_id" in dataset.sizes else ""
    return f"the store has {len(there)} windows of {', '.join(of)} from {span}{clusters}"


def _require_same_grid(dataset: xr.Dataset, other: xr.Dataset) -> None:
    if not grid_of(dataset).has_cells_of(grid_of(other)):
        raise InputError(
            f"{dataset.encoding.get('source')} and {other.encoding.get('source')} have other time grids "
            f"({grid_of(dataset).attrs}, {grid_of(other).attrs}); name the store that it was made from."
        )
    _require_same_recorders(dataset, other)


def _require_same_recorders(dataset: xr.Dataset, other: xr.Dataset) -> None:
    mine, theirs = (recorder_names(one) for one in (dataset, other))
    if any(a != b for a, b in zip(mine, theirs, strict=False)):
        raise InputError(f"{other.encoding.get('source')} has other recorders; name the store that it was made from.")


def _there(dataset: xr.Dataset, recorders: Sequence[int], wanted: Wanted) -> Windows:
    """Return the windows of some recorders, in their order, that are not missing, within the days that can match."""
    grid, names = grid_of(dataset), recorder_names(dataset)
    begin, end = 0, grid.n_cells
    if wanted.dates:
        margin = 1 if wanted.is_local else 0
        days = [(day - EPOCH).days - grid.origin_ms // MS_PER_DAY for day in wanted.dates]
        begin, end = (days[0] - margin) * grid.cells_per_day, (days[1] + 1 + margin) * grid.cells_per_day
    has_no_part = [name.startswith(UNTIMED) and bool(wanted.dates or wanted.hours) for name in names]
    status = next(key for key in STATUS_ARRAYS if key in dataset)
    cells: dict[int, list[NDArray[np.int64]]] = {i: [] for i in recorders if not has_no_part[i]}
    for i, first, last in spans_there(dataset):
        low, high = max(first, begin), min(last, end)
        if i in cells and low < high:
            found = np.flatnonzero(np.asarray(dataset.variables[status][i, low:high]) > 0) + low
            cells[i].append(found.astype(np.int64))
    each = {i: np.concatenate([np.empty(0, dtype=np.int64), *found]) for i, found in cells.items()}
    numbers = np.repeat(np.array(list(each), dtype=np.int32), [len(found) for found in each.values()])
    return Windows(numbers, np.concatenate([np.empty(0, dtype=np.int64), *each.values()]))


def _in_time(
    dataset: xr.Dataset, cells: NDArray[np.int64], local_ms: NDArray[np.int64] | None, wanted: Wanted
) -> NDArray[np.bool_]:
    grid = grid_of(dataset)
    instant_ms = grid.origin_ms + cells * grid.hop_ms if local_ms is None or not wanted.is_local else local_ms
    return is_wanted_time(instant_ms.astype("datetime64[ms]"), wanted)


def is_wanted_time(times: NDArray[np.datetime64], wanted: Wanted) -> NDArray[np.bool_]:
    """Return whether times, datetime64[ms] on the clock that is meant, are on the wanted days and hours; shape (n,).

    A time that is not known is on none.
    """
    instant_ms, keep = times.astype(np.int64), np.ones(len(times), dtype=np.bool_)
    if wanted.dates or wanted.hours:
        keep &= ~np.isnat(times)
    if wanted.dates:
        day = instant_ms // MS_PER_DAY
        keep &= (day >= (wanted.dates[0] - EPOCH).days) & (day <= (wanted.dates[1] - EPOCH).days)
    if wanted.hours:
        hour = instant_ms % MS_PER_DAY // MS_PER_HOUR
        begin, end = wanted.hours
        after, before = hour >= begin, hour < end
        keep &= (after & before) if begin < end else (after | before)
    return keep


def reached(dataset: xr.Dataset, name: str, windows: Windows, fill: float) -> NDArray[Any]:
    """Return an index variable of windows, shape (n_windows,); the fill value where the store does not reach them.

    Whole numbers are int64, as the fill value is.
    """
    values = values_at(dataset, name, windows.recorder, windows.cell, fill)
    return values.astype(np.int64 if isinstance(fill, int) else np.float64)


def local_times_ms(cube: xr.Dataset, windows: Windows, instant_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return instants in the local time of a cube's windows; as an unknown datetime64 where it is not known.

    All are milliseconds since 1970, shape (n_windows,).
    """
    offset_s = reached(cube, "utc_offset_s", windows, OFFSET_UNKNOWN_S)
    return np.where(offset_s == OFFSET_UNKNOWN_S, np.iinfo(np.int64).min, instant_ms + offset_s * 1000)


def _sites(cube: xr.Dataset, windows: Windows, wanted: Wanted) -> NDArray[np.object_]:
    names = np.array([*(str(site) for site in np.asarray(cube.variables["site"])), ""], dtype=object)
    known = sorted({str(name) for name in names[:-1]} - {""})
    unknown = [site for site in wanted.sites if resolve(site, known) is None]
    if unknown:
        raise InputError(
            f"site {unknown[0]!r} is not in the cube; it has {', '.join(known) or 'none'}."
            f"{nearest_hint(unknown[0], known)}"
        )
    return np.asarray(names[reached(cube, "deployment", windows, -1)], dtype=object)
