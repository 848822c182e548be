from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.catalog.names import GUESSES, PATTERNS, PROGRAMS, NameFacts, has_impossible_time, maker_of, parse_name

Position = tuple[float, float]


def at(text: str, offset: str = "") -> tuple[datetime, timedelta | None]:
    """Return a time and an offset such as -05:00."""
    if not offset:
        return datetime.fromisoformat(text), None
    size = timedelta(hours=int(offset[1:3]), minutes=int(offset[4:]))
    return datetime.fromisoformat(text), -size if offset[0] == "-" else size


CASES: list[tuple[str, tuple[datetime, timedelta | None], str, Position | None, str]] = [
    # The study this project began with: the recorder is the folder, two firmwares, two zones.
    ("20210622T000000+0000_REC.wav", at("2021-06-22T00:00", "+00:00"), "offset", None, ""),
    ("20210721T063137-0500_Rec.wav", at("2021-07-21T06:31:37", "-05:00"), "offset", None, ""),
    # Frontier Labs
    ("20160809_063108_Dawn _1.4647 116.9136_.wav", at("2016-08-09T06:31:08"), "local", (1.4647, 116.9136), ""),
    ("20160823_063006_Dawn _-1.4763 178.8986_.wav", at("2016-08-23T06:30:06"), "local", (-1.4763, 178.8986), ""),
    ("20221002_080000_Rec.wav", at("2022-10-02T08:00"), "local", None, ""),
    ("20181101_050000_REC [-27.3866 152.8761].flac", at("2018-11-01T05:00"), "local", (-27.3866, 152.8761), ""),
    ("20190422T200000+1000_REC [19.2144 152.8811].flac", at("2019-04-22T20:00", "+10:00"), "offset",
     (19.2144, 152.8811), ""),
    ("201906 7T095935+1000_REC [19.2144 152.8811].flac", at("2019-06-07T09:59:35", "+10:00"), "space_for_zero",
     (19.2144, 152.8811), ""),
    ("20191125T000000+1000_REC.flac", at("2019-11-25T00:00", "+10:00"), "offset", None, ""),
    ("20210617T080000+0000_Rec2_-18.2656+144.5564.flac", at("2021-06-17T08:00", "+00:00"), "offset",
     (-18.2656, 144.5564), ""),
    ("8537_20210614T120000-0300_every1d6x4hrs [+44.72053-062.80072].wav", at("2021-06-14T12:00", "-03:00"), "offset",
     (44.72053, -62.80072), "8537"),
    ("00008570_Dartmouth_20220331T094900-0300_Rec.flac", at("2022-03-31T09:49", "-03:00"), "offset", None, "00008570"),
    ("33901_BigHarbourIslandA1_20250710T130000-0300.wav", at("2025-07-10T13:00", "-03:00"), "offset", None, "33901"),
    ("-0000001_20210614T120000-0300_Rec.wav", at("2021-06-14T12:00", "-03:00"), "offset", None, ""),
    ("S20240815T091156.982648+1000_E20240815T091251.967555+1000_-12.34567+78.98102.wav",
     at("2024-08-15T09:11:56.982648", "+10:00"), "localisation", (-12.34567, 78.98102), ""),
    # AudioMoth
    ("5B07C752.WAV", at("2018-05-25T08:20:34", "+00:00"), "hexadecimal", None, ""),
    ("00000000.WAV", at("1970-01-01", "+00:00"), "hexadecimal", None, ""),
    ("20190919_070035.WAV", at("2019-09-19T07:00:35"), "local", None, ""),
    ("20190919_070035T.WAV", at("2019-09-19T07:00:35"), "local", None, ""),
    ("24A04F085FDF2793_20231231_120000.WAV", at("2023-12-31T12:00"), "local", None, "24A04F085FDF2793"),
    ("242A2604603691DD_20250503_031300T.WAV", at("2025-05-03T03:13"), "local", None, "242A2604603691DD"),
    ("20180517_010348.5AFCD4F4.WAV", at("2018-05-17T01:03:48"), "local", None, ""),
    # Wildlife Acoustics
    ("SM304290_0+1_20211001_120004.wav", at("2021-10-01T12:00:04"), "local", None, "SM304290"),
    ("SM304290_0_20211001_120004.wav", at("2021-10-01T12:00:04"), "local", None, "SM304290"),
    ("OLONG-CH1_0+1_20171121$143444.wav", at("2017-11-21T14:34:44"), "local", None, "OLONG-CH1"),
    ("OLONG-SOLAR_0+1_20180221T031609+1000.wav", at("2018-02-21T03:16:09", "+10:00"), "offset", None, "OLONG-SOLAR"),
    ("S4U09523_20210621_205706.wav", at("2021-06-21T20:57:06"), "local", None, "S4U09523"),
    ("S4A03895_20190522_050000.flac", at("2019-05-22T05:00"), "local", None, "S4A03895"),
    ("WALDEN_20240601_140505.wav", at("2024-06-01T14:05:05"), "local", None, "WALDEN"),
    ("FNQ-RBS_20190102_044802_010.wav", at("2019-01-02T04:48:02.010"), "milliseconds", None, "FNQ-RBS"),
    ("SMU00123_20230405$060708_900.wav", at("2023-04-05T06:07:08.900"), "milliseconds", None, "SMU00123"),
    ("NW3-010793_20140331_053200.wav", at("2014-03-31T05:32"), "local", None, "NW3-010793"),
    # Others
    ("SwiftOne_20220719_000000_-0400.wav", at("2022-07-19", "-04:00"), "offset", None, "SwiftOne"),
    ("OWL_123456_2022-07-19_T00-00-00.WAV", at("2022-07-19"), "dashes", None, "OWL_123456"),
    ("2022-08-30_12-08-00 (1).wav", at("2022-08-30T12:08"), "dashes", None, ""),
    ("2021-06-22T00:00:00-05:00.wav", at("2021-06-22", "-05:00"), "dashes", None, ""),
    ("dalby_cotton_01_2981_703091_20210209_180330_30_0.wav", at("2021-02-09T18:03:30"), "excerpt",
     None, "dalby_cotton_01_2981"),
    ("20070415051314.wav.trimmed.wav", at("2007-04-15T05:13:14"), "solid", None, ""),
    ("0000514b-9329-404c-bdb3-a50827457b15_20100503-080000Z.mp3", at("2010-05-03T08:00", "+00:00"), "offset", None, ""),
    ("20180226_040000Z_+40.1213-075.0015+2.79CRSWGS_84.flac", at("2018-02-26T04:00", "+00:00"), "offset",
     (40.1213, -75.0015), ""),
    ("PILLIGA_20121204_234600_+13-090.wav", at("2012-12-04T23:46"), "local", (13.0, -90.0), "PILLIGA"),
    ("20091219T070006.789+1130_00600.wav", at("2009-12-19T07:00:06.789", "+11:30"), "offset", None, ""),
    ("123_20131012_123456-09_456.wav", at("2013-10-12T12:34:56", "-09:00"), "offset", None, "123"),
    # Names of an archive, with the times, offsets and positions that its keepers expect (QutEcoacoustics/emu)
    ("THOMPSON_20170625_102105.wav", at("2017-06-25T10:21:05"), "local", None, "THOMPSON"),
    ("20170704_104849_.wav", at("2017-07-04T10:48:49"), "local", None, ""),
    ("20150703_050000_MusimunatDay2.wav", at("2015-07-03T05:00"), "local", None, ""),
    ("MISTLETOE_20170406_075002.wav", at("2017-04-06T07:50:02"), "local", None, "MISTLETOE"),
    ("20180226_040000_Bar29 _27.2819 90.1361_.wav", at("2018-02-26T04:00"), "local", (27.2819, 90.1361), ""),
    ("20180226_040000_Bar29 [27.2819 90.1361].wav", at("2018-02-26T04:00"), "local", (27.2819, 90.1361), ""),
    ("SM301297_0+1_20170912_220000.wav", at("2017-09-12T22:00"), "local", None, "SM301297"),
    ("STURT1_20150130_000954.wav", at("2015-01-30T00:09:54"), "local", None, "STURT1"),
    ("MISTLETOE_20151126_182616.wav", at("2015-11-26T18:26:16"), "local", None, "MISTLETOE"),
    ("THOMPSON_20171025_102103.wav", at("2017-10-25T10:21:03"), "local", None, "THOMPSON"),
    ("NW3-010793_20131024_051500.wav", at("2013-10-24T05:15"), "local", None, "NW3-010793"),
    ("20180210_123000_Bar26 _23.8916 95.9669_.wav", at("2018-02-10T12:30"), "local", (23.8916, 95.9669), ""),
    ("PILLIGA_20121204_234600.wav", at("2012-12-04T23:46"), "local", None, "PILLIGA"),
    ("20110921_110000.wav", at("2011-09-21T11:00"), "local", None, ""),
    ("WOO_20170611_100000+1000.wav", at("2017-06-11T10:00", "+10:00"), "offset", None, "WOO"),
    ("20161108_075126_SunriseToSunset [-39.5336 -131.2711].wav", at("2016-11-08T07:51:26"),
     "local", (-39.5336, -131.2711), ""),
    ("NW6-0009582_20131224_130100.wav", at("2013-12-24T13:01"), "local", None, "NW6-0009582"),
    ("20091219T070006+1000_00600.wav", at("2009-12-19T07:00:06", "+10:00"), "offset", None, ""),
    ("5B07DEA0.WAV", at("2018-05-25T10:00", "+00:00"), "hexadecimal", None, ""),
    ("5B07FAC0.WAV", at("2018-05-25T12:00", "+00:00"), "hexadecimal", None, ""),
    ("5B0816E0.WAV", at("2018-05-25T14:00", "+00:00"), "hexadecimal", None, ""),
    ("0_20120108_010000_000.wav", at("2012-01-08T01:00"), "milliseconds", None, ""),
    ("DM420082_20111021_000000.MP3", at("2011-10-21T00:00"), "local", None, "DM420082"),
    ("EMER_20040521_201651.wav", at("2004-05-21T20:16:51"), "local", None, "EMER"),
    ("EMER_20000102_133112.wav", at("2000-01-02T13:31:12"), "local", None, "EMER"),
    ("20070513081940.trimmed_manually.wav", at("2007-05-13T08:19:40"), "solid", None, ""),
    ("EMER_20000101_000553.wav", at("2000-01-01T00:05:53"), "local", None, "EMER"),
    ("OLONG-SOLAR_0+1_20180221$031609.wav", at("2018-02-21T03:16:09"), "local", None, "OLONG-SOLAR"),
    ("20151212_123456Z.mp3", at("2015-12-12T12:34:56", "+00:00"), "offset", None, ""),
    ("123_20131012_123456-09_456.mpg", at("2013-10-12T12:34:56", "-09:00"), "offset", None, "123"),
    ("20161108T075126.123456-0430_SunriseToSunset [-39.5336 -131.2711].wav", at("2016-11-08T07:51:26.123456", "-04:30"),
     "offset", (-39.5336, -131.2711), ""),
    ("20091219T070006.789123+1130_00600.wav", at("2009-12-19T07:00:06.789123", "+11:30"), "offset", None, ""),
    # Names of soundscapes that others published, and of makers' manuals
    ("SSW_001_20170225_010000Z.flac", at("2017-02-25T01:00", "+00:00"), "offset", None, "SSW_001"),
    ("UHH_001_S01_20161121_150000.flac", at("2016-11-21T15:00"), "local", None, "UHH_001_S01"),
    ("HSN_001_20150708_061805.flac", at("2015-07-08T06:18:05"), "local", None, "HSN_001"),
    ("PER_001_S01_20190116_100007Z.flac", at("2019-01-16T10:00:07", "+00:00"), "offset", None, "PER_001_S01"),
    ("NES_001_S01_20190914_043000.ogg", at("2019-09-14T04:30"), "local", None, "NES_001_S01"),
    ("SMM215_20231117_090800.wav", at("2023-11-17T09:08"), "local", None, "SMM215"),
    ("20200711T033015+0000_REC.flac", at("2020-07-11T03:30:15", "+00:00"), "offset", None, ""),
    ("8537_20210622T160000-0300_every1d6x4hrs [+44.72053-062.80072].wav", at("2021-06-22T16:00", "-03:00"), "offset",
     (44.72053, -62.80072), "8537"),
    ("20220104_183000.WAV", at("2022-01-04T18:30"), "local", None, ""),
    # Midnight may be written as the end of the day before.
    ("weird20180801_240000.aac", at("2018-08-02"), "local", None, ""),
    ("weird20181231_240000-1030.aac", at("2019-01-01", "-10:30"), "offset", None, ""),
]  # fmt: skip


