"""The page of a batch: a folder that opens from disk, asks for verdicts, and keeps them in the browser."""

import secrets
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from jobs.common.pages.axes import linear_ticks
from jobs.common.pages.pictures import picture
from jobs.common.pages.places import Place, places
from jobs.common.pages.render import environment, package_files, script, shared_files
from jobs.common.pages.scale import Scale
from jobs.common.pages.words import local, utc
from jobs.common.progress import progress
from jobs.common.run import listed
from jobs.review.levels import Levels, open_levels
from jobs.review.pictures import SIDE_SHARE
from jobs.review.windows import Windows
from lake import read
from lake.errors import InputError
from lake.grid import iso
from lake.heard import windows_of_speech
from lake.query.across import in_cube
from lake.threads import in_threads
from lake.verdicts import read_verdicts

PICTURE_QUALITY = 60
SOUND_COMPRESSION = 0.65
"""1,000 windows of 6 s at 48 kHz then take less than 80 MB, white noise too, at 60 to 75 kbit/s."""
N_AT_ONCE = 8
STYLE_KEY = "review.css"
SCRIPT_KEYS = ("store.js", "verdicts.js", "asking.js", "window.js", "grid.js", "review.js", "controls.js")
DATA_KEY = "data.js"


@dataclass(frozen=True)
class Written:
    """The result of :func:`write_page`: windows, those with sound, bytes, and notes for the reader of the page."""

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
    verdicts = read_verdicts(windows.run.lake)
    speech = windows_of_speech(verdicts, windows.grid, windows.recorders, windows.offsets_ms)
    withheld = set(zip(speech["i_recorder"].tolist(), speech["cell"].tolist(), strict=True))
    shown = _places(table, windows)
    is_open = [(place.cube_row, place.cell) not in withheld for place in shown]
    table, shown = table[is_open], [place for place, yes in zip(shown, is_open, strict=True) if yes]
    if not shown:
        raise InputError(f"{batch_id}: expected windows to show; all {len(is_open)} were marked as speech.")
    cut_window, notes = _cutter(windows, audio=audio)
    if len(shown) < len(is_open):
        notes.append(f"{len(is_open) - len(shown)} windows are left out: they were marked as speech.")
    levels = open_levels(windows, shown, neighbours=neighbours, withheld=withheld, verdicts=verdicts)
    scale = levels.scale
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    aside.mkdir()
    try:
        draws = table["draw"].tolist()
        gains = _write_media(aside, draws, shown, levels=levels, cut_window=cut_window, workers=workers)
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
    if windows.store is None:
        return places(windows.cube, windows.run.output.url, row, cell)
    of_cube = in_cube(windows.store, read.Windows(row.astype(np.int32), cell), windows.cube)
    found = places(windows.cube, windows.run.output.url, row, of_cube.cell)
    return [_own_seconds(place, int(number), windows) for place, number in zip(found, cell, strict=True)]


def _own_seconds(place: Place, cell: int, windows: Windows) -> Place:
    """Return the place of a window of imported vectors, from that of the cube's window that stands for it."""
    start_ms = windows.start_ms(place.cube_row, cell)
    try:
        recording, offset_s = windows.recording_of(place.recorder, start_ms, start_ms + windows.grid.window_ms)
    except ValueError:  # what the vectors were made from is not in the cube
        recording, offset_s = "", 0.0
    return replace(place, cell=cell, start_ms=start_ms, recording=recording, recording_offset_s=offset_s)


def _cutter(windows: Windows, *, audio: bool) -> tuple[Callable[[str, int], Any] | None, list[str]]:
    """Return what cuts the sound of a window, ``None`` without recordings, and notes."""
    if not audio:
        return None, ["Sound was left out on purpose."]
    from jobs.common.pages.clips import cutter  # noqa: PLC0415 (decoders are loaded only where sound is cut)

    found = cutter(windows.run.recordings, windows.cube, windows.grid.window_ms, SOUND_COMPRESSION)
    return found, [] if found else ["There is no sound: the recordings were not at hand when this page was made."]


def _write_media(
    folder: Path,
    draws: Sequence[int],
    shown: Sequence[Place],
    *,
    levels: Levels,
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
        for draw, place, codes in zip(draws[here], shown[here], levels.of_windows(shown[here]), strict=True):
            width, height = levels.scale.size_px
            data = picture(
                codes, levels.scale.level_range_db, width_px=width, height_px=height, quality=PICTURE_QUALITY
            )
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
