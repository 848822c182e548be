"""Read the header of a recording: when it started, where, and on which recorder.

Four forms: GUANO 1.0 (the ``guan`` chunk; https://guano-md.org), Wildlife Acoustics' ``wamd`` chunk, AudioMoth's
sentence in the INFO comment, and the Vorbis comments of Frontier Labs' FLAC files.
"""

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from jobs.catalog.blocks import ARTIST, COMMENT, GUANO, VORBIS, WAMD
from lake.limits import MAX_RATE_HZ


@dataclass(frozen=True)
class HeaderFacts:
    """Facts from a header; ``None`` or empty where it has none.

    Attributes
    ----------
    start
        Start of the recording as the recorder's clock read, without a zone.
    offset
        That clock's offset from UTC.
    recorder
        Serial of the recorder.
    latitude, longitude
        Position in degrees.
    gain_db
        Gain of the first channel in dB.
    maker
        ``FL``, ``WA``, ``OA`` or empty.
    firmware
        Version, as it stands there.
    time_expansion
        How many times slower the file plays than it was recorded; 0 if what is said is no number.
    sample_rate_hz
        Rate of the recording, before any time expansion; 0 if what is said is no number.
    """

    start: datetime | None = None
    offset: timedelta | None = None
    recorder: str = ""
    latitude: float | None = None
    longitude: float | None = None
    gain_db: float | None = None
    maker: str = ""
    firmware: str = ""
    time_expansion: float | None = None
    sample_rate_hz: float | None = None


MAX_EXPANSION = 1000.0
"""Detectors slow down by 8 to 32 times."""
_RATE_TOLERANCE = 1e-3
_MAX_NAME_CHARACTERS = 100
_AUDIO_MOTH = re.compile(
    r"Recorded at (?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?:\.\d+)? (?P<D>\d\d)/(?P<M>\d\d)/(?P<Y>\d{4}) "
    r"\(UTC(?:(?P<sign>[-+])(?P<hours>\d{1,2})(?::(?P<minutes>\d\d))?)?\)"
)
_AUDIO_MOTH_ID = re.compile(r"AudioMoth ([0-9A-F]{16})")
_POSITION = re.compile(r"([-+]?\d{1,2}(?:\.\d+)?)(?:[ ,]+|(?=[-+]))([-+]?\d{1,3}(?:\.\d+)?)")
_GAIN = re.compile(r"[-+]?\d+(?:\.\d+)?(?= ?dB|$)")
_DAY_FIRST = re.compile(r"(\d\d)/(\d\d)/(\d{4})[ T]+(.+)")
_WAMD_EXPANSION = 0x0F
_MAKERS = {"frontier": "FL", "wildlife": "WA", "open acoustic": "OA"}


def parse_header(blocks: Mapping[str, bytes]) -> HeaderFacts:
    """Read what the blocks of a header say.

    Parameters
    ----------
    blocks
        Contents by name, as :func:`jobs.catalog.blocks.read_blocks` returns them.

    Returns
    -------
    HeaderFacts
        A start and its offset come from one block. Where several say the same kind of thing the order is GUANO,
        ``wamd``, AudioMoth's comment, Vorbis comments.
    """
    found = []
    if GUANO in blocks:
        found.append(parse_guano(_text(blocks[GUANO])))
    if WAMD in blocks:
        found.append(parse_wamd(blocks[WAMD]))
    if COMMENT in blocks or ARTIST in blocks:
        found.append(parse_comment(_text(blocks.get(COMMENT, b"")), _text(blocks.get(ARTIST, b""))))
    if VORBIS in blocks:
        found.append(parse_vorbis(split_vorbis(blocks[VORBIS])))
    timed = next((facts for facts in found if facts.start), HeaderFacts())

    def first(name: str) -> Any:  # noqa: ANN401 (the fields differ in type)
        default = getattr(HeaderFacts(), name)
        return next((getattr(facts, name) for facts in found if getattr(facts, name) != default), default)

    rest = {field.name: first(field.name) for field in fields(HeaderFacts) if field.name not in {"start", "offset"}}
    return HeaderFacts(timed.start, timed.offset, **rest)


def true_rate(rate_hz: int, said: HeaderFacts) -> tuple[int, str]:
    """Return the rate that sound was recorded at, and what there is to note about it.

    Parameters
    ----------
    rate_hz
        The rate that decoders find.
    said
        What the header's metadata say. By GUANO 1.0, ``Samplerate`` is the file's rate times ``TE``.

    Returns
    -------
    rate_hz, code
        ``time_expanded`` where the rate is the file's times the expansion; ``rate_conflict`` where metadata and file
        do not agree, and the file's rate is kept; else empty.
    """
    factor = 1.0 if said.time_expansion is None else said.time_expansion
    true_hz = round(rate_hz * factor) if 1 <= factor <= MAX_EXPANSION else 0
    wanted = true_hz if said.sample_rate_hz is None else said.sample_rate_hz
    agrees = any(abs(hz - true_hz) <= _RATE_TOLERANCE * true_hz for hz in (wanted, 1000 * wanted))
    if not agrees or not true_hz or true_hz > MAX_RATE_HZ >= rate_hz:
        return rate_hz, "rate_conflict"
    return true_hz, "time_expanded" if true_hz != rate_hz else ""


def parse_guano(text: str) -> HeaderFacts:
    """Read GUANO metadata, lines of ``Key: value``."""
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    if "GUANO|Version" not in values:
        return HeaderFacts()
    start, offset = _time(values.get("Timestamp", ""))
    latitude, longitude = _position(values.get("Loc Position", ""))
    make = values.get("Make", "").lower()
    maker = next((code for word, code in _MAKERS.items() if word in make), "")
    return HeaderFacts(
        start, offset, _name(values.get("Serial", "")), latitude, longitude, None, maker,
        _name(values.get("Firmware Version", "")), _number(values.get("TE", "")), _number(values.get("Samplerate", "")),
    )  # fmt: skip


