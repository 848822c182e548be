"""What the header of a recording says: when it started, where, and on which recorder.

Four forms: GUANO 1.0 (the ``guan`` chunk; https://guano-md.org), Wildlife Acoustics' ``wamd`` chunk, AudioMoth's
sentence in the INFO comment, and the Vorbis comments of Frontier Labs' FLAC files.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from jobs.catalog.blocks import ARTIST, COMMENT, GUANO, VORBIS, WAMD


@dataclass(frozen=True)
class HeaderFacts:
    """What a header says; ``None`` or empty for what it does not say.

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
    """

    start: datetime | None = None
    offset: timedelta | None = None
    recorder: str = ""
    latitude: float | None = None
    longitude: float | None = None
    gain_db: float | None = None
    maker: str = ""
    firmware: str = ""


_AUDIO_MOTH = re.compile(
    r"Recorded at (?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?:\.\d+)? (?P<D>\d\d)/(?P<M>\d\d)/(?P<Y>\d{4}) "
    r"\(UTC(?:(?P<sign>[-+])(?P<hours>\d{1,2})(?::(?P<minutes>\d\d))?)?\)"
)
_AUDIO_MOTH_ID = re.compile(r"AudioMoth ([0-9A-F]{16})")
_POSITION = re.compile(r"([-+]?\d{1,2}(?:\.\d+)?)(?:[ ,]+|(?=[-+]))([-+]?\d{1,3}(?:\.\d+)?)")
_GAIN = re.compile(r"[-+]?\d+(?:\.\d+)?(?= ?dB|$)")
_DAY_FIRST = re.compile(r"(\d\d)/(\d\d)/(\d{4})[ T]+(.+)")
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
        start, offset, values.get("Serial", ""), latitude, longitude, None, maker, values.get("Firmware Version", "")
    )


def parse_wamd(content: bytes) -> HeaderFacts:
    """Read Wildlife Acoustics' records: a 16-bit kind, a 32-bit length and the value, all little-endian."""
    values: dict[int, str] = {}
    at = 0
    while at + 6 <= len(content):
        kind, size = struct.unpack_from("<HI", content, at)
        values.setdefault(kind, _text(content[at + 6 : at + 6 + size]).strip())
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
    return HeaderFacts(start, offset, values.get(2, ""), latitude, longitude, None, "WA", values.get(3, ""))


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
        start, offset, values.get("sensoruid", ""), latitude, longitude, float(gain[0]) if gain else None,
        "FL" if is_theirs else "", values.get("sensorfirmwareversion", ""),
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


def _text(content: bytes) -> str:
    return (
        content.decode("utf-8", "replace").partition("\0")[0]
        if b"\0" in content
        else content.decode("utf-8", "replace")
    )
