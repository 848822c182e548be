"""Read the files that Frontier Labs' recorders leave with recordings: ``Reclog.csv``, ``GPS_log.csv``, ``logfile.txt``.

They lie at the root of the card. What they say holds for the recordings in their folder and below it.
"""

import csv
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePath


@dataclass(frozen=True)
class LogEntry:
    """A line of ``Reclog.csv``: when a recording began by the recorder's clock, its offset and gain in dB."""

    start: datetime
    offset: timedelta | None
    gain_db: float | None


@dataclass(frozen=True)
class Fix:
    """A line of ``GPS_log.csv``: the recorder's clock, and the position in degrees."""

    time: datetime
    latitude: float
    longitude: float


@dataclass
class Card:
    """Facts from the files at the root of a card.

    Attributes
    ----------
    entries
        Lines of ``Reclog.csv`` by the recording's name; of several with one name, all.
    fixes
        Positions, by time.
    serial, firmware
        Of the recorder, from ``logfile…txt`` and its name.
    """

    entries: dict[str, list[LogEntry]] = field(default_factory=dict)
    fixes: list[Fix] = field(default_factory=list)
    serial: str = ""
    firmware: str = ""

    def entry(self, name: str, clock: datetime | None) -> LogEntry | None:
        """Return the line about a recording, of several the one nearest to its clock time, else the last."""
        entries = self.entries.get(name, [])
        if not entries:
            return None
        if clock is None:
            return entries[-1]
        return min(reversed(entries), key=lambda entry: abs(entry.start - clock))

    def position(self, clock: datetime | None) -> tuple[float | None, float | None]:
        """Return the last position before a clock time, else the first; none if there is none."""
        if not self.fixes:
            return None, None
        at = bisect_right([fix.time for fix in self.fixes], clock) - 1 if clock else 0
        fix = self.fixes[max(at, 0)]
        return fix.latitude, fix.longitude


_LOG_NAME = re.compile(r"logfile(?:_(?P<serial>-?\d+)_.*)?(?: ?\(\d+\))?\.txt", re.IGNORECASE)
_FIRMWARE = re.compile(r"firmware(?: version)?\s*:?\s*v?(\d+\.\d+)", re.IGNORECASE)
_FIX = re.compile(
    r"([-+]?\d{1,2}\.\d+),?([-+]?\d{1,3}\.\d+),(\d\d):(\d\d),(\d\d)/(\d\d)/(\d{2,4})",
)
_LONGEST = 10_000
_TITLES = ("date", "time", "utc", "filename", "gain")
_ZONE = re.compile(r"([-+])(\d{1,2}):?(\d\d)")
_DATE = re.compile(r"(\d\d)/(\d\d)/(\d{4})")


def is_sidecar(name: str) -> bool:
    """Return whether a file of this name says something about the recordings around it."""
    return name.lower() in {"reclog.csv", "gps_log.csv"} or _LOG_NAME.fullmatch(name) is not None


def read_card(cards: dict[PurePath, Card], path: PurePath, content: bytes) -> None:
    """Add what one sidecar file says to the card of its folder; lines that mean nothing are passed over."""
    text, card = content.decode("utf-8", "replace"), cards.setdefault(path.parent, Card())
    if path.name.lower() == "reclog.csv":
        for name, entry in parse_reclog(text):
            card.entries.setdefault(name, []).append(entry)
    elif path.name.lower() == "gps_log.csv":
        card.fixes = sorted(parse_gps_log(text), key=lambda fix: fix.time)
    else:
        named = _LOG_NAME.fullmatch(path.name)
        serial = named["serial"] if named and named["serial"] else ""
        card.serial = card.serial or ("" if serial.startswith("-") else serial)
        firmware = _FIRMWARE.search(text)
        card.firmware = card.firmware or (firmware[1] if firmware else "")


def find_card(folder: PurePath, cards: Mapping[PurePath, Card]) -> tuple[PurePath, Card | None]:
    """Return the nearest folder, the given one or one above it, that has sidecar files, and what these say."""
    return next(((above, cards[above]) for above in (folder, *folder.parents) if above in cards), (folder, None))


def parse_reclog(text: str) -> Iterable[tuple[str, LogEntry]]:
    """Yield the recordings that a ``Reclog.csv`` lists, by name."""
    columns: dict[str, int] = {}
    for cells in csv.reader(line[:_LONGEST] for line in text.splitlines()):
        if not columns:
            columns = _columns([cell.strip().lower() for cell in cells])
            continue
        entry = _entry(cells, columns)
        if entry:
            yield re.split(r"[/\\]", cells[columns["filename"]].strip())[-1], entry


def parse_gps_log(text: str) -> Iterable[Fix]:
    """Yield the positions that a ``GPS_log.csv`` lists; latitude and longitude stand together or are two cells."""
    for line in text.splitlines():
        found = _FIX.match(line.replace(" ", ""))
        if not found:
            continue
        latitude, longitude = float(found[1]), float(found[2])
        hour, minute, day, month, year = (int(found[i]) for i in range(3, 8))
        try:
            time = datetime(year if year > 99 else 2000 + year, month, day, hour, minute)
        except ValueError:
            continue
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            yield Fix(time, latitude, longitude)


def _columns(titles: Sequence[str]) -> dict[str, int]:
    """Return the places of the columns by the words that their titles begin with; none if this is no header."""
    firsts = {key: [i for i, title in enumerate(titles) if title.startswith(key)] for key in _TITLES}
    found = {key: places[0] for key, places in firsts.items() if places}
    return found if {"date", "time", "filename"} <= found.keys() else {}


def _entry(cells: list[str], columns: Mapping[str, int]) -> LogEntry | None:
    if len(cells) <= max(columns.values()):
        return None
    found = _DATE.fullmatch(cells[columns["date"]].strip())
    try:
        start = (
            datetime.fromisoformat(f"{found[3]}-{found[2]}-{found[1]}T{cells[columns['time']].strip()}")
            if found
            else None
        )
    except ValueError:
        start = None
    if start is None:
        return None
    zone = _ZONE.fullmatch(cells[columns["utc"]].strip()) if "utc" in columns else None
    size = timedelta(hours=int(zone[2]), minutes=int(zone[3])) if zone else None
    gain = re.match(r"[-+]?\d+(?:\.\d+)?", cells[columns["gain"]].strip()) if "gain" in columns else None
    return LogEntry(start, -size if zone and size and zone[1] == "-" else size, float(gain[0]) if gain else None)
