"""A page of windows that a search found: pictures, players, and where each stands."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from jobs.common.pages.pictures import bands_that_count, level_histogram, level_range, picture
from jobs.common.pages.places import Place, places
from jobs.common.pages.render import SCRIPT_KEYS, STYLE_KEYS, environment, package_files, shared_files
from jobs.common.pages.scale import Scale, scale_of
from jobs.common.progress import progress
from jobs.common.run import Recordings
from lake.chain import Made, made_by
from lake.errors import InputError
from lake.grid import Grid
from lake.query.across import ReadSpans, cells_of_speech, in_cube, offsets_of, open_spans, starts_of
from lake.query.select import open_any
from lake.read import grid_of, recorder_names, windows_of
from lake.shards import open_codes
from lake.threads import in_threads

PICTURE_PX = (480, 320)
PICTURE_QUALITY = 60
PERCENTILES = (10.0, 99.9)
"""Of the levels of the windows shown: those of the darkest and the brightest colour."""
N_FOR_LEVELS = 200
N_AT_ONCE = 8
OWN_STYLE, OWN_SCRIPT = "hits.css", "hits.js"


@dataclass(frozen=True)
class Page:
    """A page: its files by key, and what is to be said of it."""

    files: dict[str, bytes]
    notes: Sequence[str]


@dataclass(frozen=True)
class Hit:
    """A window on the page.

    Attributes
    ----------
    number
        Its rank; 0 is the window that was searched for.
    facts
        Its row of the table.
    place, start_ms
        Its place in the cube, and its start, milliseconds since 1970.
    """

    number: int
    facts: dict[Hashable, Any]
    place: Place
    start_ms: int

    @property
    def cluster(self) -> int | None:
        """Its cluster, where that is known."""
        number = self.facts.get("cluster")
        return None if number is None or pd.isna(number) else int(number)

    def key(self, folder: str, suffix: str) -> str:
        """Return the key of one of its files."""
        return f"{folder}/{self.number:05d}{suffix}"


@dataclass(frozen=True)
class _Cube:
    """The cube that windows were made from, and how their codes and sounds are read."""

    made: Made
    dataset: xr.Dataset
    store: xr.Dataset

    @property
    def grid(self) -> Grid:
        return grid_of(self.store)

    @property
    def is_own_grid(self) -> bool:
        return self.grid.has_cells_of(grid_of(self.dataset)) and offsets_of(self.store) is None

    def read(self) -> ReadSpans:
        """Return what reads the codes of windows, from recorder numbers and starts."""
        if not self.is_own_grid:
            return open_spans(self.made.output.url, self.grid.window_ms)
        codes, grid = open_codes(self.made.output.url), self.grid
        return lambda rows, start_ms: codes(rows, (np.asarray(start_ms) - grid.origin_ms) // grid.hop_ms)

    def cutter(self, root: Path | None) -> Callable[[str, int], Any] | None:
        """Return what cuts the sound of a window out of the recordings; ``None`` where they are not at hand."""
        from jobs.common.pages.clips import cutter  # noqa: PLC0415 (decoders are loaded only where sound is cut)

        facts = self.made.receipt.get("recordings")
        if not facts:
            return None
        recordings = Recordings(Path(facts["table"]), Path(facts["root"]))
        return cutter(recordings if root is None else replace(recordings, root=root), self.dataset, self.grid.window_ms)


def hits_page(
    stem: str, table: pd.DataFrame, url: str, *, title: str, example: pd.DataFrame | None = None,
    root: Path | None = None, workers: int = 2,
) -> Page:  # fmt: skip
    """Return the page of windows that were found: ``<stem>.html``, and the folder ``<stem>_files`` next to it.

    Parameters
    ----------
    stem
        Name of the page's file without its suffix.
    table
        The windows, with their places (:func:`lake.query.places.with_places`), in the order in which they are shown.
    url
        Their store, inside its lake.
    title
        What was searched for.
    example
        The window that was searched for, a row with its place; it stands first, and is not shown if it is speech.
    root
        Folder of the recordings, if they are no longer where the cube's receipt says.
    workers
        Threads that draw and cut.

    Raises
    ------
    InputError
        If no cube is known that the windows were made from.
    """
    cube, rows = _cube_of(url), table.to_dict("records")
    if example is not None:
        rows = [*example.to_dict("records"), *rows]
    hits = _hits(rows, cube, first=1 if example is None else 0)
    if example is not None and _is_speech(url, cube, hits[0]):
        del hits[0]
    read, cut, folder = cube.read(), cube.cutter(root), f"{stem}_files"
    scale, gains = _scale(hits, read, cube), dict[int, float]()
    texts = {**dict(shared_files()), **dict(package_files("jobs.common.pages", (OWN_STYLE, OWN_SCRIPT)))}
    files = {f"{folder}/{key}": text.encode() for key, text in texts.items()}

    def some(first: int) -> list[tuple[Hit, bytes, Any]]:
        here = hits[first : first + N_AT_ONCE]
        codes = read(np.array([hit.place.cube_row for hit in here]), np.array([hit.start_ms for hit in here]))
        return [
            (hit, _picture(window, scale), None if cut is None else cut(hit.place.recorder, hit.start_ms))
            for hit, window in zip(here, codes, strict=True)
        ]

    with progress("page", len(hits), "windows") as advance:
        for batch in in_threads(some, range(0, len(hits), N_AT_ONCE), workers):
            for hit, drawn, clip in batch:
                files[hit.key(folder, ".webp")] = drawn
                if clip is not None:
                    files[hit.key(folder, ".ogg")], gains[hit.number] = clip.data, clip.gain_db
            advance(len(batch))
    notes = _notes(len(hits), len(gains), is_at_hand=cut is not None)
    page = _environment(folder).get_template("hits.html.j2")
    text = page.render(title=title, scale=scale, hits=hits, gains=gains, folder=folder, notes=notes)
    return Page({f"{stem}.html": text.encode(), **files}, notes)


def _cube_of(url: str) -> _Cube:
    try:
        made = made_by(url).nearest("spectrograms")
    except InputError:
        made = None
    if made is None or not made.output.exists("zarr.json"):
        raise InputError(
            f"{url}: expected vectors whose cube of spectrograms is known, for the pictures of a page; found none. "
            "Name the store inside its lake, or a .csv file with --out."
        )
    return _Cube(made, open_any(made.output.url), open_any(url))


def _hits(rows: Sequence[dict[Hashable, Any]], cube: _Cube, *, first: int) -> list[Hit]:
    """Return windows with their places."""
    grid = cube.grid
    times = np.array([row["time"] for row in rows], dtype="datetime64[ms]").astype(np.int64)
    windows = windows_of(cube.store, [str(row["recorder"]) for row in rows], (times - grid.origin_ms) // grid.hop_ms)
    starts_ms, mine = starts_of(cube.store, windows).tolist(), in_cube(cube.store, windows, cube.dataset)
    found = places(cube.dataset, cube.made.output.url, mine.recorder.astype(np.int64), mine.cell.astype(np.int64))
    each = zip(rows, found, starts_ms, strict=True)
    return [Hit(number, row, place, start_ms) for number, (row, place, start_ms) in enumerate(each, first)]


def _is_speech(url: str, cube: _Cube, hit: Hit) -> bool:
    """Return whether a window shares time with what people marked as speech."""
    speech = cells_of_speech(url, cube.store)
    time_ms = int(np.datetime64(hit.facts["time"], "ms").astype(np.int64))
    cell = (time_ms - cube.grid.origin_ms) // cube.grid.hop_ms
    row = recorder_names(cube.store).index(hit.place.recorder)
    return bool(((speech["i_recorder"] == row) & (speech["cell"] == cell)).any())


def _scale(hits: Sequence[Hit], read: ReadSpans, cube: _Cube) -> Scale:
    """Return the scale of all pictures: the range of levels is that of a sample of the windows."""
    mel_hz = np.asarray(cube.dataset["mel"].to_numpy(), dtype=np.float64)
    bands, histogram = bands_that_count(mel_hz), np.zeros(256, dtype=np.int64)
    for i in np.unique(np.linspace(0, len(hits) - 1, N_FOR_LEVELS).astype(int)) if hits else []:
        codes = read(np.array([hits[i].place.cube_row]), np.array([hits[i].start_ms]))
        histogram += level_histogram(codes[0][bands])
    return scale_of(mel_hz, cube.grid.window_ms / 1000, level_range(histogram, PERCENTILES), PICTURE_PX)


def _picture(codes: NDArray[np.uint8], scale: Scale) -> bytes:
    width, height = scale.size_px
    return picture(codes, scale.level_range_db, width_px=width, height_px=height, quality=PICTURE_QUALITY)


def _notes(n: int, n_with_sound: int, *, is_at_hand: bool) -> list[str]:
    """Return why windows have no sound."""
    if n_with_sound == n:
        return []
    if not is_at_hand:
        return [
            "there is no sound: the recordings are not where the cube's receipt says; name their folder with --root."
        ]
    return [f"{n - n_with_sound} of {n} windows have no sound: their recordings are not at hand, or cannot be read."]


@cache
def _environment(folder: str) -> jinja2.Environment:
    keys = ((*STYLE_KEYS, OWN_STYLE), (*SCRIPT_KEYS, OWN_SCRIPT))
    made = environment("jobs.common.pages")
    made.globals.update(
        {
            name: [f"{folder}/{key}" for key in each]
            for name, each in zip(("style_keys", "script_keys"), keys, strict=True)
        }
    )
    return made
