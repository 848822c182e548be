"""Gather the facts of a recording from its name, its card and its header into a row of the table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from functools import lru_cache
from pathlib import PurePath
from zoneinfo import ZoneInfo

import pandas as pd

from jobs.catalog.examine import FileFacts
from jobs.catalog.faults import name_faults
from jobs.catalog.folders import find_home, folder_date, parents_of
from jobs.catalog.names import NameFacts, maker_of, parse_name
from jobs.catalog.recorders import Seen, contradicts, serial_in_name, usable_serial
from jobs.catalog.sidecars import Card, LogEntry, find_card
from jobs.catalog.sources import Sources
from jobs.catalog.times import Start, Witness, format_offset, resolve_start
from lake.errors import InputError
from lake.limits import MAX_GAIN_DB
from lake.text import normal

Site = tuple[pd.Timestamp, pd.Timestamp, ZoneInfo]
"""Start, end and zone of a deployment."""


@dataclass(frozen=True)
class Heard:
    """The facts of a file outside its bytes: its name, folder, maker and card.

    ``home`` is the folder that stands for its recorder, ``serial`` the one in its name or of its card.
    """

    path: PurePath
    folder: PurePath
    home: PurePath
    name: NameFacts
    maker: str
    card: Card | None
    serial: str

    def seen(self, file: FileFacts | None = None) -> Seen:
        """Return what says which recorder made it; the header's serial is believed before the name's."""
        serial = (usable_serial(file.header.recorder) if file else "") or self.serial
        named = serial_in_name(self.name.recorder, self.maker)
        word = "" if named else self.name.recorder
        return Seen(self.path, self.home, serial, word, file.sha256 if file and file.audio else "")


def listen(
    sources: Sources,
    guesses: Sequence[str],
    root: PurePath,
    on_unreadable: Callable[[PurePath, str], None] | None = None,
) -> list[Heard]:
    """Gather what names, folders and cards say, before any recording is read."""
    above = root.as_posix().rstrip("/") + "/"
    outside = [str(file) for file in sources.files if not file.as_posix().startswith(above)]
    if outside:
        raise InputError(
            f"{root} should hold all recordings, but {outside[0]} and {len(outside) - 1} others are elsewhere."
        )
    folders = parents_of(sources.files)
    stops = set(sources.folders)
    home_of = {folder: find_home(folder, stops) for folder in dict.fromkeys(folders)}
    cards = sources.cards(on_unreadable)
    card_of = {folder: find_card(folder, cards) for folder in home_of}
    heard = []
    for file, folder in zip(sources.files, folders, strict=True):
        facts, (at, card), home = parse_name(file, guesses), card_of[folder], home_of[folder]
        maker = maker_of(file, facts) or ("FL" if card else "")
        # A log above the recorder's folder may be any recorder's.
        logged = usable_serial(card.serial) if card and at.is_relative_to(home) else ""
        heard.append(Heard(file, folder, home, facts, maker, card, serial_in_name(facts.recorder, maker) or logged))
    return heard


def site_zones(deployments: pd.DataFrame | None) -> dict[str, list[Site]]:
    """Return start, end and zone of the deployments that have a zone, by recorder (in NFC)."""
    sites: dict[str, list[Site]] = {}
    for row in deployments.to_dict("records") if deployments is not None else []:
        if row["zone"]:
            sites.setdefault(normal(row["recorder"]), []).append((row["start"], row["end"], ZoneInfo(row["zone"])))
    return sites


def make_row(one: Heard, file: FileFacts, zone: tzinfo | None, sites: Sequence[Site]) -> dict[str, object]:
    """Combine the facts of a recording.

    Parameters
    ----------
    one, file
        What its name, folder and card say, and what its bytes say.
    zone
        Zone of the recorder's clock, if the user gave one.
    sites
        Deployments of its recorder that have a zone.

    Returns
    -------
    dict
        All columns but ``path`` and ``recorder``. A position is the name's, else the header's, else that of the
        card's ``GPS_log.csv``, else the folder's; a gain the one of ``Reclog.csv``, else the header's.
    """
    start = _start(one, file, zone, sites)
    entry = _entry(one, file)
    latitude, longitude = _position(one, file)
    gain_db = entry.gain_db if entry and entry.gain_db is not None else file.header.gain_db
    problems, audio = _problems(one, file, start), file.audio
    if gain_db is not None and not abs(gain_db) <= MAX_GAIN_DB:
        gain_db, audio, problems = None, None, list(dict.fromkeys([*problems, "gain_out_of_range"]))
    row: dict[str, object] = {
        "start_utc": start.utc,
        "start_local": start.local,
        "utc_offset": format_offset(start.offset),
        "time_source": start.source,
        "time_conflict": start.conflict,
        "sha256": file.sha256,
        "problems": ";".join(problems),
        "gain_db": gain_db,
        "latitude": latitude,
        "longitude": longitude,
    }
    if audio:
        row |= {
            "duration_s": round(audio.duration_s, 6),
            "sample_rate_hz": audio.sample_rate_hz,
            "n_channels": audio.n_channels,
            "n_samples": audio.n_samples,
            "format": audio.format,
            "reading": audio.reading,
        }
    return row


def _start(one: Heard, file: FileFacts, zone: tzinfo | None, sites: Sequence[Site]) -> Start:
    """Gather all sources for a recording's start."""
    header = file.header
    witnesses = [Witness("header", header.start, header.offset)] if header.start else []
    entry = _entry(one, file)
    if entry:
        witnesses.append(Witness("reclog", entry.start, entry.offset))
    made = _folder_date(one.folder)
    start = resolve_start(one.name, zone, witnesses, folder_date=made)
    if start.utc is not None or start.local is None or not sites:
        return start
    placed = [
        (low, high, resolve_start(one.name, None, witnesses, site_zone=site_zone, folder_date=made))
        for low, high, site_zone in sites
    ]
    during = [found for low, high, found in placed if found.utc and low <= found.utc and not found.utc >= high]
    if during:
        return during[0]
    return placed[0][2] if len({site_zone for *_, site_zone in sites}) == 1 else start


