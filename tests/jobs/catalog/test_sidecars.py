from datetime import datetime, timedelta
from pathlib import PurePath, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.catalog.sidecars import Card, Fix, LogEntry, find_card, is_sidecar, parse_gps_log, parse_reclog, read_card

TEN = timedelta(hours=10)
RECLOG = """Recording log
Date (DD/MM/YYYY),Time (HH:MM:SS),UTC Timezone,Filename,Gain (dB),Battery Voltage,% full,
22/09/2019 ,01:59:54 ,+10:00,0:/20190922_AAO/20190922T020000+1000_REC.flac,50dB,12.69V,95%,
22/09/2019 ,02:00:00 ,+10:00,0:/20190922_AAO/20190922T020000+1000_REC.flac,40dB,12.69V,95%,
01/03/2019 ,00:00:00 ,-03:30,0:/20190301_AAO [19.2 152.8]/201903 1T000000+1000_REC [19.2 152.8].flac,50dB,12.6V,95%,
99/03/2019 ,00:00:00 ,+10:00,0:/x.flac,50dB,12.6V,95%,
power lost
"""
GPS = """GPS log file
Latitude (decimal degrees),Longitude (decimal degrees),HH/MM,DD/MM/YY
-27.3886+152.8717,10:08,19/09/2019
Failed to acquire GPS lock after 30 mins
-27.3885,152.8722,13:21,29/11/19
-97.0,152.8722,13:21,29/11/2019
-27.0,152.8722,13:21,39/11/2019
"""


def test_reclog() -> None:
    assert list(parse_reclog(RECLOG)) == [
        ("20190922T020000+1000_REC.flac", LogEntry(datetime(2019, 9, 22, 1, 59, 54), TEN, 50.0)),
        ("20190922T020000+1000_REC.flac", LogEntry(datetime(2019, 9, 22, 2), TEN, 40.0)),
        ("201903 1T000000+1000_REC [19.2 152.8].flac",
         LogEntry(datetime(2019, 3, 1), -timedelta(hours=3, minutes=30), 50.0)),
    ]  # fmt: skip


def test_a_reclog_of_two_channels_and_one_without_gain() -> None:
    two = RECLOG.replace("Gain (dB)", "Gain ChA(dB)")
    assert next(iter(parse_reclog(two)))[1].gain_db == 50
    none = "Date,Time,Filename\n22/09/2019,02:00:00,a.wav\n"
    assert list(parse_reclog(none)) == [("a.wav", LogEntry(datetime(2019, 9, 22, 2), None, None))]
    assert list(parse_reclog("Date,Time\n1,2\n")) == []


def test_gps_log_in_both_forms() -> None:
    assert list(parse_gps_log(GPS)) == [
        Fix(datetime(2019, 9, 19, 10, 8), -27.3886, 152.8717), Fix(datetime(2019, 11, 29, 13, 21), -27.3885, 152.8722),
    ]  # fmt: skip


def test_a_card_answers_with_the_nearest_line_and_the_last_position() -> None:
    cards: dict[PurePath, Card] = {}
    top = PurePosixPath("/audio/00023764")
    read_card(cards, top / "Reclog.csv", RECLOG.encode())
    read_card(cards, top / "GPS_log.csv", GPS.encode())
    read_card(cards, top / "logfile_00008570_SD1.txt", b"01/01/2020 00:00:02 Firmware: V3.30\n")
    card = find_card(top / "20190922_AAO", cards)[1]
    assert card is not None
    assert (card.serial, card.firmware) == ("00008570", "3.30")
    name = "20190922T020000+1000_REC.flac"
    assert [entry.gain_db for entry in (card.entry(name, datetime(2019, 9, 22, 2)),) if entry] == [40.0]
    assert [entry.gain_db for entry in (card.entry(name, datetime(2019, 9, 22, 1, 59, 50)),) if entry] == [50.0]
    assert [entry.gain_db for entry in (card.entry(name, None),) if entry] == [40.0]
    assert card.entry("other.flac", None) is None
    assert card.position(datetime(2019, 9, 1)) == (-27.3886, 152.8717)
    assert card.position(datetime(2019, 11, 29, 13, 20)) == (-27.3886, 152.8717)
    assert card.position(datetime(2019, 12, 1)) == (-27.3885, 152.8722)
    assert card.position(None) == (-27.3886, 152.8717)
    assert Card().position(None) == (None, None)
    assert find_card(PurePosixPath("/audio/other"), cards)[1] is None


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Reclog.csv", True), ("RECLOG.CSV", True), ("GPS_log.csv", True), ("logfile.txt", True),
        ("logfile_-0000001_SD1.txt", True), ("logfile (2).txt", True), ("notes.txt", False), ("a.csv", False),
    ],
)  # fmt: skip
def test_which_files_are_heard(name: str, is_one: bool) -> None:
    assert is_sidecar(name) == is_one


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    list(parse_reclog(text))
    list(parse_reclog(RECLOG + text))
    list(parse_gps_log(text))
