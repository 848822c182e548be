"""Names follow the bytes on the disk, whatever the locale."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import ROOT

from lake.recordings import read_recordings

C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SIZES = '{ "window_s" = 2.0, "hop_s" = 2.0, "n_mels" = 32, "n_frames" = 32, "f_max_hz" = 4000.0 }'


def typed(folder: Path, env: dict[str, str], *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "jobs", *words], cwd=folder, capture_output=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).decode("utf-8")


@pytest.fixture(params=["C", "ISO-8859-1"])
def env(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "C":
        return C
    program = shutil.which("localedef")
    if program is None:
        pytest.skip("no localedef here")
    made = tmp_path / "en_US.ISO-8859-1"
    subprocess.run([program, "-i", "en_US", "-f", "ISO-8859-1", str(made)], capture_output=True, check=False)
    if not made.exists():
        pytest.skip("no ISO-8859-1 locale can be made here")
    return {"LOCPATH": str(tmp_path), "LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "étude" / "audio" / "Bäume"
    folder.mkdir(parents=True)
    path = folder / "20210622_050000.wav"
    soundfile.write(os.fsencode(path), np.random.default_rng(0).uniform(-0.1, 0.1, 32_000), 8000)
    shutil.copy(os.fsencode(path), os.fsencode(folder) + b"/20210622_060000_h\xf6hle.wav")
    return tmp_path / "étude"


def test_folders_are_written_as_utf8_and_other_bytes_cost_that_file_alone(study: Path, env: dict[str, str]) -> None:
    code, said = typed(study, env, "catalog", "audio", "--zone", "Bäume=UTC")
    assert code == 0, said
    table = read_recordings(study / "recordings.csv")
    assert table["recorder"].tolist() == ["Bäume"] * 2
    assert table["path"].tolist() == ["Bäume/20210622_050000.wav", r"Bäume/20210622_060000_h\udcf6hle.wav"]
    assert table["problems"].tolist() == ["", "name_not_utf8"]
    assert "Bäume" in said


@pytest.mark.slow
def test_the_chain_opens_the_files(study: Path, env: dict[str, str]) -> None:
    assert typed(study, env, "catalog", "audio", "--zone", "UTC")[0] == 0
    (study / "s.toml").write_text(
        'lake = "läke"\nrecordings = { table = "recordings.csv", root = "audio" }\nmax_quarantined = 1.0\n'
        f'[runs.mels]\njob = "spectrograms"\nconfig = {SIZES}\n',
        encoding="utf-8",
    )
    code, said = typed(study, env, "run", "s.toml", "--workers", "1")
    assert (code, "2 ok" in said) == (0, True), said
    store = "läke/spectrograms/mels.zarr"
    code, said = typed(study, env, "query", store, "--recorder", "Bäume")
    assert (code, said.count("\nBäume,")) == (0, 2), said
    words = ["trace", store, "--recorder", "Bäume", "--time", "2021-06-22T05:00:00", "--root", "audio"]
    words += ["--audio", "cut.wav"]
    code, said = typed(study, env, *words)
    assert code == 0, said
    assert (study / "cut.wav").exists()