def _problems(one: Heard, file: FileFacts, start: Start) -> list[str]:
    """Return the codes of a recording: of its bytes, its time, its name."""
    about_name = name_faults(one.path, one.name, file.header.maker or one.maker)
    about_zone = ["OE002"] if "zone_unknown" in start.problems and one.name.start else []
    named = serial_in_name(one.name.recorder, one.maker)
    about_serial = ["serial_conflict"] if contradicts(named, usable_serial(file.header.recorder)) else []
    return [*file.problems, *start.problems, *about_name, *about_zone, *about_serial]


def _entry(one: Heard, file: FileFacts) -> LogEntry | None:
    return one.card.entry(one.path.name, one.name.start or file.header.start) if one.card else None


def _position(one: Heard, file: FileFacts) -> tuple[float | None, float | None]:
    fixed = one.card.position(one.name.start or file.header.start) if one.card else (None, None)
    places = [(said.latitude, said.longitude) for said in (one.name, file.header)]
    places += [fixed, _folder_position(one.folder)]
    return next(
        ((a, b) for a, b in places if a is not None and b is not None and abs(a) <= 90 and abs(b) <= 180), (None, None)
    )


@lru_cache(maxsize=4096)
def _folder_position(folder: PurePath) -> tuple[float | None, float | None]:
    said = (parse_name(path) for path in (folder, *folder.parents))
    return next(((one.latitude, one.longitude) for one in said if one.latitude is not None), (None, None))


@lru_cache(maxsize=4096)
def _folder_date(folder: PurePath) -> date | None:
    return next(filter(None, map(folder_date, (folder, *folder.parents))), None)
