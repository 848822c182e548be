"""One study on any workers: the same bytes; what fails and what is interrupted is gone on with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chains import run_chain, write_chain
from commands import ROOT, Cli, command
from daskclusters import Cluster
from soundfiles import Study, files, mels_of, planned_days, sound, usual_study

from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from lake.errors import StoreError
from lake.storage import Storage


def execute(manifest: Path, **options: object) -> None:
    execute_runs(read_manifest(manifest), [], Options(**options), lambda _: None)  # type: ignore[arg-type] # as typed there


def test_a_day_that_fails_twice_is_told_of_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = usual_study(tmp_path)
    expected = study.write(lake="expected")
    execute(expected)
    manifest = study.write()
    append, calls = Storage.append, []

    def failing(self: Storage, key: str, data: bytes) -> None:
        if key == "a/2021-07-15.jsonl":
            calls.append(key)
            raise StoreError(f"{key}: cannot be appended to")
        append(self, key, data)

    with monkeypatch.context() as patched:
        patched.setattr(Storage, "append", failing)
        told = (
            r"^1 of 4 partitions failed twice; the others are written:\n"
            r"  a 2021-07-15 \(a/002\.wav to a/003\.wav\): a/2021-07-15\.jsonl: cannot be appended to\n"
        )
        with pytest.raises(StoreError, match=told) as caught:
            execute(manifest)
    assert caught.value.exit_code == 4
    assert len(calls) == 2
    assert not (tmp_path / "lake/spectrograms/mels.zarr/zarr.json").exists(), "a reader sees nothing half done"
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "lake/ledgers").rglob("*.jsonl")}
    assert len(stamps) == 3, "the others are whole"
    execute(manifest)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items()), "and were not done again"
    assert files(tmp_path / "lake/spectrograms") == files(tmp_path / "expected/spectrograms")
    capsys.readouterr()


def test_a_run_with_nothing_to_do_needs_no_torch(tmp_path: Path) -> None:
    manifest = usual_study(tmp_path).write()
    execute(manifest)
    program = (
        "import sys; sys.argv = ['dawnchorus', 'run', sys.argv[1]]\n"
        "from jobs.cli.main import app\n"
        "app(standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, manifest], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "mels: done, nothing to do\n", "")


def interrupted(manifest: Path, *words: str) -> tuple[int, str]:
    """Type a command, interrupt it and all its workers once a shard stands, as Ctrl-C does; return how it ended."""
    process = subprocess.Popen(
        # What starts the tests in the background ignores Ctrl-C, and so would all that they start.
        ["env", "--default-signal=INT", sys.executable, "-m", "jobs", "run", str(manifest), *words],
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    shards = manifest.parent / "lake/spectrograms/mels.zarr/spectrogram"
    while process.poll() is None and not (shards.is_dir() and list(shards.glob("c.*"))):
        time.sleep(0.01)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    return process.returncode, told


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_interrupted_and_gone_on_with(tmp_path: Path, workers: str) -> None:
    study = Study(tmp_path)
    for i in range(4):
        study.add("abcd"[i], 0.0, sound(55, i))
    execute(study.write(lake="expected"))
    manifest = study.write()
    code, told = interrupted(manifest, "--workers", workers)
    last = "interrupted. What was written before is whole; the same command again continues where it stopped."
    assert (code, told.splitlines()[-1]) == (75, f"dawnchorus: {last}"), told
    assert "Traceback" not in told
    assert "distributed" not in told
    assert not (tmp_path / "lake/spectrograms/mels.zarr/zarr.json").exists()
    execute(manifest)
    assert files(tmp_path / "lake/spectrograms") == files(tmp_path / "expected/spectrograms")


@pytest.mark.slow
def test_workers_of_a_scheduler_give_the_same_bytes(tmp_path: Path) -> None:
    """The whole chain at the command line, with `dask scheduler` and `dask worker` as they are told to be started."""
    study = usual_study(tmp_path)
    manifest = write_chain(study)
    run_chain(manifest, workers=1)
    here = {name: files(tmp_path / "lake" / name) for name in ("spectrograms", "embeddings", "clusters")}
    (tmp_path / "lake").rename(tmp_path / "before")
    cluster = Cluster(tmp_path)
    try:
        ended = command("run", manifest, "--scheduler-file", cluster.file, "--tls", cluster.key)
        assert ended.code == 0, ended.error
        assert "distributed" not in ended.error
    finally:
        cluster.stop()
    assert {name: files(tmp_path / "lake" / name) for name in here} == here
    assert planned_days(mels_of(manifest)) == []
    log = (cluster.key / "log").read_text()
    assert "Receive client connection: Client-dawnchorus" in log


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--scheduler", "tls://x:1", "--workers", "2"],
            "has its own workers and gives them all partitions; leave out --w",
        ),
        (["--scheduler", "tls://x:1", "--partition", "0/2"], "gives them all partitions; leave out --partition."),
        (
            ["--scheduler", "tls://x:1", "--scheduler-file", "f"],
            "--scheduler tls://x:1 and --scheduler-file f: expected",
        ),
        (["--tls", "key"], "--tls key: expected --scheduler or --scheduler-file with it"),
    ],
)
def test_what_does_not_go_together_is_refused(cli: Cli, words: list[str], told: str) -> None:
    ended = cli("run", "m.toml", *words)
    assert ended.code == 2
    assert told in ended.error
