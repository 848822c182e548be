"""The page of a batch: a folder that opens from disk, asks for verdicts, and keeps them in the browser."""

import secrets
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.common.pages.axes import linear_ticks
from jobs.common.pages.pictures import bands_that_count, level_histogram, level_range, picture
from jobs.common.pages.places import Place, places
from jobs.common.pages.render import environment, package_files, script, shared_files
from jobs.common.pages.scale import Scale, scale_of
from jobs.common.pages.words import local, utc
from jobs.common.progress import progress
from jobs.common.run import listed
from jobs.review.pictures import SIDE_SHARE, steps_aside, with_sides
from jobs.review.windows import Windows
from lake.errors import InputError
from lake.grid import iso
from lake.heard import windows_of_speech
from lake.shards import ReadCodes, open_codes
from lake.threads import in_threads
from lake.verdicts import read_verdicts

PICTURE_PX = (480, 320)
"""Of a window; what is beside it comes on top."""
PICTURE_QUALITY = 60
SOUND_COMPRESSION = 0.65
"""1,000 windows of 6 s at 48 kHz then take less than 80 MB, white noise too, at 60 to 75 kbit/s."""
PERCENTILES = (10.0, 99.9)
"""Of the levels of the windows shown: those of the darkest and the brightest colour."""
N_FOR_LEVELS = 200
N_AT_ONCE = 8
STYLE_KEY = "review.css"
SCRIPT_KEYS = ("store.js", "verdicts.js", "asking.js", "window.js", "grid.js", "review.js", "controls.js")
DATA_KEY = "data.js"


@dataclass(frozen=True)
class Written:
    """What :func:`write_page` wrote: windows, those with sound, bytes, and what a reader of the page should know."""

    n_windows: int
    n_with_sound: int
    n_bytes: int
    notes: Sequence[str]


def write_page(
    folder: Path,
    *,
    batch_id: str,
    sounds: Sequence[str],
    rows: pd.DataFrame,
    windows: Windows,
    known: Sequence[str],
    every_sound: bool = False,
    neighbours: bool = True,
    audio: bool = True,
    workers: int = 1,
) -> Written:
    """Write the page of a batch into a fresh folder.

    Parameters
    ----------
    folder
        Where it is to stand; it must not be there yet, or be empty. It is there as a whole or not at all.
    batch_id
        The batch, under which the browser keeps verdicts.
    sounds, known
        The sounds that are asked about, and all sounds of the study.
    rows
        The windows: ``draw`` (the order in which they are shown), ``recorder``, ``time_utc``, ``duration_s``, and
        maybe ``score`` and ``proposal``, which the page shows only to those who ask.
    windows
        The study's; its run says where the recordings are.
    every_sound
        Whether each window is to be answered for every sound, in drawn order.
    neighbours
        Whether the time before and after a window is shown.
    audio
        Whether sound is cut out of the recordings where they are at hand.
    workers
        Threads.

    Raises
    ------
    InputError
        If there are no windows or sounds, the folder holds something, or with all windows that do not exist.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: expected no folder, or an empty one, for the page; found something. Name another.")
    if rows.empty or not sounds:
        raise InputError(f"{batch_id}: expected windows and sounds to ask about, found none.")
    table = rows.sort_values("draw", kind="stable", ignore_index=True)
    speech = windows_of_speech(read_verdicts(windows.run.lake), windows.grid, windows.recorders)
    withheld = set(zip(speech["i_recorder"].tolist(), speech["cell"].tolist(), strict=True))
    shown = _places(table, windows)
    is_open = [(place.cube_row, place.cell) not in withheld for place in shown]
    table, shown = table[is_open], [place for place, yes in zip(shown, is_open, strict=True) if yes]
    if not shown:
        raise InputError(f"{batch_id}: expected windows to show; all {len(is_open)} were marked as speech.")
    media = _Media(windows, open_codes(windows.run.output.url), neighbours=neighbours, withheld=withheld)
    cut_window, notes = _cutter(windows, audio=audio)
    if len(shown) < len(is_open):
        notes.append(f"{len(is_open) - len(shown)} windows are left out: they were marked as speech.")
    scale = media.scale(shown)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    aside.mkdir()
    try:
        draws = table["draw"].tolist()
        gains = _write_media(aside, draws, shown, media=media, scale=scale, cut_window=cut_window, workers=workers)
        if cut_window is not None and not all(gain is not None for gain in gains):
            n_silent = sum(gain is None for gain in gains)
            notes.append(f"{n_silent} windows have no sound: their recordings are not at hand, or cannot be read.")
        data = {
            "batch": batch_id, "sounds": list(sounds), "known": list(known), "every_sound": every_sound,
            "window_s": scale.window_s, "highest_khz": round(scale.band_hz[1] / 1000, 1), "notes": notes,
            "windows": [
                _facts(row, place, gain, windows)
                for row, place, gain in zip(table.to_dict("records"), shown, gains, strict=True)
            ],
        }  # fmt: skip
        for key, text in _texts(batch_id, scale, data, neighbours=neighbours):
            (aside / key).write_text(text, encoding="utf-8")
        n_bytes = sum(path.stat().st_size for path in aside.rglob("*") if path.is_file())
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Written(len(shown), sum(gain is not None for gain in gains), n_bytes, notes)


def picture_key(draw: int) -> str:
    """Return the file of a window's picture."""
    return f"pictures/{draw:05d}.webp"