def parse_wamd(content: bytes) -> HeaderFacts:
    """Read Wildlife Acoustics' records: a 16-bit kind, a 32-bit length and the value, all little-endian."""
    values: dict[int, str] = {}
    expansion: float | None = None
    at = 0
    while at + 6 <= len(content):
        kind, size = struct.unpack_from("<HI", content, at)
        values.setdefault(kind, _text(content[at + 6 : at + 6 + size]).strip())
        if kind == _WAMD_EXPANSION and size == 2:
            expansion = float(int.from_bytes(content[at + 6 : at + 8], "little")) or None
        at += 6 + size
    if not values.keys() & {1, 2, 3, 5}:
        return HeaderFacts()
    start, offset = _time(values.get(5, ""))
    parts = [part.strip() for part in values.get(6, "").split(",")]
    latitude = longitude = None
    if len(parts) >= 5 and parts[2] in {"N", "S"} and parts[4] in {"E", "W"}:
        latitude, longitude = _position(f"{parts[1]} {parts[3]}")
        latitude = -latitude if latitude is not None and parts[2] == "S" else latitude
        longitude = -longitude if longitude is not None and parts[4] == "W" else longitude
    elif len(parts) >= 3:
        latitude, longitude = _position(f"{parts[1]} {parts[2]}")
    serial, firmware = _name(values.get(2, "")), _name(values.get(3, ""))
    return HeaderFacts(start, offset, serial, latitude, longitude, None, "WA", firmware, expansion)


def parse_comment(comment: str, artist: str = "") -> HeaderFacts:
    """Read AudioMoth's sentence, ``Recorded at 19:17:30 13/12/2018 (UTC+1) by AudioMoth …``, of any firmware."""
    device = _AUDIO_MOTH_ID.search(comment) or _AUDIO_MOTH_ID.search(artist)
    serial = device[1] if device else ""
    maker = "OA" if serial or "AudioMoth" in comment + artist else ""
    found = _AUDIO_MOTH.search(comment)
    if not found:
        return HeaderFacts(recorder=serial, maker=maker)
    size = timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0))
    try:
        start = datetime.fromisoformat("{Y}-{M}-{D}T{h}:{m}:{s}".format_map(found.groupdict()))
    except ValueError:
        return HeaderFacts(recorder=serial, maker=maker)
    return HeaderFacts(start, -size if found["sign"] == "-" else size, serial, maker="OA")


def parse_vorbis(values: Mapping[str, str]) -> HeaderFacts:
    """Read Frontier Labs' comments by their names in lower case; a start alone makes no Frontier Labs file."""
    if not values.keys() & {"sensorfirmwareversion", "sensoruid", "recordingstart"}:
        return HeaderFacts()
    start, offset = _time(values.get("recordingstart", ""))
    latitude, longitude = _position(values.get("sensorlocation", ""))
    gain = _GAIN.search(values.get("channelgain1", ""))
    is_theirs = bool(values.keys() & {"sensorfirmwareversion", "sensoruid"})
    return HeaderFacts(
        start, offset, _name(values.get("sensoruid", "")), latitude, longitude, float(gain[0]) if gain else None,
        "FL" if is_theirs else "", _name(values.get("sensorfirmwareversion", "")),
    )  # fmt: skip


def split_vorbis(content: bytes) -> dict[str, str]:
    """Return the comments of a Vorbis comment block by name in lower case; the last may be declared too long."""

    def text_at(at: int) -> tuple[bytes, int]:
        size = int.from_bytes(content[at : at + 4], "little")
        return content[at + 4 : at + 4 + size], at + 4 + size

    _, at = text_at(0)
    count, at = int.from_bytes(content[at : at + 4], "little"), at + 4
    values: dict[str, str] = {}
    for _ in range(min(count, 1000)):
        if at + 4 > len(content):
            break
        comment, at = text_at(at)
        key, found, value = _text(comment).partition("=")
        if found:
            values.setdefault(key.strip().lower(), value.strip())
    return values


def _time(text: str) -> tuple[datetime | None, timedelta | None]:
    """Return the clock time and offset of an ISO 8601 time, or of one with the day first."""
    day_first = _DAY_FIRST.fullmatch(text.strip())
    iso = f"{day_first[3]}-{day_first[2]}-{day_first[1]}T{day_first[4].replace(' ', '')}" if day_first else text.strip()
    try:
        time = datetime.fromisoformat(iso)
    except ValueError:
        return None, None
    return time.replace(tzinfo=None), time.utcoffset()


def _position(text: str) -> tuple[float | None, float | None]:
    found = _POSITION.search(text)
    latitude, longitude = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if (latitude, longitude) == (0, 0) or abs(latitude) > 90 or abs(longitude) > 180:
        return None, None  # 0, 0 is a receiver without a fix
    return latitude, longitude


def _name(text: str) -> str:
    """Return a serial or version; nothing if it is longer, or holds other characters, than one that a maker writes."""
    text = text.strip()
    return text if len(text) <= _MAX_NAME_CHARACTERS and text.isprintable() else ""


def _number(text: str) -> float | None:
    """Return a number; 0 for a text that is none, ``None`` for no text."""
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _text(content: bytes) -> str:
    return (
        content.decode("utf-8", "replace").partition("\0")[0]
        if b"\0" in content
        else content.decode("utf-8", "replace")
    )
