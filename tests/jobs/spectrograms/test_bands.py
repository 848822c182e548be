"""What the user is told about recorders whose rate is below the band, and what of a recording needs the memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from soundfiles import RATE, Study, mels_of, sound

from jobs.common.audio.cutting import cut
from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from jobs.spectrograms.command import describe
from jobs.spectrograms.config import Config
from jobs.spectrograms.core import window_codes
from jobs.spectrograms.plan import make_plan, missing_days
from jobs.spectrograms.sizes import memory_for, task_bytes
from lake.constants import QUALITY, STATUS
from lake.digest import sha256_of
from lake.errors import InputError
from lake.query.trace import trace
from lake.read import open_cube
from lake.recordings import read_recordings

CONFIG = "window_s = 4.0, hop_s = 4.0, n_mels = 12, n_frames = 16, fft_s = 0.032, shard_windows = 8"


def run(manifest: Path) -> str:
    said: list[str] = []
    execute_runs(read_manifest(manifest), [], Options(), said.append)
    return "\n".join(said)


def test_recorders_without_a_band_are_set_aside_and_others_are_told(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.add("high", 0, sound(12, 1, rate=16_000), rate=16_000)
    study.add("middle", 0, sound(12, 2))
    low = study.add("low", 0, sound(12, 3, rate=2000), rate=2000)
    path = study.write(config=f"{CONFIG}, f_min_hz = 1500.0, f_max_hz = 8000.0")
    path.write_text("max_quarantined = 0.5\n" + path.read_text())
    plan = describe(mels_of(path), Options())
    said = run(path)
    for text in ("\n".join(plan), said):
        assert "middle: 8,000 samples a second, so bands above 4,000 Hz are empty (f_max_hz = 8,000)" in text
        assert "1 recordings are set aside (no_band)" in text
        assert low in text
        assert "high:" not in text
    with open_cube(read_manifest(path).runs["mels"].output.url) as cube:
        assert cube["recorder"].to_numpy().tolist() == ["high", "middle"]
        status, codes = cube["status"].to_numpy(), cube["spectrogram"].to_numpy()
        assert codes[status == STATUS["ok"]].any(axis=(1, 2)).all()


def test_no_recording_with_a_band_is_an_error_that_says_so(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.add("low", 0, sound(12, 3))
    with pytest.raises(InputError, match="1 no_band"):
        run(study.write(config=f"{CONFIG}, f_min_hz = 15000.0, f_max_hz = 20000.0"))


def test_recordings_without_the_channel_are_set_aside(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.add("stereo", 0, sound(12, 1, n_channels=2))
    study.add("turned", 0, sound(12, 2, n_channels=2))
    study.add("turned", 60, sound(12, 3))
    mono = study.add("mono", 0, sound(12, 4))
    path = study.write(config=f"{CONFIG}, channel = 1, f_max_hz = 4000.0")
    path.write_text("max_quarantined = 0.5\n" + path.read_text())
    said = run(path)
    assert "2 recordings are set aside (no_channel): they have no channel 1, counted from 0; the first is" in said
    assert mono in said
    with open_cube(read_manifest(path).runs["mels"].output.url) as cube:
        assert cube["recorder"].to_numpy().tolist() == ["stereo", "turned"]
        assert (cube["status"] == STATUS["ok"]).sum("time").to_numpy().tolist() == [3, 3]


def test_silent_recordings_of_the_same_bytes_each_have_their_windows(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for at_s in (0, 60, 3600, 90_000):
        study.add("A", at_s, np.zeros((12 * RATE, 1)), problems="all_zero")
    path = study.write(config=f"{CONFIG}, f_max_hz = 4000.0")
    run(path)
    with open_cube(read_manifest(path).runs["mels"].output.url) as cube:
        assert int((cube["status"].to_numpy() == STATUS["ok"]).sum()) == 12
        assert len(cube["recording_path"]) == 4
    study.add("A", 100_000, np.zeros((12 * RATE, 1)), problems="all_zero")
    assert "3 ok" in run(study.write(config=f"{CONFIG}, f_max_hz = 4000.0"))


def test_memory_is_asked_for_the_hungriest_recording_not_for_the_worst_of_all(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.add("fast", 0, sound(5, 1, rate=256_000), rate=256_000)
    wide = study.add("wide", 0, sound(5, 2, n_channels=16))
    study.write()
    plan = make_plan(read_recordings(tmp_path / "study.csv"), Config(f_max_hz=4000.0, window_s=4.0, hop_s=4.0))
    config = Config(f_max_hz=4000.0, window_s=4.0, hop_s=4.0, n_mels=32, n_frames=32)
    days = missing_days(plan, {})
    alone = [task_bytes([day], config) for day in days]
    assert task_bytes(days, config) == max(alone)
    memory = memory_for([day for day in days if day.recorder == "wide"], config, 1)
    assert f"the most for {wide}, 16 channels of 8,000 Hz" in memory.need


def test_floating_point_sound_is_clipped_only_where_it_stays_at_an_extreme() -> None:
    config = Config(window_s=4.0, hop_s=4.0, n_mels=12, n_frames=16, f_max_hz=4000.0)
    wave = np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE).astype(np.float32)
    whole = [(0, wave.size)]

    def quality(samples: np.ndarray[tuple[int], np.dtype[np.float32]], *, is_float: bool = True) -> set[str]:
        codes, facts = window_codes(samples[None].astype(np.float32), whole, RATE, config, is_float=is_float)
        assert codes.any()
        return {name for name, bit in QUALITY.items() if facts.quality & bit}

    assert quality(3 * wave) == set()
    assert quality(np.clip(3 * wave, -1, 1)) == {"clipped"}
    assert quality(np.clip(3 * wave, -2.5, 2.5)) == {"clipped"}
    assert quality(np.clip(3 * wave, -1, 1), is_float=False) == {"clipped"}
    glitch = 0.5 * wave
    glitch[100] = 1e17
    codes, facts = window_codes(glitch[None], whole, RATE, config, is_float=True)
    glitch[100] = 0
    assert np.array_equal(codes, window_codes(glitch[None], whole, RATE, config)[0])
    assert facts.quality == QUALITY["not_a_number"]
    assert facts.peak_db is not None
    assert facts.peak_db < 0


def test_sound_beyond_full_scale_comes_out_as_it_was(tmp_path: Path) -> None:
    loud = (3 * np.sin(2 * np.pi * 440 * np.arange(12 * RATE) / RATE))[:, None]
    study = Study(tmp_path)
    name = study.add("F3", 0, sound(12, 1), format="WAV/FLOAT")
    soundfile.write(tmp_path / "audio" / name, loud, RATE, subtype="FLOAT")
    study.rows[0]["sha256"] = sha256_of(tmp_path / "audio" / name)
    path = study.write(config=f"{CONFIG}, f_max_hz = 4000.0")
    assert "clipped" not in run(path)
    found = trace(read_manifest(path).runs["mels"].output.url, "F3", "2021-07-14T23:59:00")
    assert cut(found, tmp_path / "audio", tmp_path / "o.wav") == 0
    heard = soundfile.read(tmp_path / "o.wav", dtype="float32")[0]
    assert np.array_equal(heard, loud[: 4 * RATE, 0].astype(np.float32))
    gain_db = cut(found, tmp_path / "audio", tmp_path / "o.flac")
    heard = soundfile.read(tmp_path / "o.flac", dtype="float32")[0]
    assert np.allclose(heard, loud[: 4 * RATE, 0] * 10 ** (gain_db / 20), atol=2e-3)
    assert np.abs(heard).max() <= 1
    quiet = replace(found, pieces=())
    with pytest.raises(InputError, match="no recording of the table"):
        cut(quiet, tmp_path / "audio", tmp_path / "p.wav")