def sound_key(draw: int) -> str:
    """Return the file of a window's sound."""
    return f"sounds/{draw:05d}.ogg"


def _places(table: pd.DataFrame, windows: Windows) -> list[Place]:
    """Return where and when the windows were recorded."""
    problems, at = [], []
    for row in table.itertuples(index=False):
        start_ms = int(pd.Timestamp(str(row.time_utc)).value) // 10**6
        try:
            recorder = windows.recorder_of(str(row.recorder))
            at.append((windows.recorders.index(recorder), windows.cell_of(recorder, start_ms)))
            if round(float(str(row.duration_s)) * 1000) != windows.grid.window_ms:
                length_s = windows.grid.window_ms / 1000
                problems.append(f"draw {row.draw}: expected a window of {length_s:g} s, found {row.duration_s} s")
        except ValueError as error:
            problems.append(f"draw {row.draw}: {error}")
    if problems:
        raise InputError(
            f"{len(problems)} windows are not in {windows.run.output.url}:\n" + listed([f"  {one}" for one in problems])
        )
    row, cell = np.array(at, dtype=np.int64).T
    return places(windows.cube, windows.run.output.url, row, cell)


def _cutter(windows: Windows, *, audio: bool) -> tuple[Callable[[str, int], Any] | None, list[str]]:
    """Return what cuts the sound of a window, ``None`` without recordings, and notes."""
    if not audio:
        return None, ["Sound was left out on purpose."]
    from jobs.common.pages.clips import cutter  # noqa: PLC0415 (decoders are loaded only where sound is cut)

    found = cutter(windows.run.recordings, windows.cube, windows.grid.window_ms, SOUND_COMPRESSION)
    return found, [] if found else ["There is no sound: the recordings were not at hand when this page was made."]


class _Media:
    """The codes of windows and of what is beside them."""

    def __init__(
        self, windows: Windows, read_codes: ReadCodes, *, neighbours: bool, withheld: Set[tuple[int, int]]
    ) -> None:
        self.windows, self.read_codes, self.neighbours, self.withheld = windows, read_codes, neighbours, withheld

    def scale(self, shown: Sequence[Place]) -> Scale:
        """Return the scale of all pictures: the range of levels is that of a sample of the windows."""
        mel_hz = np.asarray(self.windows.cube["mel"].to_numpy(), dtype=np.float64)
        bands, histogram = bands_that_count(mel_hz), np.zeros(256, dtype=np.int64)
        sample = [shown[i] for i in np.unique(np.linspace(0, len(shown) - 1, N_FOR_LEVELS).astype(int))]
        for place in sample:
            histogram += level_histogram(self.read_codes([place.cube_row], [place.cell])[0][bands])
        range_db = level_range(histogram, PERCENTILES)
        wide = (1 + 2 * SIDE_SHARE) if self.neighbours else 1
        size_px = (round(PICTURE_PX[0] * wide), PICTURE_PX[1])
        return scale_of(mel_hz, self.windows.grid.window_ms / 1000, range_db, size_px)

    def codes(self, shown: Sequence[Place]) -> Iterator[NDArray[np.uint8]]:
        """Yield the codes of windows, with what is beside them."""
        if not self.neighbours:
            yield from self.read_codes([place.cube_row for place in shown], [place.cell for place in shown])
            return
        step = steps_aside(self.windows.grid)
        for place in shown:
            usable = self.windows.usable(place.cube_row)
            beside = [
                cell
                for cell in (place.cell - step, place.cell + step)
                if _has(usable, cell) and (place.cube_row, cell) not in self.withheld
            ]
            cells = [place.cell, *beside]
            found = dict(zip(cells, self.read_codes([place.cube_row] * len(cells), cells), strict=True))
            before, after = found.get(place.cell - step), found.get(place.cell + step)
            yield with_sides(found[place.cell], before, after, self.windows.grid)