PROGRAM_CASES: list[tuple[str, tuple[datetime, timedelta | None], str, str]] = [
    # BirdNET-Pi, its streams and its clips; names with other signs where a file system knows no colon
    ("2024-01-15-birdnet-06:31:21.wav", at("2024-01-15T06:31:21"), "birdnet", ""),
    ("2024-01-15-birdnet-RTSP_1-06:31:40.wav", at("2024-01-15T06:31:40"), "birdnet", "RTSP_1"),
    ("2024-01-15-birdnet-06-31-21.wav", at("2024-01-15T06:31:21"), "birdnet", ""),
    ("Eurasian_Wren-85-2024-01-15-birdnet-06:31:21.mp3", at("2024-01-15T06:31:21"), "birdnet", ""),
    ("phoebe_85p_20240115T063121Z.wav", at("2024-01-15T06:31:21", "+00:00"), "offset", ""),  # BirdNET-Go
    ("2021-06-22-site 7-05:10:00.wav", at("2021-06-22T05:10"), "text_between", ""),
    ("site4-2012-05-16_18-30.wav", at("2012-05-16T18:30"), "minutes", "site4"),  # Arbimon
    ("Audio 2021-06-22 at 17.10.wav", at("2021-06-22T17:10"), "minutes", "Audio"),
    ("20210622_17:10.wav", at("2021-06-22T17:10"), "solid_minutes", ""),
    ("2021-06-22 05.10.00.wav", at("2021-06-22T05:10"), "dashes", ""),
    ("2021-06-22 at 05.10.00.m4a", at("2021-06-22T05:10"), "dashes", ""),
    ("20210622_05:20:00.wav", at("2021-06-22T05:20"), "dashes", ""),
    ("20210622-05-20-00.wav", at("2021-06-22T05:20"), "dashes", ""),
    ("2021_06_22_06_20_00.wav", at("2021-06-22T06:20"), "dashes", ""),
    ("2021.06.22.05.10.00.wav", at("2021-06-22T05:10"), "dashes", ""),
    ("2021-06-22_051000.wav", at("2021-06-22T05:10"), "dashes", ""),
    ("20210622 051000.wav", at("2021-06-22T05:10"), "dashes", ""),
    ("2021-06-22T05-10-00Z.wav", at("2021-06-22T05:10", "+00:00"), "dashes", ""),
    ("2021-06-22T05:10:00.123+02:00.wav", at("2021-06-22T05:10:00.123", "+02:00"), "dashes", ""),
    ("2021-06-22_05-10-00_-0400.wav", at("2021-06-22T05:10", "-04:00"), "dashes", ""),
    ("2021-06-22 05-10-00 UTC-05:00.wav", at("2021-06-22T05:10", "-05:00"), "dashes", ""),
    ("2021-06-22 05\ua78910\ua78900.wav", at("2021-06-22T05:10"), "dashes", ""),
    ("20210622_051000_UTC.wav", at("2021-06-22T05:10", "+00:00"), "offset", ""),
    ("20210622_051000_UTC+2.wav", at("2021-06-22T05:10", "+02:00"), "offset", ""),
    ("2021-06-22 05h10m00s.wav", at("2021-06-22T05:10"), "letters", ""),
    ("20210622_05h10.wav", at("2021-06-22T05:10"), "letters", ""),
    ("20210622T0510Z.wav", at("2021-06-22T05:10", "+00:00"), "basic_minutes", ""),
    ("2021-06-22 05.10.00 PM.wav", at("2021-06-22T17:10"), "dashes", ""),
    ("20210622_051000PM.wav", at("2021-06-22T17:10"), "local", ""),
    ("20210622_171000PM.wav", at("2021-06-22T17:10"), "local", ""),
    ("20210622_121000 AM.wav", at("2021-06-22T00:10"), "local", ""),
    ("20210622_051000 AM07.wav", at("2021-06-22T05:10"), "local", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "when", "pattern", "recorder"), PROGRAM_CASES, ids=[case[0] for case in PROGRAM_CASES]
)
def test_names_of_programs_and_people(
    name: str, when: tuple[datetime, timedelta | None], pattern: str, recorder: str
) -> None:
    assert parse_name(name) == NameFacts(when[0], when[1], recorder, None, None, pattern)
    assert parse_name(name, GUESSES) == parse_name(name)


