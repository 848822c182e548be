import struct
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from jobs.catalog.blocks import ARTIST, COMMENT, GUANO, VORBIS, WAMD, read_blocks
from jobs.catalog.headers import HeaderFacts, parse_comment, parse_guano, parse_header, parse_wamd, split_vorbis

HOUR = timedelta(hours=1)


def guano(**lines: str) -> str:
    more = "".join(f"{key.replace('_', ' ')}: {value}\r\n" for key, value in lines.items())
    return f"GUANO|Version: 1.0\r\n{more}"


def wamd(records: dict[int, str]) -> bytes:
    parts = [struct.pack("<HI", kind, len(value.encode())) + value.encode() for kind, value in records.items()]
    return b"".join(parts)


def vorbis(*comments: str, vendor: str = "reference libFLAC", declared: int = 0) -> bytes:
    texts = [comment.encode() for comment in comments]
    sizes = [len(text) for text in texts]
    if texts:
        sizes[-1] += declared
    body = b"".join(struct.pack("<I", size) + text for size, text in zip(sizes, texts, strict=True))
    return struct.pack("<I", len(vendor)) + vendor.encode() + struct.pack("<I", len(texts)) + body


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def wav(*before: bytes, after: bytes = b"") -> bytes:
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16_000, 2, 16))
    body = b"WAVE" + fmt + b"".join(before) + chunk(b"data", bytes(range(200))) + after
    return b"RIFF" + struct.pack("<I", len(body)) + body


def flac(path: Path, comments: bytes) -> None:
    soundfile.write(path, np.zeros((100, 1), np.int16), 8000, format="FLAC")
    content = path.read_bytes()
    block = bytes([0x04]) + len(comments).to_bytes(3, "big") + comments
    path.write_bytes(content[:42] + block + content[42:])


COMMENTS = [
    (("Recorded at 19:17:30 13/12/2018 (UTC) by AudioMoth 0FE081F80FE081F0 at gain setting 2 while battery state was "
     "3.8V"), "2018-12-13T19:17:30", 0),
    (("Recorded at 10:25:00 04/04/2020 (UTC+1) by AudioMoth 24526B065D325963 at medium gain setting while battery "
     "state was 4.9V and temperature was 20.1C"), "2020-04-04T10:25:00", 60),
    (("Recorded at 03:13:00 03/05/2025 (UTC-5) by AudioMoth 242A2604603691DD at medium gain while battery was 3.8V and "
     "temperature was 13.1C. Recording stopped due to low voltage."), "2025-05-03T03:13:00", -300),
    (("Recorded at 03:13:00.123 03/05/2025 (UTC+9:30) during deployment 24A04F085FDF2793 at high gain by AudioMoth "
     "24A04F085FDF2793"), "2025-05-03T03:13:00", 570),
    ("Recorded at 03:13:00 03/05/2025 (UTC-3:30) by AudioMoth 242A2604603691DD", "2025-05-03T03:13:00", -210),
]  # fmt: skip


@pytest.mark.parametrize(("comment", "start", "minutes"), COMMENTS)
def test_audiomoth_says_its_time_its_zone_and_its_id(comment: str, start: str, minutes: int) -> None:
    facts = parse_comment(comment)
    assert (facts.start, facts.offset) == (datetime.fromisoformat(start), timedelta(minutes=minutes))
    assert facts.maker == "OA"
    assert len(facts.recorder) == 16


def test_a_comment_of_something_else_says_nothing() -> None:
    assert parse_comment("Recorded with a phone at noon", "Me") == HeaderFacts()
    assert parse_comment("", "AudioMoth 242A2604603691DD") == HeaderFacts(recorder="242A2604603691DD", maker="OA")
    impossible = "Recorded at 29:17:30 13/12/2018 (UTC) by AudioMoth 0FE081F80FE081F0"
    assert parse_comment(impossible) == HeaderFacts(recorder="0FE081F80FE081F0", maker="OA")


@pytest.mark.parametrize(
    ("timestamp", "start", "offset"),
    [
        ("2025-05-03T03:13:00Z", datetime(2025, 5, 3, 3, 13), timedelta(0)),
        ("2014-04-02 22:59:14-05:00", datetime(2014, 4, 2, 22, 59, 14), -5 * HOUR),
        ("2019-01-02T04:48:02.010+09:30", datetime(2019, 1, 2, 4, 48, 2, 10_000), 9.5 * HOUR),
        ("2019-01-02T04:48:02", datetime(2019, 1, 2, 4, 48, 2), None),
        ("yesterday", None, None),
    ],
)
def test_guano(timestamp: str, start: datetime | None, offset: timedelta | None) -> None:
    facts = parse_guano(
        guano(
            Timestamp=timestamp, Make="Wildlife Acoustics, Inc.", Serial="SMU00123", Loc_Position="52.146196 -4.474776"
        )
    )
    assert facts == HeaderFacts(start, offset, "SMU00123", 52.146196, -4.474776, None, "WA", "")


