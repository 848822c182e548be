"""What is heard about a recording from its name, its card and its header, as a row of the table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from functools import lru_cache
from pathlib import PurePath
from zoneinfo import ZoneInfo

import pandas as pd

from jobs.catalog.examine import FileFacts
from jobs.catalog.faults import name_faults
from jobs.catalog.folders import folder_date, name_recorders, parents_of
from jobs.catalog.names import NameFacts, maker_of, parse_name
from jobs.catalog.sidecars import Card, LogEntry, card_of
from jobs.catalog.sources import Sources
from jobs.catalog.times import Start, Witness, format_offset, resolve_start
from jobs.catalog.zones import check_zones, choose_zones
from lake.errors import InputError
from lake.limits import MAX_GAIN_DB

Site = tuple[pd.Timestamp, pd.Timestamp, ZoneInfo]
"""Start, end and zone of a deployment."""


@dataclass(frozen=True)
class Heard:
    """All that is known of a file besides its bytes: its name, its maker, its card, its zones."""

    path: PurePath
    folder: PurePath
    name: NameFacts
    maker: str
    card: Card | None
    zone: tzinfo | None


def listen(
    sources: Sources,
    zones: Mapping[str, str],
    guesses: Sequence[str],
    root: PurePath,
    on_unreadable: Callable[[PurePath, str], None] | None = None,
) -> list[Heard]:
    """Gather what names, folders and cards say, and refuse what the user got wrong before any recording is read."""
    check_zones(zones)
    above = root.as_posix().rstrip("/") + "/"
    outside = [str(file) for file in sources.files if not file.as_posix().startswith(above)]
    if outside:
        raise InputError(
            f"{root} should hold all recordings, but {outside[0]} and {len(outside) - 1} others are elsewhere."
        )
    names = [parse_name(file, guesses) for file in sources.files]
    recorders = name_recorders(sources.files, [facts.recorder for facts in names], sources.folders)
    folders = parents_of(sources.files)
    chosen = choose_zones(zones, folders, recorders)
    cards = sources.cards(on_unreadable)
    card_in = {folder: card_of(folder, cards) for folder in dict.fromkeys(folders)}
    return [
        Heard(file, folder, facts, maker_of(file, facts) or ("FL" if card_in[folder] else ""), card_in[folder], zone)
        for file, folder, facts, zone in zip(sources.files, folders, names, chosen, strict=True)
    ]


def site_zones(deployments: pd.DataFrame | None) -> dict[str, list[Site]]:
    """Return start, end and zone of the deployments that have a zone, by recorder."""
    sites: dict[str, list[Site]] = {}
    for row in deployments.to_dict("records") if deployments is not None else []:
        if row["zone"]:
            sites.setdefault(row["recorder"], []).append((row["start"], row["end"], ZoneInfo(row["zone"])))
    return sites


def make_row(one: Heard, file: FileFacts, sites: Sequence[Site]) -> dict[str, object]:
    """Put together what is known of a recording.

    Parameters
    ----------
    one, file
        What its name, folder and card say, and what its bytes say.
    sites
        Deployments of its recorder that have a zone.

    Returns
    -------
    dict
        All columns but ``path`` and ``recorder``. A position is the name's, else the header's, else that of the
        card's ``GPS_log.csv``, else the folder's; a gain the one of ``Reclog.csv``, else the header's.
    """
    start = _start(one, file, sites)
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


def _start(one: Heard, file: FileFacts, sites: Sequence[Site]) -> Start:
    """Hear all witnesses of a recording's start."""
    header = file.header
    witnesses = [Witness("header", header.start, header.offset)] if header.start else []
    entry = _entry(one, file)
    if entry:
        witnesses.append(Witness("reclog", entry.start, entry.offset))
    made = _folder_date(one.folder)
    start = resolve_start(one.name, one.zone, witnesses, folder_date=made)
    if start.utc is not None or start.local is None or not sites:
        return start
    placed = [
        (low, high, resolve_start(one.name, None, witnesses, site_zone=zone, folder_date=made))
        for low, high, zone in sites
    ]
    during = [found for low, high, found in placed if found.utc and low <= found.utc and not found.utc >= high]
    if during:
        return during[0]
    return placed[0][2] if len({zone for *_, zone in sites}) == 1 else start


def _problems(one: Heard, file: FileFacts, start: Start) -> list[str]:
    """Return the codes of a recording: of its bytes, its time, its name."""
    about_name = name_faults(one.path, one.name, file.header.maker or one.maker)
    about_zone = ["OE002"] if "zone_unknown" in start.problems and one.name.start else []
    return [*file.problems, *start.problems, *about_name, *about_zone]


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
