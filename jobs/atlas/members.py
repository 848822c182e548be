"""Every window of the clusters as compact columns: when and where it was recorded, in which second of which file."""

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.atlas.config import Config
from jobs.atlas.facts import Members, Sources
from jobs.atlas.study import Stores
from jobs.atlas.windows import Table
from jobs.common.pages.playable import why_unplayable
from jobs.common.pages.render import script
from jobs.common.run import Run
from lake.query.places import RecordingsOf
from lake.read import Windows, paths_of, values_at
from lake.recordings import read_recordings

PER_SCRIPT = 1000
"""Recordings named in one script."""
IS_PARTIAL, IS_LOCAL = 1, 2
"""Bits of a window's flags: parts of it were not recorded; its local time is known."""


def members_of(run: Run[Config], stores: Stores, table: Table, withheld: NDArray[np.bool_], *, audio: bool) -> Members:
    """Return what the page says of every window that may be shown.

    Parameters
    ----------
    run, stores, table
        The atlas, its stores, and their windows.
    withheld
        Which windows are not shown, shape (n_windows,).
    audio
        Whether the page may play the recordings.
    """
    windows = Windows(table.recorder, table.cell)
    paths, recording, offset_ms = _recordings(stores, windows)
    sites = tuple(dict.fromkeys([*stores.texts("site"), ""]))
    site = np.array([sites.index(name) for name in [*stores.texts("site"), ""]])[table.deployment]
    shift_ms = stores.starts_ms(windows) - stores.grid.origin_ms - table.cell * stores.grid.hop_ms
    flags = IS_PARTIAL * table.is_partial.astype(np.int64) + IS_LOCAL * table.is_local
    columns: dict[str, NDArray[Any]] = {
        "recorder": table.recorder, "cell": table.cell, "shift_ms": shift_ms, "utc_offset_s": table.offset_s,
        "site": site, "recording": recording, "offset_ms": offset_ms, "distance": table.distance, "flags": flags,
    }  # fmt: skip
    return Members(columns, ~withheld, sites, sources_of(run, paths, audio=audio))


def sources_of(run: Run[Config], paths: Sequence[str], *, audio: bool) -> Sources:
    """Return where the page finds recordings, and what it cannot play as it is.

    The folder is relative to the page's, so that a study that is moved as a whole stays whole; empty where the page is
    in an object store or on another disk.
    """
    known: dict[str, Any] = {}
    if run.recordings is not None and run.recordings.table.is_file():
        table = read_recordings(run.recordings.table)
        columns = ("format", "sample_rate_hz", "problems", "duration_s")
        known = dict(zip(table["path"], zip(*(table[name].tolist() for name in columns), strict=True), strict=True))
    unplayable, expanded = {}, {}
    for i, path in enumerate(paths):
        form, rate, problems, duration_s = known.get(path, ("", None, "", None))
        is_expanded = "time_expanded" in str(problems).split(";")
        why = why_unplayable(path, str(form), int(rate) if isinstance(rate, int) and not is_expanded else None)
        if why:
            unplayable[i] = why
        elif is_expanded:
            expanded[i] = float(duration_s)
    return Sources(paths, _base(run) if audio else None, unplayable, expanded)


def _base(run: Run[Config]) -> str:
    if run.recordings is None or not run.output.is_local:
        return ""
    try:
        return os.path.relpath(run.recordings.root.absolute(), run.output.root).replace(os.sep, "/")
    except ValueError:  # another disk
        return ""


