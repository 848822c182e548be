"""Read the name of a recording: when it started, where, and on which recorder.

The patterns are tried in order and the first that gives a real date and time wins. They cover Frontier Labs
(BAR, BAR-LT; with and without zone, serial, site, position; localisation names; the firmware that writes a
space for a zero), AudioMoth (hexadecimal seconds, dates, device prefix, ``T`` for triggered), Wildlife
Acoustics (SM2, SM3, SM4, Mini; channels, milliseconds, ``$`` for GPS-synchronised), SwiftOne, OwlSense,
Chorus, and published excerpts of the Acoustic Observatory; then what programs and people write: dates and times with
any of the usual separators, without seconds, in 12 hours with AM or PM, or with text between (BirdNET-Pi). Two-digit
years and day-first dates are read only when the user says so, and a time of four bare digits, which may be a counter,
is not read at all.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePath


@dataclass(frozen=True)
class NameFacts:
    """Facts from a name; ``None`` or empty where it has none.

    Attributes
    ----------
    start
        Start of the recording as the recorder's clock read, without a zone.
    offset
        That clock's offset from UTC.
    recorder
        A prefix that may identify the recorder: a serial, a device id, or a word that its user set.
    latitude, longitude
        Position in degrees.
    pattern
        Key in :data:`PATTERNS` of the pattern that gave the start.
    """

    start: datetime | None = None
    offset: timedelta | None = None
    recorder: str = ""
    latitude: float | None = None
    longitude: float | None = None
    pattern: str = ""


_DAY = r"(?P<Y>(?:19|20)\d\d)(?P<M>\d\d)(?P<D>\d\d)"
_CLOCK = r"(?P<h>\d\d)(?P<m>\d\d)(?P<s>\d\d)"
_FRACTION = r"(?:\.(?P<f>\d{1,6})(?![0-9A-Za-z]))?"
_OFFSET = r"(?P<off>Z|[-+]\d{2}:?(?:\d{2})?)"
_UTC = r"[ _]?(?:UTC|GMT)(?:[-+]\d{1,2}(?::?\d\d)?)?(?![-+0-9A-Za-z])"
_HALF = r"(?:[ _-]?(?P<half>[AaPp][Mm])(?![A-Za-z0-9]))?"
_ANY_DAY = r"(?<!\d)(?P<Y>(?:19|20)\d\d)(?P<d>[-_. ]?)(?P<M>\d\d)(?P=d)(?P<D>\d\d)"
_COLONS = ":\uff1a\ua789\u2236"
_ANY_CLOCK = rf"(?P<h>\d\d)(?P<t>[-_. {_COLONS}]?)(?P<m>\d\d)(?P=t)(?P<s>\d\d)"
_CLOCK_PARTED = rf"(?P<h>\d\d)[-_.{_COLONS}](?P<m>\d\d)[-_.{_COLONS}](?P<s>\d\d)"
_CLOCK_COLONS = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)"
_JOIN = r"(?:[T$@.]|[_ ]+T?|-| - |, |[_ ]at[_ ])"
_ANY_OFFSET = rf"(?:_?(?P<off>Z(?![a-z])|[-+]\d\d:?\d\d(?!\d)|{_UTC}))?"

PATTERNS: Mapping[str, re.Pattern[str]] = {
    key: re.compile(pattern)
    for key, pattern in {
        "localisation": rf"^S{_DAY}T{_CLOCK}{_FRACTION}{_OFFSET}_E\d{{8}}T\d{{6}}",
        "space_for_zero": rf"(?<!\d)(?P<Y>(?:19|20)\d\d)(?P<M>\d\d) (?P<D>\d)T{_CLOCK}{_OFFSET}(?!\d)",
        "offset": rf"(?<!\d){_DAY}[T_\-$]{_CLOCK}{_FRACTION}(?:_(?=[-+]\d{{4}}(?!\d)))?{_OFFSET[:-1]}|{_UTC})(?![\d:])",
        "hexadecimal": r"^(?P<hex>[0-9A-F]{8})\.(?:WAV|wav)$",
        "milliseconds": rf"(?<!\d){_DAY}[_$]{_CLOCK}_(?P<f>\d{{3}})(?=\.)",
        "excerpt": rf"(?P<number>_\d+)_\d+_{_DAY}_{_CLOCK}_\d+_\d+(?=\.)",
        "local": rf"(?<!\d){_DAY}[T_\-$]{_CLOCK}{_FRACTION}T?{_HALF}(?![\d+\-:])",
        "solid": rf"(?<!\d){_DAY}{_CLOCK}{_HALF}(?!\d)",
        "dashes": rf"(?!\d{{8}}[T_\-$]\d{{6}}){_ANY_DAY}{_JOIN}{_ANY_CLOCK}{_FRACTION}{_HALF}{_ANY_OFFSET}(?!\d)",
    }.items()
}
"""Patterns by name, in the order in which they are tried."""

PROGRAMS: Mapping[str, re.Pattern[str]] = {
    key: re.compile(pattern)
    for key, pattern in {
        "birdnet": rf"{_ANY_DAY}-birdnet-(?:(?P<stream>[A-Za-z][^:]*)-)?{_CLOCK_PARTED}(?!\d)",
        "text_between": rf"{_ANY_DAY}[-_ ](?!\d)[^{_COLONS}]{{1,60}}[-_ ]{_CLOCK_COLONS}{_FRACTION}(?![\d:])",
        "letters": (
            rf"{_ANY_DAY}{_JOIN}(?P<h>\d\d)[hH](?P<m>\d\d)(?:[mM]?(?P<s>\d\d)[sS]?|[mM])?{_ANY_OFFSET}(?![\da-zA-Z])"
        ),
        # Hour and minute alone, unless all separators are one: 2021-06-22-05-10 may be parts that are counted.
        "minutes": (
            rf"(?!\d{{4}}([-_. ])\d\d\1\d\d\1\d\d\1){_ANY_DAY}(?<=\D\d\d){_JOIN}(?P<h>\d\d)[-.{_COLONS}](?P<m>\d\d)"
            rf"{_HALF}{_ANY_OFFSET}(?![-:_. ]?\d)"
        ),
        "solid_minutes": (rf"(?<!\d){_DAY}{_JOIN}(?P<h>\d\d)[{_COLONS}](?P<m>\d\d){_HALF}{_ANY_OFFSET}(?![-:_. ]?\d)"),
        "basic_minutes": rf"{_ANY_DAY}T(?P<h>\d\d)(?P<m>\d\d){_ANY_OFFSET}(?![\d:])",
    }.items()
}
"""Patterns of programs and people, which are tried after :data:`PATTERNS`."""

GUESSES: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "two-digit-year": {
        "two_digit_year": re.compile(
            r"(?<!\d)(?P<Y>\d\d)(?P<M>\d\d)(?P<D>\d\d)[T_\-.](?P<h>\d\d)(?P<m>\d\d)(?P<s>\d\d)?(?!\d)"
        ),
        "two_digit_year_solid": re.compile(
            r"(?<!\d)(?P<Y>\d\d)(?P<M>\d\d)(?P<D>\d\d)(?P<h>\d\d)(?P<m>\d\d)(?P<s>\d\d)(?!\d)"
        ),
    },
    "day-first": {
        "day_first": re.compile(
            r"(?<!\d)(?P<D>\d\d)[-._ ]?(?P<M>\d\d)[-._ ]?(?P<Y>(?:19|20)\d\d)[T_\- ]"
            r"(?P<h>\d\d)[-:._]?(?P<m>\d\d)[-:._]?(?P<s>\d\d)?(?!\d)"
        ),
        "clock_first": re.compile(
            r"(?<!\d)(?P<h>\d\d)(?P<m>\d\d)(?P<s>\d\d)?[T_\-](?P<D>\d\d)(?P<M>\d\d)(?P<Y>(?:19|20)\d\d)(?!\d)"
        ),
    },
}
"""Patterns that are read only when the user says so, by what is then guessed; they are tried last."""

_POSITION = re.compile(
    r"(?<![\d.])(?P<lat>[-+]?\d{1,2}\.\d{2,})(?: (?P<lon>[-+]?\d{1,3}\.\d{2,})|(?P<lon_signed>[-+]\d{1,3}\.\d{2,}))"
    r"|(?P<lat_whole>[-+]\d\d)(?P<lon_whole>[-+]\d{3})(?!\d)"
)
_CHANNELS = re.compile(r"_(?:0|1|0\+1)$")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SERIAL_AND_SITE = re.compile(r"(?P<serial>\d{4,8})_[A-Za-z]")
_LONGEST_OFFSET = timedelta(hours=14)
_FRONTIER_LABS = re.compile(
    r"^(?:-?\d{4,8}_(?:[A-Za-z][^_]*_)?)?(?:19|20)\d{6}T\d{6}[-+]\d{4}(?!\d)"
    r"|^(?:19|20)\d{6}_\d{6}_(?:[Rr][Ee][Cc]\b|[^_]* [\[_]-?\d)"
)
_SONG_METER = re.compile(r"_0\+1_|\d\$\d|^(?:S[M4U]|2M)[A-Z0-9]{3,8}_|\.wac$", re.IGNORECASE)
_AUDIO_MOTH = re.compile(r"(?:[0-9A-F]{16}_)?(?:19|20)\d{6}_\d{6}T?\.WAV")


def parse_name(path: str | PurePath, guesses: Collection[str] = ()) -> NameFacts:
    """Read what the last part of a path says about a recording.

    Parameters
    ----------
    path
        Path of a recording; only its name is looked at, not the file.
    guesses
        Keys of :data:`GUESSES`: forms of dates that other readings of the digits are possible for, and that the
        user vouches for. Two-digit years are of this century.

    Returns
    -------
    NameFacts
        A time of ``240000`` is midnight of the next day. An offset is reported only where the name has one;
        AudioMoth's hexadecimal names are seconds since 1970 in UTC.
    """
    name = _name_of(path)
    for key, pattern in _tried(guesses):
        for match in pattern.finditer(name):
            start, offset = _instant(match)
            if start is not None:
                latitude, longitude = _position(name[match.end() :])
                return NameFacts(start, offset, _recorder(key, name, match), latitude, longitude, key)
    latitude, longitude = _position(name)
    return NameFacts(latitude=latitude, longitude=longitude)


def has_impossible_time(path: str | PurePath) -> bool:
    """Return whether a name has, where a time should be, digits that are none, such as 20211301_250000."""
    name = _name_of(path)
    patterns = [pattern for key, pattern in _tried(()) if key != "hexadecimal"]
    found = [match for pattern in patterns for match in pattern.finditer(name)]
    return bool(found) and all(_instant(match)[0] is None for match in found)


def maker_of(path: str | PurePath, facts: NameFacts) -> str:
    """Return who makes the recorders that write such names: ``FL``, ``WA``, ``OA`` (AudioMoth) or nothing.

    Only forms that one maker alone uses count. It decides under whose code a fault is listed, nothing else.
    """
    name = _name_of(path)
    if name == "data" or facts.pattern in {"localisation", "space_for_zero"} or _FRONTIER_LABS.search(name):
        return "FL"
    if facts.pattern == "milliseconds" or _SONG_METER.search(name):
        return "WA"
    if facts.pattern == "hexadecimal" or _AUDIO_MOTH.fullmatch(name):
        return "OA"
    return ""


def _name_of(path: str | PurePath) -> str:
    return path.name if isinstance(path, PurePath) else PurePath(path).name


def _tried(guesses: Collection[str]) -> Iterator[tuple[str, re.Pattern[str]]]:
    yield from PATTERNS.items()
    yield from PROGRAMS.items()
    for guess, patterns in GUESSES.items():
        if guess in guesses:
            yield from patterns.items()


def _instant(match: re.Match[str]) -> tuple[datetime | None, timedelta | None]:
    """Return the clock time and offset of a match; no time if it is none of the calendar."""
    found = match.groupdict()
    if found.get("hex"):
        return _from_seconds(found["hex"])
    offset = _offset(found.get("off"))
    if found.get("off") and offset is None:
        return None, None
    hour, year, second = _hour(int(found["h"]), found.get("half")), int(found["Y"]), found.get("s") or "00"
    if hour is None:
        return None, None
    is_midnight_after = (hour, found["m"], second) == (24, "00", "00")
    try:
        start = datetime(
            year if year > 99 else 2000 + year, int(found["M"]), int(found["D"]), 0 if is_midnight_after else hour,
            int(found["m"]), int(second), int((found.get("f") or "").ljust(6, "0")),
        )  # fmt: skip
    except ValueError:
        return None, None
    return start + timedelta(days=is_midnight_after), offset


def _hour(hour: int, half: str | None) -> int | None:
    """Return an hour of 24 from one with AM or PM; ``None`` if they contradict each other."""
    if not half or (hour > 12 and half.lower() == "pm"):
        return hour
    if half.lower() == "am":
        return None if hour > 12 else hour % 12
    return None if hour == 0 else hour % 12 + 12


def _from_seconds(digits: str) -> tuple[datetime | None, timedelta | None]:
    """Return the time that hexadecimal seconds since 1970 mean, unless the digits are a date."""
    if re.fullmatch(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", digits):
        return None, None
    return datetime.fromtimestamp(int(digits, 16), UTC).replace(tzinfo=None), timedelta(0)


def _offset(text: str | None) -> timedelta | None:
    """Return an offset such as ``Z``, ``-05``, ``+0930``, ``+09:30`` or ``UTC+2``; ``None`` if no clock is set so."""
    if not text:
        return None
    text = text.lstrip(" _").removeprefix("UTC").removeprefix("GMT")
    if text in {"Z", ""}:
        return timedelta(0)
    text = text if text[1:3].isdecimal() and len(text) > 2 else f"{text[0]}0{text[1:]}"
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    size = timedelta(hours=hours, minutes=minutes)
    if minutes >= 60 or size > _LONGEST_OFFSET:
        return None
    return -size if text[0] == "-" else size


def _position(text: str) -> tuple[float | None, float | None]:
    for match in _POSITION.finditer(text):
        latitude = float(match["lat"] or match["lat_whole"])
        longitude = float(match["lon"] or match["lon_signed"] or match["lon_whole"])
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            return latitude, longitude
    return None, None


def _recorder(key: str, name: str, match: re.Match[str]) -> str:
    """Return the prefix before the time, without channels and recording numbers; empty if it names no recorder.

    A prefix ends in a separator; one or two digits, zeros after a dash (a card whose id could not be
    read), UUIDs, and a species with its confidence (``…_85p``, BirdNET-Go) name no
    recorder. BirdNET-Pi's streams do. Of ``serial_site`` the serial is the recorder, of an excerpt's
    ``site_number_recording`` the site and its number.
    """
    if key == "excerpt":
        return name[: match.start()] + match["number"]
    if key == "birdnet":
        return match["stream"] or ""
    before = name[: match.start()]
    prefix = before.rstrip("_- .")
    if prefix == before:
        return ""
    prefix = _CHANNELS.sub("", prefix)
    serial = _SERIAL_AND_SITE.match(prefix)
    if serial:
        return serial["serial"]
    is_none = re.fullmatch(r"\d{1,2}|-0+\d*|.*_\d{1,3}p", prefix) or _UUID.fullmatch(prefix)
    return "" if is_none else prefix