def test_every_pattern_of_programs_has_a_case() -> None:
    assert {case[2] for case in PROGRAM_CASES} >= set(PROGRAMS)


@pytest.mark.parametrize(
    "name",
    [
        "2021-06-22-05-10.wav", "2021-06-22_18-30-2.wav", "2021-06-22_18-30_1.wav",  # parts that are counted
        "20210622_0001.wav", "20210622_0520.wav", "20210622_01-02.wav", "20210622_01.02.wav", "210622_0001.wav",
        "20210622.wav", "site_2012-05.wav", "2012-05_001.wav", "2021-06-22_rec-05.wav", "v2021.06.22.1.wav",
        "XC123456 - Wren - 2021-06-22.mp3", "AUD-20210622-WA0001.m4a", "20210622_S4A05678.wav",
        "22-06-2021_05-10-00.wav", "22_06_2021_05_10_00.wav", "06-22-2021_05-10-00-30.wav",  # the day, or month, first
        "1624338000.wav", "1624338000123.wav", "671629352.wav", "20210622.20210623.wav",  # a serial, seconds since 1970
        "210622_051000.wav", "20210622_171000AM.wav", "20210622_001000 PM.wav", "2021-06-22_25-10.wav",
        "2021-06-22T24:10.wav", "2021-06-22 5.10.00.wav", "2021-06-22_05-10-00 UTC+15.wav",
        "2021-06-22_60:00.wav", "2021-02-30-birdnet-06:31:21.wav",
    ],
)  # fmt: skip
def test_no_time_is_made_of_other_numbers(name: str) -> None:
    assert parse_name(name).start is None


