"""Signals at real processes: one sentence, 75, nothing left running, and the same bytes when the command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from chains import run_chain
from commands import ROOT
from soundfiles import RATE, Study, files, sound

DINO = """
[runs.net]
job = "dino"
inputs = { spectrograms = "mels" }
config = { steps = 60, batch_size = 4, precision = "fp32", embed_dim = 32, depth = 1, num_heads = 2, patch_size = [4, 4], head_hidden = 32, head_bottleneck = 16, n_prototypes = 64, n_local = 2, global_size = [8, 8], local_size = [4, 4] }
"""  # noqa: E501 (a table of TOML is one line)
LONG_S = 120


def study_of(folder: Path) -> Path:
    """Write a study of some days, and return its manifest."""
    study = Study(folder)
    for day in range(6):
        study.add("a", day * 86_400.0, sound(40, day))
    manifest = study.write()
    manifest.write_text(manifest.read_text() + DINO)
    return manifest


def struck(number: signal.Signals, *words: object, when: Path, pattern: str, group: bool) -> tuple[int, str]:
    """Type a command, send it a signal once a file of a pattern is there; return its exit code and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    until_s = time.monotonic() + LONG_S
    while not list(when.glob(pattern)) and process.poll() is None and time.monotonic() < until_s:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    begun = psutil.Process(process.pid).children(recursive=True)
    (os.killpg if group else os.kill)(process.pid, number)
    said, _ = process.communicate(timeout=LONG_S)
    _, alive = psutil.wait_procs(begun, timeout=10)
    assert not alive, "nothing is left running"
    return process.returncode, said


STRIKES = [(signal.SIGTERM, False), (signal.SIGINT, True), (signal.SIGHUP, True)]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "group"), STRIKES)
def test_spectrograms_by_two_workers(tmp_path: Path, number: signal.Signals, group: bool) -> None:
    manifest, whole = study_of(tmp_path / "a"), study_of(tmp_path / "b")
    lake = tmp_path / "a/lake"
    words = ("run", manifest, "mels", "--workers", "2")
    code, said = struck(number, *words, when=lake, pattern="ledgers/mels/a/*.jsonl", group=group)
    how = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert code == 75, said
    assert (
        said
        == f"dawnchorus: {how}. What was written before is whole; the same command again continues where it stopped.\n"
    )
    assert not list(lake.rglob("claims/*.json")), "the claim is removed"
    run_chain(manifest, "mels")
    run_chain(whole, "mels")
    assert files(lake / "spectrograms") == files(tmp_path / "b/lake/spectrograms")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "group"), STRIKES)
def test_a_training_leaves_a_checkpoint(tmp_path: Path, number: signal.Signals, group: bool) -> None:
    manifest, whole = study_of(tmp_path / "a"), study_of(tmp_path / "b")
    for each in (manifest, whole):
        run_chain(each, "mels")
    model = tmp_path / "a/lake/models/net"
    code, said = struck(number, "run", manifest, "net", when=model, pattern="metrics.jsonl", group=group)
    assert code == 75, said
    assert f": {number.name}. Type the same command again: it goes on from there." in said
    assert len(list(model.glob("checkpoints/*.pt"))) >= 1
    assert not list((tmp_path / "a/lake").rglob("claims/*.json"))
    run_chain(manifest, "net")
    run_chain(whole, "net")
    weights = "lake/models/net/backbone.safetensors"
    assert (tmp_path / "a" / weights).read_bytes() == (tmp_path / "b" / weights).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "group"), STRIKES)
def test_a_catalog(tmp_path: Path, number: signal.Signals, group: bool) -> None:
    folder = tmp_path / "audio/a"
    folder.mkdir(parents=True)
    for i in range(150):
        soundfile.write(folder / f"20210714_{i // 60:02d}{i % 60:02d}00.wav", np.full((RATE, 1), i / 200), RATE)
    words = ("catalog", tmp_path / "audio", "--zone", "UTC", "--out", tmp_path / "recordings.csv", "--workers", "1")
    code, said = struck(number, *words, when=tmp_path, pattern="*.cache.jsonl", group=group)
    assert code == 75, said
    assert "the same command again continues where it stopped." in said
    again, undisturbed = (*words[:5], tmp_path / "recordings.csv"), (*words[:5], tmp_path / "undisturbed.csv")
    for each in (again, undisturbed):
        done = subprocess.run(
            [sys.executable, "-m", "jobs", *map(str, each)], cwd=ROOT, check=True, capture_output=True
        )
        assert done.returncode == 0
    assert (tmp_path / "recordings.csv").read_bytes() == (tmp_path / "undisturbed.csv").read_bytes()


KILLER = """
import os, signal
from pathlib import Path
if b"spawn_main" in Path("/proc/self/cmdline").read_bytes():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_workers_that_are_killed_while_they_start(tmp_path: Path) -> None:
    manifest = study_of(tmp_path / "a")
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    words = [sys.executable, "-m", "jobs", "run", str(manifest), "mels", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=LONG_S)
    assert done.returncode == 75, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("dawnchorus: the 2 worker processes did not start (")
    assert run_chain(manifest, "mels")[0].startswith("mels: done in ")