def test_guano_needs_its_version_and_a_position_on_earth() -> None:
    assert parse_guano("Timestamp: 2025-05-03T03:13:00Z") == HeaderFacts()
    assert parse_guano(guano(Loc_Position="0.0 0.0")).latitude is None
    assert parse_guano(guano(Loc_Position="97.1 10.0")).latitude is None
    assert parse_guano(guano(Make="Frontier Labs")).maker == "FL"
    assert parse_guano(guano(Make="Open Acoustic Devices")).maker == "OA"


def test_wamd() -> None:
    facts = parse_wamd(
        wamd({0: "\1\0", 1: "SM4", 2: "S4A01207", 3: "2.3.1", 5: "2014-04-02 22:59:14-05:00",
              6: "WGS84,41.8230,N,88.0702,W,210"})
    )  # fmt: skip
    start = datetime(2014, 4, 2, 22, 59, 14)
    assert facts == HeaderFacts(start, -5 * HOUR, "S4A01207", 41.823, -88.0702, None, "WA", "2.3.1")
    south = parse_wamd(wamd({2: "S4A01207", 5: "2014-04-02 22:59:14", 6: "WGS84,27.3,S,152.8,E"}))
    assert (south.start, south.offset, south.latitude, south.longitude) == (start, None, -27.3, 152.8)
    assert parse_wamd(wamd({6: "WGS84,27.3,S,152.8,E"})) == HeaderFacts()
    assert parse_wamd(b"\1\0\xff\xff\xff\xff") == HeaderFacts(maker="WA")


@pytest.mark.parametrize(
    "start",
    ["2019-09-19T10:04:52+10:00", "2019-09-19 10:04:52+10:00", "20190919T100452+1000", "19/09/2019 10:04:52 +10:00"],
)
@pytest.mark.parametrize("declared", [0, 1, 400])
def test_frontier_labs_comments_although_the_last_is_declared_too_long(start: str, declared: int) -> None:
    block = vorbis(
        f"RecordingStart={start}", "SensorUid=00008570", "SensorFirmwareVersion=3.30",
        "SensorLocation=-27.3886+152.8716", "ChannelGain1=50dB", declared=declared,
    )  # fmt: skip
    facts = parse_header({VORBIS: block})
    assert facts == HeaderFacts(
        datetime(2019, 9, 19, 10, 4, 52), 10 * HOUR, "00008570", -27.3886, 152.8716, 50.0, "FL", "3.30"
    )


def test_other_vorbis_comments_say_nothing() -> None:
    assert parse_header({VORBIS: vorbis("TITLE=Dawn", "DATE=2019-09-19")}) == HeaderFacts()
    assert split_vorbis(b"") == {}
    assert split_vorbis(vorbis("no equals sign", "A=1", "a=2")) == {"a": "1"}


def test_several_blocks_fill_each_other_in_and_a_time_has_one_origin() -> None:
    blocks = {
        GUANO: guano(Timestamp="2025-05-03T03:13:00", Loc_Position="52.1 4.4").encode(),
        COMMENT: COMMENTS[2][0].encode() + b"\0",
        ARTIST: b"AudioMoth 242A2604603691DD\0",
        WAMD: b"",
    }
    facts = parse_header(blocks)
    assert facts == HeaderFacts(datetime(2025, 5, 3, 3, 13), None, "242A2604603691DD", 52.1, 4.4, None, "OA", "")


def test_blocks_are_found_before_and_after_the_samples(tmp_path: Path) -> None:
    info = b"INFO" + chunk(b"ICMT", b"Recorded") + chunk(b"IART", b"AudioMoth") + chunk(b"ISFT", b"x")
    path = tmp_path / "a.wav"
    path.write_bytes(wav(chunk(b"wamd", b"w"), chunk(b"LIST", info), after=chunk(b"guan", b"GUANO|Version: 1.0")))
    assert read_blocks(path) == {WAMD: b"w", COMMENT: b"Recorded", ARTIST: b"AudioMoth", GUANO: b"GUANO|Version: 1.0"}
    flac(tmp_path / "a.flac", vorbis("SensorUid=1"))
    assert parse_header(read_blocks(tmp_path / "a.flac")).recorder == "1"
    assert soundfile.info(tmp_path / "a.flac").frames == 100
    (tmp_path / "b.wav").write_bytes(b"no header at all")
    assert read_blocks(tmp_path / "b.wav") == {}


@given(st.binary(max_size=300), st.sampled_from([b"RIFF\0\0\0\0WAVE", b"fLaC", b"RIFX\0\0\0\0WAVE", b""]))
def test_no_bytes_are_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes, head: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.wav"
    path.write_bytes(head + content)
    parse_header(read_blocks(path))
    for name in (GUANO, WAMD, COMMENT, VORBIS):
        parse_header({name: content})
