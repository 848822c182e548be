"""The size of a study: what planning takes, what a worker takes, what is told before it begins."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import ROOT, Cli
from soundfiles import Study, files, mels_of, planned_days, sound, usual_study

from jobs.common import space
from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from jobs.spectrograms import command, sizes
from jobs.spectrograms.config import Config
from jobs.spectrograms.plan import make_plan, missing_days
from jobs.spectrograms.sizes import task_bytes
from lake.errors import InputError, TryAgainError
from lake.ledger import Entry
from lake.recordings import write_recordings

SEASON = "window_s = 6.0, hop_s = 3.0"
N_SEASON = 9 * (204 * 1200 - 1)


def season(folder: Path, *, minutes: int = 10) -> Path:
    """Write the table and manifest of nine recorders' 204 hours; return the manifest's path."""
    numbers = [(recorder, i) for recorder in range(9) for i in range(204 * 60 // minutes)]
    step = pd.Timedelta(minutes=minutes)
    table = pd.DataFrame({
        "path": [f"r{recorder}/{i:06d}.flac" for recorder, i in numbers],
        "recorder": [f"r{recorder}" for recorder, _ in numbers],
        "deployment": "", "start_utc": [pd.Timestamp("2021-06-01") + i * step for _, i in numbers],
        "start_local": pd.NaT, "utc_offset": "-05:00", "time_source": "name", "time_conflict": "",
        "duration_s": minutes * 60.0, "sample_rate_hz": 48_000, "n_channels": 1, "n_samples": minutes * 60 * 48_000,
        "format": "FLAC", "sha256": [f"{recorder * 10**6 + i:064x}" for recorder, i in numbers],
        "reading": "libsndfile", "problems": "", "gain_db": np.nan, "latitude": np.nan, "longitude": np.nan,
    })  # fmt: skip
    for column in ("sample_rate_hz", "n_channels", "n_samples"):
        table[column] = table[column].astype("Int64")
    write_recordings(table, folder / "season.csv")
    manifest = folder / "season.toml"
    manifest.write_text(
        'lake = "lake"\nrecordings = { table = "season.csv", root = "audio" }\n'
        f'[runs.mels]\njob = "spectrograms"\nconfig = {{ {SEASON} }}\n'
    )
    return manifest


# Not what wait4 tells: a process begins with its parent's peak there.
MEASURED = """
import re, resource, runpy, sys
sys.argv = ["dawnchorus", *sys.argv[1:]]
try:
    runpy.run_module("jobs", run_name="__main__")
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak_kb = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]
    sys.stderr.write(f"{peak_kb} {used.ru_utime + used.ru_stime}")
"""


def measured(*words: object, code: int = 0) -> tuple[str, int, float]:
    """Type a command; return what it said, the memory that it took in bytes, and its seconds of processor time."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    peak_kb, seconds = done.stderr.split()[-2:]
    return done.stdout, int(peak_kb) * 1024, float(seconds)


def test_two_million_windows_are_told_of_in_seconds_and_little_memory(tmp_path: Path) -> None:
    manifest = season(tmp_path)
    for folder in range(9):
        (tmp_path / f"audio/r{folder}").mkdir(parents=True)
        for i in range(204 * 6):
            (tmp_path / f"audio/r{folder}/{i:06d}.flac").touch()
    said, n_bytes, seconds = measured("run", manifest, "--dry-run", code=75)  # there is no disk for that much
    assert f"11016 recordings of 9 recorders, {N_SEASON} windows in all" in said
    assert f"to write: {N_SEASON} windows in 81 partitions (a recorder's day each), 22032 shards" in said
    assert n_bytes < 500e6
    assert seconds < 30, "a bound, not a timing"
    assert not (tmp_path / "lake").exists(), "nothing is written"


@pytest.mark.slow
def test_what_is_written_of_two_million_windows_is_known_in_seconds(tmp_path: Path) -> None:
    manifest = season(tmp_path)
    run = mels_of(manifest)
    ledger = run.ledger
    ledger.open_run(run.name, run.record)
    plan = command.SPECTROGRAMS.plan(run)
    ledger.settle_grid(plan.grid, plan.recorders)
    for day in planned_days(run):
        lines = []
        for block in day.blocks:
            n = len(block.cells)
            index = {name: [1.125] * n for name in ("offset_s", "coverage", "level_db", "peak_db")}
            entry = Entry(day.recorder, block.number, block.inputs, {}, list(block.cells), ["0" * 16] * n, index)
            lines.append(entry)
        key = f"{day.recorder}/{day.date}.jsonl"
        ledger.storage.write(key, b"".join(as_line(entry) for entry in lines))
    said, n_bytes, seconds = measured("run", manifest, "--dry-run")
    assert f"partial: {N_SEASON} of {N_SEASON} windows, not finalised" in said
    assert "nothing to write" in said
    assert n_bytes < 500e6
    assert seconds < 45, "a bound, not a timing; the table is planned twice"


