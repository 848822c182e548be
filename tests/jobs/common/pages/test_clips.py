"""Sounds: that they are the window's samples, and the same bytes every time."""

import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jobs.common.audio.probe import Reading, Samples
from jobs.common.pages.clips import cut, made_loud, readings_of, to_audible
from jobs.common.pages.ogg import checksum, vorbis, with_serial
from jobs.common.run import Recordings
from lake.query.trace import Piece

RATE = 8000


def tone(seconds: float, hz: float = 1000, rate: int = RATE, height: float = 0.1) -> Samples:
    return (height * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def decoded(data: bytes) -> tuple[Samples, int]:
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return samples, rate


def piece(path: str, first: int, last: int, at: int = 0, rate: int = RATE) -> Piece:
    return Piece(path, "0" * 64, first, last, at, rate, "2021-06-01T00:00:00Z")


def test_a_window_is_cut_at_its_samples(tmp_path: Path) -> None:
    sound = np.zeros(10 * RATE, dtype=np.float32)
    sound[4 * RATE : 5 * RATE] = tone(1)
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    clip = cut(
        [piece("a.wav", 3 * RATE, 6 * RATE)], root=tmp_path, readings={"a.wav": "libsndfile"}, window_s=3, channel="mix"
    )
    assert clip is not None
    samples, rate = decoded(clip.data)
    assert (rate, len(samples)) == (RATE, 3 * RATE)
    level = np.abs(samples).reshape(30, -1).max(axis=1)
    assert np.all(level[11:19] > 0.3)
    assert np.all(level[[*range(9), *range(22, 30)]] < 0.05)
    assert clip.gain_db == 13  # from 0.1 to 0.5 at most: floor(20 log10 5)


def test_a_join_is_made_of_both_files_and_a_gap_is_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(2), RATE)
    soundfile.write(tmp_path / "b.wav", tone(2), RATE)
    pieces = [piece("a.wav", RATE, 2 * RATE), piece("b.wav", 0, RATE, at=2 * RATE)]
    readings: dict[str, Reading] = {"a.wav": "libsndfile", "b.wav": "libsndfile"}
    clip = cut(pieces, root=tmp_path, readings=readings, window_s=3, channel="mix")
    assert clip is not None
    level = np.abs(decoded(clip.data)[0]).reshape(30, -1).max(axis=1)
    assert np.all(level[[*range(1, 9), *range(21, 29)]] > 0.3)
    assert np.all(level[12:18] < 0.05)


def test_one_channel_or_the_mean_of_all(tmp_path: Path) -> None:
    both = np.stack([tone(1), -tone(1)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, RATE)
    cutting = partial(cut, [piece("a.wav", 0, RATE)], root=tmp_path, readings={"a.wav": "libsndfile"}, window_s=1.0)
    mixed, first = cutting(channel="mix"), cutting(channel=0)
    assert mixed is not None
    assert first is not None
    assert np.abs(decoded(mixed.data)[0]).max() < 0.01
    assert np.abs(decoded(first.data)[0]).max() > 0.3


def test_what_is_not_at_hand_has_no_sound(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFFnothing")
    readings: dict[str, Reading] = {"gone.wav": "libsndfile", "bad.wav": "libsndfile"}
    for path in ("gone.wav", "bad.wav", "not in the table.wav"):
        assert cut([piece(path, 0, RATE)], root=tmp_path, readings=readings, window_s=1, channel="mix") is None
    assert cut([], root=tmp_path, readings={}, window_s=1, channel="mix") is None
    assert readings_of(None) == {}
    assert readings_of(Recordings(tmp_path / "none.csv", tmp_path)) == {}


def test_what_browsers_do_not_play_is_resampled() -> None:
    samples, rate = to_audible(tone(1, hz=5000, rate=192_000), 192_000)
    assert (rate, len(samples)) == (48_000, 48_000)
    np.testing.assert_allclose(samples[1000:-1000], tone(1, hz=5000, rate=48_000)[1000:-1000], atol=2e-3)
    assert to_audible(samples, 44_100)[1] == 44_100


@pytest.mark.parametrize(("height", "gain_db"), [(0.5, 0.0), (1.0, 0.0), (0.049, 20.0), (1e-6, 40.0), (0.0, 40.0)])
def test_the_gain_is_said_and_bounded(height: float, gain_db: float) -> None:
    sound = np.full(RATE, height, dtype=np.float32)
    loud, gain = made_loud(sound, RATE)
    assert gain == gain_db
    assert loud[RATE // 2] == pytest.approx(height * 10 ** (gain_db / 20), rel=1e-5)
    assert abs(loud[0]) <= loud[RATE // 2]


def test_the_same_sound_gives_the_same_bytes_and_still_decodes() -> None:
    sound = tone(1.5)
    first, second = vorbis(sound, RATE), vorbis(sound, RATE)
    assert first == second
    samples, _ = decoded(first)
    assert len(samples) == len(sound)
    assert np.corrcoef(samples, sound)[0, 1] > 0.99


def test_a_checksum_is_that_of_the_file_as_libsndfile_wrote_it() -> None:
    file = io.BytesIO()
    soundfile.write(file, tone(0.5), RATE, format="OGG", subtype="VORBIS")
    data = file.getvalue()
    n = data[26]
    end = 27 + n + sum(data[27 : 27 + n])
    assert checksum(data[:22] + b"\0\0\0\0" + data[26:end]) == int.from_bytes(data[22:26], "little")
    serial = int.from_bytes(data[14:18], "little")
    assert with_serial(with_serial(data, 5), serial) == data
    with pytest.raises(ValueError, match="no Ogg page at byte 0"):
        with_serial(b"RIFF" + data, 1)