@pytest.mark.parametrize(("name", "when", "pattern", "position", "recorder"), CASES, ids=[case[0] for case in CASES])
def test_names_of_real_recorders(
    name: str, when: tuple[datetime, timedelta | None], pattern: str, position: Position | None, recorder: str
) -> None:
    latitude, longitude = position or (None, None)
    assert parse_name(name) == NameFacts(when[0], when[1], recorder, latitude, longitude, pattern)


def test_every_pattern_has_a_case() -> None:
    assert len({case[0] for case in CASES}) == len(CASES) >= 80
    assert {case[2] for case in CASES} == set(PATTERNS)


@pytest.mark.parametrize(
    "name",
    [
        "data", "soundscape.flac", "1-172649-A.ogg", "acoustic_study_00m.mp3",
        "86f5923d-ef1d-4159-b120-a8dec3f6334e.wav",
        "5AFCD4F45AFCD4F4.WAV", "prefix5AFCD4F4prefix.WAV", "5b07c752.WAV",  # not eight capital digits
        "20180525.WAV",  # a date, not seconds
        "20211301_120000.wav", "20210230_120000.wav", "20210622_250000.wav", "20210622_126000.wav",
        "20210630_235960.wav",
        "20210622_240001.wav",  # no such day or time
        "20210622T000000+0575_x.wav", "20210622T000000-1500.wav",  # no such offset
        "123_20131012_123456-9_456.wav", "120210622_0000001.wav", "22210622_000000.wav",
        "short_time_180801_1630_test.wav", "a_2359-01012015_blah.wav", "671629352.181204100002.wav",  # never guessed
        "sel.14.ch01.221101.181934.74..wav",
    ],
)  # fmt: skip
def test_names_without_a_time(name: str) -> None:
    facts = parse_name(name)
    assert (facts.start, facts.offset, facts.pattern) == (None, None, "")