def as_line(entry: Entry) -> bytes:
    from dataclasses import asdict

    from lake.identity import canonical

    return canonical(asdict(entry)) + b"\n"


def test_a_partition_travels_light_whatever_the_study(tmp_path: Path) -> None:
    from jobs.spectrograms.command import partitions_of

    few, many = (tmp_path / name for name in ("few", "many"))
    n_bytes = []
    for folder, n_recorders in ((few, 1), (many, 6)):
        study = Study(folder)
        study.add("a", 0.0, sound(8, 1))
        for recorder in range(n_recorders - 1):
            study.add(f"b{recorder}", 0.0, sound(8, recorder))
        run = mels_of(study.write())
        days = planned_days(run)
        plan = make_plan(pd.DataFrame(study.rows), run.config)
        deployments = {f"d{i}": {"deployment": f"d{i}", "zone": None} for i in range(100 * n_recorders)}
        made = partitions_of(run, replace(plan, deployments=deployments), days, "cpu")
        assert [len(partition.recordings) for partition in made] == [1] * n_recorders
        assert made[0].deployments == {}
        n_bytes.append(len(pickle.dumps(made[0])))
    assert abs(n_bytes[1] - n_bytes[0]) < 10, "but for the names of folders"
    assert n_bytes[0] < 10_000


def test_cells_that_follow_each_other_are_a_range_and_a_gap_is_kept() -> None:
    study_rows = [{"at": 0.0, "n": 10}, {"at": 40.0, "n": 10}]
    start = pd.Timestamp("2021-07-14T05:00:00")
    table = pd.DataFrame([
        {
            "path": f"{i}.wav", "recorder": "a", "deployment": "", "utc_offset": "", "sample_rate_hz": 8000,
            "n_channels": 1, "n_samples": row["n"] * 8000, "sha256": str(i), "reading": "libsndfile", "problems": "",
            "start_utc": start + pd.Timedelta(seconds=row["at"]),
        }
        for i, row in enumerate(study_rows)
    ])  # fmt: skip
    gapped = make_plan(table, Config(window_s=2.0, hop_s=2.0))
    (block,) = gapped.blocks
    assert isinstance(block.cells, tuple)
    assert np.diff(block.cells).max() == 16
    (block,) = make_plan(table.head(1), Config(window_s=2.0, hop_s=2.0)).blocks
    assert isinstance(block.cells, range)
    assert len(block.cells) == 5


def test_shares_of_days_are_the_same_whatever_is_written(tmp_path: Path) -> None:
    run = mels_of(usual_study(tmp_path).write())
    days = planned_days(run)
    plan = make_plan(pd.DataFrame(usual_study(tmp_path / "again").rows), run.config)
    assert [day.date for day in days] == ["2021-07-14", "2021-07-15", "2021-07-14", "2021-07-15"]
    assert days[0].name == "a 2021-07-14 (a/000.wav to a/002.wav)"
    done = {
        (block.recorder, block.number): Entry(block.recorder, block.number, block.inputs, {}, [], [], {})
        for block in plan.blocks
        if block.recorder == "a"
    }
    assert [day.recorder for day in missing_days(plan, done)] == ["b", "b"]
    assert [(day.recorder, day.date) for day in missing_days(plan, done, (2, 4))] == [("b", "2021-07-14")]
    assert missing_days(plan, done, (0, 4)) == []
    stale = {key: replace(entry, inputs="other") for key, entry in done.items()}
    assert len(missing_days(plan, stale)) == 4


# What is told before it begins -----------------------------------------------------------------------------