def member_scripts(members: Members, rows: Sequence[NDArray[np.intp]], ids: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield key and text of the scripts that hold the windows of each cluster, and the recordings' names.

    Parameters
    ----------
    members
        All windows.
    rows
        Those of each cluster, ascending.
    ids
        The clusters' numbers.
    """
    for number, mine in zip(ids, rows, strict=True):
        shown = mine[members.is_shown[mine]]
        columns = {name: values[shown] for name, values in members.columns.items()}
        yield members_key(number), members_script(number, columns)
    sources = members.sources
    for first in range(0, len(sources.paths), PER_SCRIPT):
        here = range(first, min(first + PER_SCRIPT, len(sources.paths)))
        found = {
            "script": first // PER_SCRIPT,
            "paths": [sources.paths[i] for i in here],
            "unplayable": {i - first: sources.unplayable[i] for i in here if i in sources.unplayable},
            "expanded": {i - first: sources.expanded[i] for i in here if i in sources.expanded},
        }
        yield f"recordings/{first // PER_SCRIPT}.js", script("atlasRecordings", found)


def members_key(page: int | str) -> str:
    """Return the file of the windows of a cluster, by its number, or of a sound, by its key."""
    return f"members/{page}.js"


def members_script(page: int | str, columns: Mapping[str, NDArray[Any]]) -> str:
    """Return the script that holds columns of windows, shape (n_windows,) each."""
    packed_columns = {name: packed(values) for name, values in columns.items()}
    n = len(next(iter(columns.values())))
    return script("atlasMembers", {"id": page, "n": n, "columns": packed_columns})


def packed(values: NDArray[Any]) -> dict[str, Any]:
    """Return numbers as a page unpacks them.

    Parameters
    ----------
    values
        Integers below 2^53, or floating-point numbers that become float32, shape (n,).

    Returns
    -------
    dict
        ``data``: base64 of the little-endian numbers, less ``least``, of the smallest ``type`` that holds them
        (``u1``, ``u2``, ``u4``, ``f8``; ``f4`` of floating-point numbers; empty where all are the same).

    Examples
    --------
    >>> packed(np.array([7, 7])), packed(np.array([-1, 3]))
    ({'type': '', 'least': 7, 'data': ''}, {'type': 'u1', 'least': -1, 'data': 'AAQ='})
    """
    if np.issubdtype(values.dtype, np.floating):
        return {"type": "f4", "least": 0, "data": _base64(values.astype("<f4"))}
    whole = values.astype(np.int64)
    least = int(whole.min()) if len(whole) else 0
    most = int(whole.max()) - least if len(whole) else 0
    if most == 0:
        return {"type": "", "least": least, "data": ""}
    kind = next((kind for kind, limit in (("u1", 2**8), ("u2", 2**16), ("u4", 2**32)) if most < limit), "f8")
    return {"type": kind, "least": least, "data": _base64((whole - least).astype(f"<{kind}"))}


def _base64(values: NDArray[Any]) -> str:
    return b64encode(values.tobytes()).decode("ascii")


def _recordings(stores: Stores, windows: Windows) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    """Return paths, and for each window the number of its path, -1 without one, and its start in it in milliseconds."""
    if stores.is_of_cube:
        of_cube = stores.in_cube(windows)
        row = values_at(stores.cube, "recording", of_cube.recorder, of_cube.cell).astype(np.int64)
        offset_s = values_at(stores.cube, "offset_s", of_cube.recorder, of_cube.cell)
        used = np.unique(row[row >= 0])
        number = np.where(row >= 0, np.searchsorted(used, row), -1)
        return tuple(paths_of(stores.cube, used)), number, _milliseconds(offset_s)
    recordings = {i: RecordingsOf(stores.cube, stores.recorders[i]) for i in np.unique(windows.recorder).tolist()}
    start_ms = stores.starts_ms(windows).tolist()
    found = [
        recordings[i].first_piece(begin, begin + stores.grid.window_ms)[:2]
        for i, begin in zip(windows.recorder.tolist(), start_ms, strict=True)
    ]
    paths = sorted({path for path, _ in found if path})
    places = {path: i for i, path in enumerate(paths)} | {"": -1}
    return tuple(paths), np.array([places[path] for path, _ in found]), _milliseconds(np.array([s for _, s in found]))


def _milliseconds(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(1000 * np.nan_to_num(seconds)).astype(np.int64)