def _has(cells: NDArray[np.int64], cell: int) -> bool:
    at = int(np.searchsorted(cells, cell))
    return at < len(cells) and int(cells[at]) == cell


def _write_media(
    folder: Path,
    draws: Sequence[int],
    shown: Sequence[Place],
    *,
    media: _Media,
    scale: Scale,
    cut_window: Callable[[str, int], Any] | None,
    workers: int,
) -> list[float | None]:
    """Write pictures and sounds; return the gain of each sound in dB, ``None`` without one."""
    (folder / "pictures").mkdir()
    if cut_window is not None:
        (folder / "sounds").mkdir()

    def some(first: int) -> list[float | None]:
        gains: list[float | None] = []
        here = slice(first, first + N_AT_ONCE)
        for draw, place, codes in zip(draws[here], shown[here], media.codes(shown[here]), strict=True):
            width, height = scale.size_px
            data = picture(codes, scale.level_range_db, width_px=width, height_px=height, quality=PICTURE_QUALITY)
            (folder / picture_key(draw)).write_bytes(data)
            clip = cut_window(place.recorder, place.start_ms) if cut_window is not None else None
            if clip is not None:
                (folder / sound_key(draw)).write_bytes(clip.data)
            gains.append(None if clip is None else clip.gain_db)
        return gains

    found: list[float | None] = []
    with progress("review page", len(shown), "windows") as advance:
        for gains in in_threads(some, range(0, len(shown), N_AT_ONCE), workers):
            found += gains
            advance(len(gains))
    return found


def _facts(row: Mapping[Hashable, Any], place: Place, gain_db: float | None, windows: Windows) -> dict[str, Any]:
    """Return what the page says of a window."""
    when = "" if not place.time_is_real else utc(place.start_ms)
    score = row.get("score")
    return {
        "draw": int(row["draw"]), "recorder": place.recorder, "time_utc": iso(place.start_ms),
        "duration_s": windows.grid.window_ms / 1000, "digest": windows.digest_of(place.recorder, place.cell),
        "site": place.site, "utc": when,
        "local": local(place.start_ms, place.offset_s) if when and place.offset_s is not None else "",
        "recording": place.recording, "recording_offset_s": round(place.recording_offset_s, 3),
        "is_partial": place.is_partial, "picture": picture_key(int(row["draw"])),
        "sound": None if gain_db is None else sound_key(int(row["draw"])), "gain_db": gain_db,
        "score": None if score is None or pd.isna(score) else float(score),
        "proposal": "" if pd.isna(row.get("proposal", "")) else str(row.get("proposal", "")),
    }  # fmt: skip


def _texts(batch_id: str, scale: Scale, data: dict[str, Any], *, neighbours: bool) -> Iterator[tuple[str, str]]:
    """Yield key and text of every file but pictures and sounds."""
    yield from shared_files()
    yield from package_files("jobs.review", (STYLE_KEY, *SCRIPT_KEYS))
    yield DATA_KEY, script("reviewData", data)
    side_s = SIDE_SHARE * scale.window_s if neighbours else 0.0
    ticks = linear_ticks(-side_s, scale.window_s + side_s, 12)
    whole_s = scale.window_s + 2 * side_s
    page = _environment().get_template("review.html.j2")
    yield (
        "index.html",
        page.render(title=f"Review {batch_id}", scale=scale, ticks=ticks, side=side_s / whole_s, side_s=side_s),
    )


@cache
def _environment() -> jinja2.Environment:
    return environment("jobs.review", style_keys=[STYLE_KEY], script_keys=[*SCRIPT_KEYS, DATA_KEY])