def test_memory_follows_from_shards_and_windows_alone(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.add("a", 0.0, sound(8, 1))
    run = mels_of(study.write())
    (day,) = planned_days(run)
    one = Config()
    assert task_bytes([day], one) == task_bytes([day] * 1000, one)
    grown = task_bytes([day], Config(n_mels=2048)) - task_bytes([day], one)
    assert grown == sizes.SHARDS_HELD * 100 * 1024 * 1024


def test_a_dry_run_tells_what_it_takes_and_writes_nothing(tmp_path: Path, cli: Cli) -> None:
    study = usual_study(tmp_path)
    manifest = study.write()
    before = files(tmp_path)
    code, out, error = cli("run", manifest, "--dry-run", "--max-memory", "3GB")
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "mels: spectrograms, missing"
    assert lines[1] == "  6 recordings of 2 recorders, 68 windows in all"
    assert lines[2] == "  to write: 68 windows in 4 partitions (a recorder's day each), 12 shards"
    assert " in 92 files; " in lines[3]
    assert lines[4].endswith("2 of 2 workers side by side within 2.79 GiB")
    assert files(tmp_path) == before
    assert "to write: 21 windows in 1 partitions" in cli("run", manifest, "--dry-run", "--partition", "0/4").out
    execute_runs(read_manifest(manifest), [], Options(), lambda _: None)
    assert cli("run", manifest, "--dry-run").out == "mels: spectrograms, done\n"
    n_files = len([path for path in (tmp_path / "lake").rglob("*") if path.is_file()])
    assert 0.9 * 92 < n_files <= 92


def test_a_run_that_does_not_fit_into_memory_is_refused_before_it_begins(tmp_path: Path, cli: Cli) -> None:
    manifest = usual_study(tmp_path).write()
    code, _, error = cli("run", manifest, "--max-memory", "10MB")
    assert code == 3
    assert "one partition needs up to" in error
    assert "9.54 MiB may be used. Raise --max-memory, take a machine that has more" in error
    assert not (tmp_path / "lake/spectrograms").exists()
    code, _, error = cli("run", manifest, "--max-memory", "many")
    assert (code, error) == (
        2, "dawnchorus: --max-memory 'many': expected a size with its unit, for example 8GB or 512MiB.\n",
    )  # fmt: skip


def test_a_disk_that_holds_too_few_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "free_files", lambda _: 91)
    with pytest.raises(TryAgainError, match=r"92 files will be written, 91 more can be made there\. Remove some, "):
        execute_runs(read_manifest(usual_study(tmp_path).write()), [], Options(), lambda _: None)


def test_a_worker_that_does_not_see_the_lake_says_so(tmp_path: Path) -> None:
    from jobs.common.partitioned import write_here
    from jobs.spectrograms.command import SPECTROGRAMS, partitions_of

    study = Study(tmp_path)
    study.add("a", 0.0, sound(8, 1))
    run = mels_of(study.write())
    plan = make_plan(pd.DataFrame(study.rows), run.config)
    (partition,) = partitions_of(run, plan, planned_days(run), "cpu-other")
    with pytest.raises(InputError, match=r"ledgers/mels: expected the ledger .* same paths as this machine\.$"):
        write_here(SPECTROGRAMS, partition, mix=False)
    run.ledger.open_run(run.name, run.record)
    with pytest.raises(TryAgainError, match=r"computes as cpu-[\w-]+, the others as cpu-other, .* or add --mix\.$"):
        write_here(SPECTROGRAMS, partition, mix=False)
    assert write_here(SPECTROGRAMS, partition, mix=True)["ok"] == 3
    (entry,) = run.ledger.written().values()
    assert entry.backend != "cpu-other"


@pytest.mark.slow
def test_a_workers_memory_does_not_follow_the_hours_of_audio(tmp_path: Path) -> None:
    from benchmarks.memory import peak_of, write_study

    config = "window_s = 6.0, hop_s = 6.0, n_mels = 128, n_frames = 256, f_max_hz = 3500.0, fft_s = 0.064"
    peaks = []
    for n_hours in (1, 16):
        manifest = write_study(tmp_path, n_hours, config, rate_hz=8000)
        run = mels_of(manifest)
        allowed = task_bytes(planned_days(run), run.config)
        peaks.append(peak_of(["-m", "jobs", "run", str(manifest), "--workers", "1"]))
        assert peaks[-1].tree_bytes < allowed, "what a plan allows for is enough"
    assert peaks[1].tree_bytes <= 1.1 * peaks[0].tree_bytes, peaks
    assert peaks[1].largest_bytes <= 1.1 * peaks[0].largest_bytes, peaks