def test_the_folder_is_not_looked_at() -> None:
    assert parse_name("20210622_000000/rec.wav") == NameFacts()
    assert parse_name(Path("S4A03895/20210622_000000.wav")).recorder == ""


def test_a_position_needs_no_time_and_must_be_on_earth() -> None:
    assert parse_name("REC [-27.3866 152.8761].flac") == NameFacts(latitude=-27.3866, longitude=152.8761)
    assert parse_name("REC [-97.3866 152.8761].flac") == NameFacts()
    assert parse_name("REC [-27.3866 192.8761].flac") == NameFacts()


GUESSED = [
    ("short_time_180801_1630_test.wav", "two-digit-year", "2018-08-01T16:30", "short_time"),
    ("sel.14.ch01.221101.181934.74..wav", "two-digit-year", "2022-11-01T18:19:34", "sel.14.ch01"),
    ("671629352.181204100002.wav", "two-digit-year", "2018-12-04T10:00:02", "671629352"),
    ("a_2359-01012015_blah.wav", "day-first", "2015-01-01T23:59", ""),
    ("north_01122015_235900.wav", "day-first", "2015-12-01T23:59", "north"),
    ("01-12-2015 23-59-30.wav", "day-first", "2015-12-01T23:59:30", ""),
    ("01.12.2015_2359.wav", "day-first", "2015-12-01T23:59", ""),
]


