"""``dawnchorus catalog`` as people type it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import pytest
import soundfile
from commands import ROOT, Cli

from jobs.catalog.cache import read_cache, write_cache
from jobs.catalog.core import catalog
from jobs.catalog.examine import FileFacts
from jobs.catalog.sources import Sources
from jobs.common.audio.probe import AudioInfo
from lake.recordings import read_recordings


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio" / "north"
    folder.mkdir(parents=True)
    for i, name in enumerate(["20210714_050000.wav", "180801_1630_x.wav"]):
        soundfile.write(folder / name, np.random.default_rng(i).uniform(-0.1, 0.1, 800), 8000)
    return tmp_path / "audio"


def test_guesses_zones_as_offsets_and_the_picture(cli: Cli, audio: Path, tmp_path: Path) -> None:
    out, effort = tmp_path / "t.csv", tmp_path / "effort.png"
    words = ["catalog", audio, "--out", out, "--zone", "north=-05:00"]
    code, text, _ = cli(*words, "--guess", "two-digit-year", "--effort", effort)
    assert code == 0
    assert "local time -05:00 (2), told by name+zone" in text
    assert read_recordings(out)["start_utc"].notna().all()
    assert effort.read_bytes().startswith(b"\x89PNG")
    code, text, error = cli(*words, "--guess", "month-first")
    assert (code, text) == (2, "")
    assert "--guess month-first: expected two-digit-year or day-first" in error
    code, text, error = cli("catalog", audio, "--out", out, "--zone", "-25:00")
    assert (code, text) == (3, "")
    assert "or an offset such as -05:00" in error


def test_tables_that_could_not_be_written_are_refused_before_long_work(cli: Cli, audio: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out, message in [
        ("s3://bucket/t.csv", "expected a path on this machine, found a URL. Write it here, and copy it there."),
        (audio, "expected the name of a table, found a folder. Name a file in it."),
        (tmp_path / "file/t.csv", "nothing can be written there (File exists). Name another file."),
    ]:
        code, text, error = cli("catalog", audio, "--out", out)
        assert (code, text) == (2, "")
        assert message in error
    code, _, error = cli("catalog", audio, "--out", tmp_path / "t.csv", "--effort", tmp_path / "e.pdf")
    assert code == 2
    assert "e.pdf: expected a picture's name that ends in .png." in error
    assert not (tmp_path / "t.csv").exists()


def test_a_picture_that_cannot_be_drawn_costs_no_table(cli: Cli, audio: Path, tmp_path: Path) -> None:
    code, text, error = cli("catalog", audio, "--out", tmp_path / "t.csv", "--effort", tmp_path / "e.png")
    assert code == 3
    assert "no recording has a time in UTC, so there is no effort by day to draw. Name zones." in error
    assert "such as --zone north=America/Chicago" in text
    assert (tmp_path / "t.receipt.json").exists()


def test_a_second_run_examines_only_what_it_is_told_to(cli: Cli, audio: Path, tmp_path: Path) -> None:
    (audio / "north" / "20210714_060000.wav").touch()
    out = tmp_path / "t.csv"
    assert cli("catalog", audio, "--out", out).code == 0
    cache = tmp_path / "t.cache.jsonl"
    lines = cache.read_text().splitlines()
    assert len(lines) == 4
    known = read_cache(cache)
    write_cache(
        cache,
        {key: (file, replace(facts, problems=facts.problems and ("timeout",))) for key, (file, facts) in known.items()},
    )
    told = json.loads(cli("catalog", audio, "--out", out, "--json").out)
    assert "timeout" in told["problems"], "what is known is believed"
    told = json.loads(cli("catalog", audio, "--out", out, "--json", "--retry-quarantined").out)
    assert "timeout" not in told["problems"]
    assert told["problems"]["empty"] == 1


def test_a_damaged_line_of_what_is_known_is_not_believed(cli: Cli, audio: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "t.csv", tmp_path / "t.cache.jsonl"
    assert cli("catalog", audio, "--out", out).code == 0
    before, text = out.read_bytes(), cache.read_text()
    damaged = re.sub(r'"n_samples":(\d+)', lambda found: f'"n_samples":{int(found[1]) ^ 1}', text)
    assert damaged != text
    cache.write_text(damaged)
    assert cli("catalog", audio, "--out", out).code == 0
    assert out.read_bytes() == before


def test_memory_grows_with_the_number_of_files_and_no_faster() -> None:
    facts = FileFacts("0" * 64, AudioInfo(8000, 1, 800, "WAV/PCM_16", "libsndfile"))

    def peak_bytes(n_files: int) -> int:
        files = [PurePath(f"/a/R{i % 7}/20210622T{i // 60 % 24:02d}{i % 60:02d}00Z_{i}.wav") for i in range(n_files)]
        tracemalloc.start()
        catalog(
            Sources(sorted(files), [], [PurePath("/a")]), zones={}, root=PurePath("/a"), examine_one=lambda *_: facts
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(10)
    small, large = peak_bytes(300), peak_bytes(1500)
    assert (large - small) / 1200 < 12_000


def test_ctrl_c_waits_for_no_file_and_loses_none(tmp_path: Path) -> None:
    folder, out = tmp_path / "audio", tmp_path / "t.csv"
    folder.mkdir()
    for i, name in enumerate(["a.wav", "b.wav", "c-hang.wav", "d.wav"]):
        soundfile.write(folder / name, np.random.default_rng(i).uniform(-0.1, 0.1, 64), 8000)
    # A file on a disk that does not answer: the decoder's process has it open when Ctrl-C is typed.
    program = (
        "import faultyfiles, jobs.catalog.reading as reading; reading.examine = faultyfiles.examine_faulty; "
        "reading.WRITE_EVERY_S = 0; from jobs.cli.main import main; main()"
    )
    words = ["env", "--default-signal=INT", sys.executable, "-c", program, "catalog", str(folder), "--out", str(out)]
    begun = subprocess.Popen(
        [*words, "--workers", "2"], cwd=ROOT, env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    cache = tmp_path / "t.cache.jsonl"
    while begun.poll() is None and not (cache.exists() and cache.read_bytes().count(b"\n") > 2):
        time.sleep(0.02)
    time.sleep(0.5)
    began_s = time.monotonic()
    os.killpg(begun.pid, signal.SIGINT)
    _, told = begun.communicate(timeout=60)
    assert time.monotonic() - began_s < 20
    assert begun.returncode == 75, told
    assert told.splitlines() == [
        "dawnchorus: interrupted. What was written before is whole; the same command again continues where it stopped."
    ]
    assert not out.exists()
    assert {"a.wav", "b.wav"} <= {Path(key).name for key in read_cache(cache)} <= {"a.wav", "b.wav", "d.wav"}


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_table(tmp_path: Path) -> None:
    folder, out = tmp_path / "audio", tmp_path / "t.csv"
    folder.mkdir()
    for i in range(1500):
        samples = np.random.default_rng(i).uniform(-0.1, 0.1, 64)
        soundfile.write(folder / f"20210622T{i // 60:02d}{i % 60:02d}00Z.wav", samples, 8000)
    words = [sys.executable, "-m", "jobs", "catalog", str(folder), "--out", str(out)]
    cache = tmp_path / "t.cache.jsonl"
    begun = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while begun.poll() is None and not (cache.exists() and cache.read_bytes().count(b"\n") > 300):
        time.sleep(0.02)
    begun.kill()
    begun.wait()
    n_known = len(read_cache(cache))
    assert not out.exists()
    assert 250 <= n_known < 1500
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    again = tmp_path / "again.csv"
    subprocess.run([*words[:-1], str(again)], cwd=ROOT, check=True, capture_output=True)
    assert out.read_bytes() == again.read_bytes()
    assert len(read_recordings(out)) == 1500


def test_what_was_passed_over_is_said_and_a_folder_that_cannot_be_listed_is_in_the_exit_code(
    cli: Cli, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (audio / "linked").symlink_to(tmp_path)
    (audio / "video.MP4").touch()
    (audio / "closed").mkdir()
    out = tmp_path / "t.csv"
    code, text, error = cli("catalog", audio, "--out", out, "--json")
    assert code == 0
    assert json.loads(text)["n_files"] == 2
    assert f"note: 1 link to a folder is not followed: {audio}/linked -> {tmp_path}." in error
    assert "note: files that may hold sound and are not read: 1 .mp4." in error
    scandir = os.scandir

    def forbidden(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", forbidden)
        code, text, error = cli("catalog", audio, "--out", out)
    assert code == 5
    assert len(read_recordings(out)) == 2, "the others are listed"
    assert f"1 folder cannot be listed: {audio}/closed (Permission denied)" in error
    passed = json.loads((tmp_path / "t.receipt.json").read_text())["passed_over"]
    assert passed == {
        "links": {f"{audio}/linked": str(tmp_path)},
        "unlisted": {f"{audio}/closed": "Permission denied"},
        "suffixes": {".mp4": 1},
    }
