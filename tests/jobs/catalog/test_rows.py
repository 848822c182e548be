"""What becomes of several witnesses of one recording."""

import struct
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from jobs.catalog.core import catalog
from jobs.catalog.examine import examine
from jobs.catalog.names import NameFacts, parse_name
from jobs.catalog.sources import survey
from jobs.catalog.times import Start, Witness, resolve_start
from jobs.catalog.zones import parsed_zones
from lake.deployments import read_deployments

HOUR = timedelta(hours=1)
NOON = datetime(2021, 6, 22, 12)
CHICAGO = ZoneInfo("America/Chicago")
LOCAL = parse_name("20210622_120000.WAV")
FULL = parse_name("20210622T120000-0500_REC.flac")
NAMELESS = NameFacts()


def header(start: datetime, hours: float | None = None) -> Witness:
    return Witness("header", start, None if hours is None else hours * HOUR)


def reclog(start: datetime, hours: float | None = None) -> Witness:
    return Witness("reclog", start, None if hours is None else hours * HOUR)


CASES: list[tuple[str, NameFacts, Any, list[Witness], Start]] = [
    ("the header knows the offset of the name's clock", LOCAL, None, [header(NOON, -5)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "name+header")),
    ("a header in UTC tells the offset of a name in local time", LOCAL, None, [header(NOON + 5 * HOUR, 0)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "name+header")),
    ("the log is some seconds off", LOCAL, None, [reclog(NOON + timedelta(seconds=6), -5)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "name+reclog")),
    ("what a recorder wrote down beats the user's zone", LOCAL, CHICAGO, [header(NOON, 0)],
     Start(NOON, NOON, timedelta(0), "name+header", "America/Chicago is -05:00")),
    ("a header without an offset leaves it to the zone", LOCAL, CHICAGO, [header(NOON)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "name+zone")),
    ("a header without an offset leaves it open", LOCAL, None, [header(NOON)],
     Start(None, NOON, None, "name", "", ("zone_unknown",))),
    ("witnesses that agree are silent", FULL, None, [header(NOON, -5), reclog(NOON + 2 * timedelta(seconds=1), -5)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "name")),
    ("the same instant told in UTC agrees", FULL, None, [header(NOON + 5 * HOUR, 0)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "name")),
    ("the name is believed, the header is quoted", FULL, None, [header(NOON, 0)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "name", "header says 2021-06-22T12:00:00+00:00")),
    ("two that disagree are both quoted", FULL, None, [header(NOON + HOUR), reclog(NOON, -6)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "name",
           "header says 2021-06-22T13:00:00; reclog says 2021-06-22T12:00:00-06:00")),
    ("a local clock an hour off is no agreement", LOCAL, None, [header(NOON - HOUR, -5)],
     Start(NOON + 4 * HOUR, NOON, -4 * HOUR, "name+header", "header says 2021-06-22T11:00:00-05:00")),
    ("a header of another day tells no offset", LOCAL, None, [header(NOON + 77 * HOUR, -5)],
     Start(None, NOON, None, "name", "header says 2021-06-25T17:00:00-05:00", ("zone_unknown",))),
    ("a header that is minutes off tells no offset", LOCAL, CHICAGO, [header(NOON + timedelta(minutes=7), -5)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "name+zone", "header says 2021-06-22T12:07:00-05:00")),
    ("without a time in the name the header speaks", NAMELESS, None, [header(NOON, -5)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "header")),
    ("and the log helps it", NAMELESS, None, [header(NOON), reclog(NOON, -5)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "header+reclog")),
    ("or the user's zone does", NAMELESS, CHICAGO, [header(NOON)],
     Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "header+zone")),
    ("an offset is a zone", LOCAL, timezone(-5 * HOUR), [], Start(NOON + 5 * HOUR, NOON, -5 * HOUR, "name+zone")),
    ("AudioMoth's hexadecimal names are UTC", parse_name("60D1D3C0.WAV"), None, [header(NOON - 5 * HOUR, -5)],
     Start(datetime(2021, 6, 22, 12, 12, 48), datetime(2021, 6, 22, 12, 12, 48), timedelta(0), "name",
           "header says 2021-06-22T07:00:00-05:00")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "zone", "witnesses", "start"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_who_is_believed(facts: NameFacts, zone: Any, witnesses: list[Witness], start: Start) -> None:
    assert resolve_start(facts, zone, witnesses) == start


def test_the_zone_of_the_site_is_the_last_to_be_asked() -> None:
    assert resolve_start(LOCAL, None, site_zone=CHICAGO).source == "name+deployment"
    assert resolve_start(LOCAL, ZoneInfo("UTC"), site_zone=CHICAGO).source == "name+zone"
    assert resolve_start(FULL, None, site_zone=ZoneInfo("UTC")) == resolve_start(FULL, None)
    assert resolve_start(LOCAL, None, [header(NOON, -6)], site_zone=CHICAGO).source == "name+header"


def test_a_folder_is_no_younger_than_what_is_in_it() -> None:
    for day, conflict in ((22, ""), (23, ""), (24, "folder says 2021-06-24 or later"), (1, "")):
        assert resolve_start(FULL, None, folder_date=date(2021, 6, day)).conflict == conflict


@given(
    st.datetimes(datetime(2001, 1, 1), datetime(2050, 1, 1)).map(lambda t: t.replace(microsecond=0)),
    st.integers(-56, 56).map(lambda quarters: quarters * timedelta(minutes=15)),
    st.integers(-50, 50).map(lambda seconds: timedelta(seconds=seconds)),
)
def test_a_header_in_utc_gives_back_any_offset(utc: datetime, offset: timedelta, jitter: timedelta) -> None:
    start = resolve_start(
        NameFacts(utc + offset, pattern="local"), None, [Witness("header", utc + jitter, timedelta(0))]
    )
    assert (start.utc, start.offset, start.conflict) == (utc, offset, "")


def audiomoth(path: Path, comment: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(len(comment)).uniform(-0.1, 0.1, 500), 8000)
    content = comment.encode() + b"\0" * (1 + len(comment) % 2)
    info = b"INFO" + b"ICMT" + struct.pack("<I", len(content)) + content
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", len(info)) + info)


def table_of(folder: Path, **options: Any) -> pd.DataFrame:
    usual: dict[str, Any] = {"zones": {}, "root": folder, "examine_one": examine}
    return catalog(survey([folder]), **(usual | options))


def test_a_header_gives_zone_and_recorder_where_names_do_not(tmp_path: Path) -> None:
    said = "Recorded at 12:00:{:02d} 22/06/2021 (UTC-5) by AudioMoth {} at medium gain"
    audiomoth(tmp_path / "card/20210622_120000.WAV", said.format(0, "24A04F085FDF2793"))
    audiomoth(tmp_path / "card/20210622_120010.WAV", said.format(10, "242A2604603691DD"))
    table = table_of(tmp_path)
    assert table["recorder"].tolist() == ["24A04F085FDF2793", "242A2604603691DD"], "two recorders shared a card"
    assert table["start_utc"].tolist() == [pd.Timestamp("2021-06-22T17:00"), pd.Timestamp("2021-06-22T17:00:10")]
    assert table["time_source"].tolist() == ["name+header"] * 2
    (tmp_path / "card/20210622_120010.WAV").unlink()
    assert table_of(tmp_path)["recorder"].tolist() == ["card"]


def test_gain_and_position_come_from_the_card(tmp_path: Path) -> None:
    folder = tmp_path / "00023764"
    for i, name in enumerate(["20210622T000000-0500_REC.wav", "20210722T000000-0500_REC.wav"]):
        (folder / "20210622_STUDY").mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "20210622_STUDY" / name, np.random.default_rng(i).uniform(-0.1, 0.1, 500), 8000)
    (folder / "Reclog.csv").write_text(
        "Recording log\nDate (DD/MM/YYYY),Time (HH:MM:SS),UTC Timezone,Filename,Gain (dB)\n"
        "22/06/2021 ,00:00:01 ,-05:00,0:/20210622_STUDY/20210622T000000-0500_REC.wav,40dB\n"
        "22/07/2021 ,00:00:01 ,-05:00,0:/20210622_STUDY/20210722T000000-0500_REC.wav,35dB\n"
    )
    (folder / "logfile_00008570_SD1.txt").write_text("01/06/2021 00:00:00 Firmware: V3.30\n")
    (folder / "GPS_log.csv").write_text("41.8141-088.0712,00:00,01/06/2021\n41.8200-088.0600,00:00,01/07/2021\n")
    told: list[tuple[str, str]] = []
    table = table_of(tmp_path, on_firmware=lambda *facts: told.append(facts))
    assert told == [("00023764", "3.30")] * 2
    assert table["gain_db"].tolist() == [40.0, 35.0]
    assert table["latitude"].tolist() == [41.8141, 41.82]
    assert table["longitude"].tolist() == [-88.0712, -88.06]
    assert table["time_conflict"].tolist() == ["", ""]