@pytest.mark.parametrize(("name", "guess", "start", "recorder"), GUESSED, ids=[case[0] for case in GUESSED])
def test_ambiguous_dates_are_read_only_when_the_user_says_how(name: str, guess: str, start: str, recorder: str) -> None:
    assert parse_name(name).start is None
    facts = parse_name(name, {guess})
    assert (facts.start, facts.offset) == (datetime.fromisoformat(start), None)
    assert recorder in {facts.recorder, ""}
    others = set(GUESSES) - {guess}
    assert parse_name(name, others).start is None


@pytest.mark.parametrize("name", [case[0] for case in CASES])
def test_a_guess_changes_no_name_that_is_clear(name: str) -> None:
    assert parse_name(name, GUESSES) == parse_name(name)


def test_a_guess_of_no_date_is_none() -> None:
    assert parse_name("a_2359-31022015.wav", GUESSES).start is None
    assert parse_name("189901_126000.wav", GUESSES).start is None


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        ("20210622T000000-0500_REC.flac", "FL"), ("00008570_Dartmouth_20220331T094900-0300_Rec.flac", "FL"),
        ("33901_BigHarbourIslandA1_20250710T130000-0300.wav", "FL"), ("20221002_080000_Rec.wav", "FL"),
        ("-0000001_20210614T120000-0300_Rec.wav", "FL"), ("201906 7T095935+1000_REC [1.2144 2.8811].flac", "FL"),
        ("20160809_063108_Dawn _1.4647 116.9136_.wav", "FL"), ("data", "FL"),
        ("S20240815T091156.982648+1000_E20240815T091251.967555+1000_.wav", "FL"),
        ("SM304290_0+1_20211001_120004.wav", "WA"), ("S4U09523_20210621_205706.wav", "WA"),
        ("SMM215_20231117_090800.wav", "WA"), ("OLONG-CH1_0+1_20171121$143444.wav", "WA"),
        ("FNQ-RBS_20190102_044802_010.wav", "WA"), ("NORTH_20190102_044802.wac", "WA"),
        ("2MU01234_20230101_000000.wav", "WA"),
        ("5B07C752.WAV", "OA"), ("20190919_070035T.WAV", "OA"), ("24A04F085FDF2793_20231231_120000.WAV", "OA"),
        ("WALDEN_20240601_140505.wav", ""), ("20110921_110000.wav", ""), ("OWL_123456_2022-07-19_T00-00-00.WAV", ""),
        ("SwiftOne_20220719_000000_-0400.wav", ""), ("WOO_20170611_100000+1000.wav", ""), ("dawn.wav", ""),
    ],
)  # fmt: skip
def test_only_forms_that_one_maker_alone_uses_tell_the_maker(name: str, maker: str) -> None:
    assert maker_of(name, parse_name(name)) == maker


def test_digits_that_are_no_time_are_told_from_none() -> None:
    for name in ("20211301_120000.wav", "20210622_250000.wav", "A_20210230T120000+1000.wav"):
        assert has_impossible_time(name)
    for name in ("dawn.wav", "20180525.WAV", "20210622_120000.wav", "12345678_123456.wav"):
        assert not has_impossible_time(name)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2059, 1, 1)).map(lambda t: t.replace(microsecond=0)),
    st.integers(-14 * 4, 14 * 4).map(lambda quarters: timedelta(minutes=15 * quarters)),
    st.sampled_from(["", "A_", "SM304290_0+1_", "24A04F085FDF2793_"]),
    st.sampled_from(["", "_Rec", " [-27.3866 152.8761]"]),
)
@example(datetime(2021, 6, 22), timedelta(0), "", "")
def test_what_is_put_in_a_name_is_read_from_it(when: datetime, offset: timedelta, before: str, after: str) -> None:
    minutes = int(offset.total_seconds() // 60)
    text = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
    for form in (f"{when:%Y%m%dT%H%M%S}{text}", f"{when:%Y%m%d_%H%M%S}_{text}", f"{when:%Y-%m-%d_%H-%M-%S}{text}"):
        facts = parse_name(f"{before}{form}{after}.wav")
        assert (facts.start, facts.offset) == (when, offset)
    for form in (f"{when:%Y%m%d_%H%M%S}", f"{when:%Y%m%d$%H%M%S}", f"{when:%Y%m%d%H%M%S}", f"{when:%Y-%m-%d %H-%M-%S}"):
        facts = parse_name(f"{before}{form}{after}.wav")
        assert (facts.start, facts.offset) == (when, None)
        assert (facts.latitude is None) == ("[" not in after)


@given(st.text())
def test_no_name_is_an_error(name: str) -> None:
    facts = parse_name(name)
    assert (facts.start is None) == (facts.pattern == "")
