"""The study on disk: what is there, that it is always the same, and what happens when something is in the way."""

import fcntl
import json
import os
import shutil
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import soundfile
from studydigests import study_digest

from jobs.demo import study as module
from jobs.demo.config import DEMO, SMALL, SMALL_SHA256, STUDY_SHA256, StudyConfig
from jobs.demo.plan import RECORDERS, plan_takes
from jobs.demo.scene import LABELS, render
from jobs.demo.study import StudySummary, make_study
from lake.deployments import read_deployments
from lake.errors import IdentityError, InputError, TryAgainError
from lake.storage import Storage

EMPTY = "AM07/20210622_204002.WAV"
TRUNCATED = "AM07/20210622_122002.WAV"


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a study be six takes, one of each kind of file."""
    takes = plan_takes(SMALL)
    few = [*takes[:2], takes[7], takes[13], *takes[21:23]]
    monkeypatch.setattr(module, "plan_takes", lambda _config: few)


def read(folder: Path, path: str) -> tuple[npt.NDArray[np.int16], int]:
    samples, rate = soundfile.read(folder / "audio" / path, dtype="int16", always_2d=True)
    return samples, rate


def test_the_small_study_is_the_one_that_was_fixed(small: StudySummary) -> None:
    assert small.is_new
    assert small.digest == SMALL_SHA256 == study_digest(small.folder)


def test_what_is_there(small: StudySummary) -> None:
    paths = sorted(p.relative_to(small.folder).as_posix() for p in small.folder.rglob("*") if p.is_file())
    audio = sorted(f"audio/{file.path}" for take in plan_takes(SMALL) for file in take.files)
    assert paths == sorted([*audio, "deployments.csv", "study.json", "truth.csv", "zones.toml"])
    assert small.n_files == len(audio)
    assert small.n_bytes == sum((small.folder / path).stat().st_size for path in audio)
    assert [p.name for p in small.folder.parent.iterdir()] == [small.folder.name]


def test_files_decode_to_what_was_planned(small: StudySummary) -> None:
    seconds = 0.0
    for take in plan_takes(SMALL):
        recorder = RECORDERS[take.recorder]
        for file in take.files:
            if file.path == EMPTY:
                continue
            samples, rate = read(small.folder, file.path)
            assert rate == recorder.sample_rate_hz
            assert samples.shape == (file.kept_ms * rate // 1000, recorder.n_channels)
            assert np.abs(samples).max() > 50
            seconds += len(samples) / rate
    assert seconds == pytest.approx(small.audio_s)


def test_the_empty_and_the_truncated_file(small: StudySummary) -> None:
    audio = small.folder / "audio"
    assert (audio / EMPTY).stat().st_size == 0
    data = (audio / TRUNCATED).read_bytes()
    promised = int.from_bytes(data[40:44], "little")
    assert data[:4] + data[8:16] + data[36:40] == b"RIFFWAVEfmt data"
    assert promised == 15 * 24_000 * 2
    assert len(data) - 44 == promised * 3 // 5 + 1


@pytest.mark.parametrize(("recorder", "session"), [("00023764", 1), ("00004862", 2), ("00023788", 1)])
def test_sound_goes_on_across_a_join(small: StudySummary, recorder: str, session: int) -> None:
    take = next(t for t in plan_takes(SMALL) if RECORDERS[t.recorder].name == recorder and t.session == session)
    pieces = [read(small.folder, file.path)[0] for file in take.files]
    whole, _ = render(SMALL, take)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_truth_is_a_sorted_table_in_the_clock_of_the_file_names(small: StudySummary) -> None:
    truth = pd.read_csv(small.folder / "truth.csv", dtype={"recorder": str})
    assert list(truth.columns) == ["recorder", "start_utc", "end_utc", "label", "level_db", "path"]
    assert len(truth) == small.n_events
    assert set(truth["label"]) <= set(LABELS)
    assert {"rain", "wind"} <= set(truth["label"])
    starts, ends = (pd.to_datetime(truth[name], utc=True, format="ISO8601") for name in ("start_utc", "end_utc"))
    assert (ends > starts).all()
    assert truth["level_db"].between(-80.0, 0.0).all()
    files = {file.path: file for take in plan_takes(SMALL) for file in take.files}
    for row, start, end in zip(truth.itertuples(), starts, ends, strict=True):
        file = files[str(row.path)]
        assert file.path.startswith(f"{row.recorder}/")
        assert file.start_utc <= start
        assert (end - file.start_utc).total_seconds() * 1000 <= file.kept_ms
    assert EMPTY not in set(truth["path"])
    rows = (small.folder / "truth.csv").read_text().splitlines()[1:]
    keys = [tuple(row.split(",")[:2]) for row in rows]
    assert all(a <= b for a, b in pairwise(keys))
    assert "\r" not in (small.folder / "truth.csv").read_bytes().decode()


def test_deployments_and_zones_are_what_the_lake_reads(small: StudySummary) -> None:
    deployments = read_deployments(small.folder / "deployments.csv")
    assert list(deployments["deployment"][deployments["recorder"] == "00004862"]) == ["00004862-1", "00004862-2"]
    assert len(deployments) == len(RECORDERS) + 1
    assert set(deployments["zone"]) == {"America/Chicago"}
    for take in plan_takes(SMALL):
        recorder = RECORDERS[take.recorder]
        start = np.datetime64(take.files[0].start_utc.replace(tzinfo=None))
        covering = deployments[(deployments["start"] <= start) & (deployments["end"] > start)]
        own = covering[covering["recorder"] == recorder.name]
        assert list(own["deployment"]) == [recorder.deployments[take.deployment].name]
    zones = tomllib.loads((small.folder / "zones.toml").read_text())["zones"]
    assert zones == {"AM07": "America/Chicago", "S4A01207": "America/Chicago"}


def test_made_again_it_is_left_alone(small: StudySummary) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.folder.rglob("*")}
    again = make_study(small.folder, SMALL)
    assert not again.is_new
    assert (again.digest, again.n_events, again.audio_s) == (small.digest, small.n_events, small.audio_s)
    assert {path: path.stat().st_mtime_ns for path in small.folder.rglob("*")} == before


@pytest.mark.usefixtures("brief")
def test_bytes_do_not_depend_on_workers_and_progress_is_told(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    one = make_study(tmp_path / "one", SMALL, on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(i + 1, 6) for i in range(6)]
    two = make_study(tmp_path / "two", SMALL, workers=2)
    assert one.digest == two.digest
    for path in (p for p in one.folder.rglob("*") if p.is_file()):
        assert path.read_bytes() == (two.folder / path.relative_to(one.folder)).read_bytes()


@pytest.mark.usefixtures("brief")
def test_an_empty_folder_is_filled_and_a_killed_attempt_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    left = tmp_path / ".study.aside" / "audio" / "AM07" / "19700101_000000.WAV"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a file")
    summary = make_study(folder, SMALL)
    assert summary.digest == study_digest(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


@pytest.mark.usefixtures("brief")
def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Storage, key: str, data: bytes) -> None:
        raise TryAgainError("the disk is full")

    monkeypatch.setattr(Storage, "write", full)
    with pytest.raises(TryAgainError, match="disk is full"):
        make_study(tmp_path / "study", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_digest_sees_every_sample_name_and_table(small: StudySummary, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(small.folder, folder)
    flac = next((folder / "audio").rglob("*.flac"))
    samples, rate = soundfile.read(flac, dtype="int16")
    soundfile.write(flac, samples, rate, subtype="PCM_16", compression_level=1.0)
    assert flac.read_bytes() != (small.folder / flac.relative_to(folder)).read_bytes()
    assert study_digest(folder) == small.digest
    changed = samples.copy()
    changed[123] += 1
    soundfile.write(flac, changed, rate, subtype="PCM_16")
    assert study_digest(folder) != small.digest
    soundfile.write(flac, samples, rate, subtype="PCM_16")
    flac.rename(flac.with_name("20210622T000000+0000_REC.flac"))
    assert study_digest(folder) != small.digest
    flac.with_name("20210622T000000+0000_REC.flac").rename(flac)
    assert study_digest(folder) == small.digest
    with (folder / "truth.csv").open("a") as file:
        file.write("\n")
    assert study_digest(folder) != small.digest


def test_another_study_is_not_overwritten(small: StudySummary) -> None:
    with pytest.raises(IdentityError, match=r"other settings \(seed is 20210622, not 7; scale is 0.05, not 1.0\)"):
        make_study(small.folder, StudyConfig(seed=7, n_days=1))


def test_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"something without a study\.json\. Name another folder"):
        make_study(tmp_path, SMALL)
    with pytest.raises(InputError, match=r"something without a study\.json"):
        make_study(tmp_path / "thesis.txt", SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"config": 3, "summary": {}}', '{"config": {}}'])
def test_a_damaged_summary_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(InputError, match=r"study\.json: expected the summary of a demo study, found something else"):
        make_study(tmp_path, SMALL)


@pytest.mark.usefixtures("brief")
def test_files_that_are_gone_are_named(tmp_path: Path) -> None:
    summary = make_study(tmp_path / "study", SMALL)
    (summary.folder / "truth.csv").unlink()
    with pytest.raises(InputError, match=r"1 of 14 files of the demo study are gone, first truth\.csv"):
        make_study(summary.folder, SMALL)


def test_two_do_not_make_the_same_study(tmp_path: Path) -> None:
    aside = tmp_path / ".study.aside"
    aside.mkdir()
    handle = os.open(aside, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(TryAgainError, match="another process is making this study"):
            make_study(tmp_path / "study", SMALL)
    finally:
        os.close(handle)
    assert aside.is_dir()


def test_a_small_disk_is_noticed_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "free_bytes", lambda _self: 1_000_000)
    with pytest.raises(TryAgainError, match=r"needs up to \d+ MB, but the disk has 1 MB left"):
        make_study(tmp_path / "study", DEMO)
    assert list(tmp_path.iterdir()) == []


def test_settings_are_checked_and_written_down(small: StudySummary) -> None:
    facts = json.loads((small.folder / "study.json").read_text())
    assert facts["config"] == {"algorithm": 1, **SMALL.model_dump()}
    for wrong in ({"n_days": 0}, {"scale": 0.0}, {"scale": 5.0}, {"seed": -1}, {"minutes": 3}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            StudyConfig.model_validate(wrong)
    assert len(STUDY_SHA256) == 64