def test_a_position_in_the_folder_is_the_last_resort(tmp_path: Path) -> None:
    folder = tmp_path / "20190919_AAO_-27.3886+152.8716"
    folder.mkdir()
    soundfile.write(folder / "20190919T120000+1000_REC.wav", np.zeros(10), 8000)
    row = table_of(tmp_path).loc[0]
    assert (row["latitude"], row["longitude"]) == (-27.3886, 152.8716)


def test_local_times_of_a_recorder_with_deployments_are_placed_by_their_zone(tmp_path: Path) -> None:
    for i, name in enumerate(["20210622_120000.wav", "20210722_120000.wav", "20230101_120000.wav"]):
        (tmp_path / "A").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "A" / name, np.random.default_rng(i).uniform(-0.1, 0.1, 500), 8000)
    path = tmp_path / "deployments.csv"
    path.write_text(
        "deployment,recorder,start,end,zone\n"
        "A-1,A,2021-06-01,2021-07-01,America/Chicago\nA-2,A,2021-07-01,2021-08-01,America/Denver\n"
    )
    table = table_of(tmp_path, deployments=read_deployments(path))
    assert table["utc_offset"].tolist() == ["-05:00", "-06:00", ""]
    assert table["time_source"].tolist() == ["name+deployment"] * 2 + ["name"]
    path.write_text("deployment,recorder,start,zone\nA-1,A,2021-06-01,America/Chicago\n")
    assert table_of(tmp_path, deployments=read_deployments(path))["utc_offset"].tolist() == [
        "-05:00",
        "-05:00",
        "-06:00",
    ]
    assert (
        table_of(tmp_path, deployments=read_deployments(path), zones=parsed_zones({"A": "UTC"}))["utc_offset"].tolist()
        == ["+00:00"] * 3
    )


def test_a_header_in_local_time_leaves_the_zone_open(tmp_path: Path) -> None:
    path = tmp_path / "A" / "dawn.wav"
    path.parent.mkdir()
    soundfile.write(path, np.random.default_rng(1).uniform(-0.1, 0.1, 500), 8000)
    said = b"GUANO|Version: 1.0\nTimestamp: 2021-06-22T12:00:00\n\n"
    path.write_bytes(path.read_bytes() + b"guan" + struct.pack("<I", len(said)) + said)
    row = table_of(tmp_path).loc[0]
    assert (row["time_source"], row["problems"]) == ("header", "zone_unknown;OE001")
    assert row["start_local"] == pd.Timestamp(NOON)
    placed = table_of(tmp_path, zones=parsed_zones({"A": "America/Chicago"})).loc[0]
    assert (placed["time_source"], placed["problems"], placed["utc_offset"]) == ("header+zone", "OE001", "-05:00")
