"""The plan: names that say when, and every irregularity where it was promised."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from jobs.demo.config import DEMO, SMALL, StudyConfig
from jobs.demo.plan import OVERLAPS_MS, RECORDERS, SESSIONS, ZONES, Take, moved_utc, plan_takes, response_of

CONFIGS = (DEMO, SMALL, StudyConfig(n_days=2, scale=0.3))
NAME = re.compile(r"(\d{8})[T_](\d{6})([+-]\d{4})?[_.]")


def takes_of(config: StudyConfig, recorder: str, session: int | None = None) -> list[Take]:
    return [
        take
        for take in plan_takes(config)
        if RECORDERS[take.recorder].name == recorder and session in {None, take.session}
    ]


def end_utc(take: Take, file: int) -> datetime:
    return take.files[file].start_utc + timedelta(milliseconds=take.files[file].n_ms)


@pytest.mark.parametrize("config", CONFIGS)
def test_names_say_when_a_file_starts(config: StudyConfig) -> None:
    paths = []
    for take in plan_takes(config):
        for file in take.files:
            recorder = RECORDERS[take.recorder].name
            assert file.path.split("/")[0] == recorder
            found = NAME.search(file.path.split("/")[-1])
            assert found is not None
            day, clock, offset = found.groups()
            if offset:
                start = datetime.strptime(day + clock + offset, "%Y%m%d%H%M%S%z")
            else:
                start = datetime.strptime(day + clock + "Z", "%Y%m%d%H%M%S%z")
                start = start.replace(tzinfo=ZoneInfo(ZONES[recorder]))
            assert start.astimezone(UTC) == file.start_utc
            paths.append(file.path)
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("config", CONFIGS)
def test_files_lie_within_their_take_and_takes_do_not_meet(config: StudyConfig) -> None:
    for recorder in RECORDERS:
        takes = takes_of(config, recorder.name)
        for take in takes:
            assert all(0 <= file.offset_ms < file.offset_ms + file.n_ms <= take.n_ms for file in take.files)
            assert take.files[-1].offset_ms + take.files[-1].n_ms == take.n_ms
        for before, after in pairwise(takes):
            assert end_utc(before, -1) < after.files[0].start_utc


@pytest.mark.parametrize("config", CONFIGS)
def test_conventions(config: StudyConfig) -> None:
    paths = [file.path for take in plan_takes(config) for file in take.files]
    assert {path.rsplit(".", 1)[1] for path in paths} == {"flac", "wav", "WAV"}
    assert {recorder.sample_rate_hz for recorder in RECORDERS} == {24_000, 32_000}
    assert [recorder.name for recorder in RECORDERS if recorder.n_channels == 2] == ["00023788"]
    assert {match[3] for path in paths if (match := NAME.search(path.split("/")[-1]))} == {"+0000", "-0500", None}


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(("recorder", "session", "n_files"), [("00023764", 1, 2), ("00004862", 2, 3)])
def test_files_that_join(config: StudyConfig, recorder: str, session: int, n_files: int) -> None:
    for take in takes_of(config, recorder, session):
        assert len(take.files) == n_files
        for i, (before, after) in enumerate(pairwise(take.files)):
            assert end_utc(take, i) == after.start_utc
            assert before.offset_ms + before.n_ms == after.offset_ms


@pytest.mark.parametrize("config", [DEMO, SMALL])
def test_a_join_lies_within_a_window_of_the_5_s_grid(config: StudyConfig) -> None:
    takes = takes_of(config, "00023764", 1)
    assert takes
    assert all(take.files[1].start_utc.second % 5 for take in takes)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("session", [1, 2])
def test_overlaps_grow_as_the_clock_loses_time(config: StudyConfig, session: int) -> None:
    for take in takes_of(config, "00023788", session):
        overlaps = [
            (end_utc(take, i) - after.start_utc) / timedelta(milliseconds=1) for i, after in enumerate(take.files[1:])
        ]
        assert overlaps == list(OVERLAPS_MS) == sorted(OVERLAPS_MS)
        # The sound itself goes on without a seam.
        assert all(before.offset_ms + before.n_ms == after.offset_ms for before, after in pairwise(take.files))


def test_gaps() -> None:
    for take in takes_of(DEMO, "AM07", 1):
        for i, after in enumerate(take.files[1:]):
            assert after.start_utc - end_utc(take, i) == timedelta(seconds=5)
            assert after.offset_ms - take.files[i].offset_ms - take.files[i].n_ms == 5000
    assert len(takes_of(DEMO, "S4A01207")) == len(SESSIONS) * 3 - 3
    assert len(takes_of(DEMO, "00004862")) == len(SESSIONS) * 3


@pytest.mark.parametrize("config", CONFIGS)
def test_faults(config: StudyConfig) -> None:
    files = [file for take in plan_takes(config) for file in take.files]
    (cut,) = [file for file in files if file.fault == "truncated"]
    (empty,) = [file for file in files if file.fault == "empty"]
    assert cut.path == "AM07/20210622_122002.WAV"
    assert cut.kept_ms == cut.n_ms * 3 // 5
    assert (empty.path, empty.kept_ms) == ("AM07/20210622_204002.WAV", 0)
    assert all(file.kept_ms == file.n_ms for file in files if not file.fault)


@pytest.mark.parametrize("config", CONFIGS)
def test_one_recorder_moves_between_two_of_its_takes(config: StudyConfig) -> None:
    takes = takes_of(config, "00004862")
    assert [take.deployment for take in takes] == sorted(take.deployment for take in takes)
    assert {take.deployment for take in takes} == {0, 1}
    for take in takes:
        assert (take.files[0].start_utc > moved_utc(config)) == bool(take.deployment)
    assert moved_utc(config).astimezone(ZoneInfo("America/Chicago")).hour == 10
    assert all(take.deployment == 0 for take in plan_takes(config) if RECORDERS[take.recorder].name != "00004862")


def test_the_demo_is_as_long_as_promised() -> None:
    windows = sum(file.kept_ms for take in plan_takes(DEMO) for file in take.files) / 5000.0
    assert 1750 < windows < 1950
    hours = {(take.files[0].start_utc - timedelta(hours=5)).hour for take in plan_takes(DEMO)}
    assert hours == {0, 4, 5, 12, 20, 22}


def test_some_starts_are_off_the_grid() -> None:
    seconds = {file.start_utc.second % 5 for take in plan_takes(DEMO) for file in take.files}
    assert {0, 2, 4} <= seconds


def test_every_site_reflects_in_its_own_way() -> None:
    responses = [response_of(recorder, site) for recorder in RECORDERS for site in recorder.deployments]
    assert len({response.seed for response in responses}) == len(responses) == 6
    assert max(r.gain_db for r in responses) - min(r.gain_db for r in responses) >= 6.0
    assert max(r.tilt_db for r in responses) - min(r.tilt_db for r in responses) >= 1.5
