from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audiofiles import RATE, any_kind, misdeclared_flac, noise, write
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.common.audio.probe import AudioError, AudioInfo, open_audio, probe, read_samples

# Scale and shape


@pytest.mark.parametrize(
    ("subtype", "file_format", "step"),
    [
        ("PCM_U8", "WAV", 2.0**-7), ("PCM_16", "WAV", 2.0**-15), ("PCM_24", "WAV", 2.0**-23),
        ("PCM_32", "WAV", 2.0**-31),
        ("PCM_S8", "FLAC", 2.0**-7), ("PCM_16", "FLAC", 2.0**-15), ("PCM_24", "FLAC", 2.0**-23),
        ("PCM_16", "AIFF", 2.0**-15), ("PCM_24", "CAF", 2.0**-23),
    ],
)  # fmt: skip
def test_full_scale_of_integers_is_one(tmp_path: Path, subtype: str, file_format: str, step: float) -> None:
    path = tmp_path / "a.bin"
    write(path, np.array([-1.0, 0.0, 0.5, 1.0 - step]), format=file_format, subtype=subtype)
    info = probe(path)
    assert (info.n_samples, info.n_channels, info.sample_rate_hz) == (4, 1, RATE)
    samples = read_samples(path, 0, 4, reading=info.reading)
    assert samples.dtype == np.float32
    assert samples.tolist() == [[-1.0, 0.0, 0.5, np.float32(1.0 - step)]]


@pytest.mark.parametrize(("subtype", "step"), [("PCM_16", 2.0**-15), ("PCM_24", 2.0**-23)])
def test_full_scale_is_one_for_the_other_decoder_too(tmp_path: Path, subtype: str, step: float) -> None:
    path = tmp_path / "a.flac"
    misdeclared_flac(path, np.array([-1.0, 0.0, 0.5, 1.0 - step] * 20), subtype)
    assert probe(path).reading == "pyav"
    assert read_samples(path, 0, 4, reading="pyav").tolist() == [[-1.0, 0.0, 0.5, np.float32(1.0 - step)]]


def test_floating_point_stays_as_it_is(tmp_path: Path) -> None:
    values = np.array([-2.5, 0.0, 1e-9, 3.0], dtype=np.float32)
    write(tmp_path / "a.wav", values, subtype="FLOAT")
    assert read_samples(tmp_path / "a.wav", 0, 4, reading="libsndfile").tolist() == [values.tolist()]
    assert read_samples(tmp_path / "a.wav", 0, 4, reading="pyav").tolist() == [values.tolist()]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_channels_come_first(tmp_path: Path, suffix: str) -> None:
    both = noise(3000, 2)
    path = tmp_path / f"a.{suffix}"
    write(path, both)
    info = probe(path)
    assert info == AudioInfo(RATE, 2, 3000, f"{suffix.upper()}/PCM_16", "libsndfile")
    assert info.duration_s == 3000 / RATE
    for reading in ("libsndfile", "pyav"):
        samples = read_samples(path, 100, 50, reading=reading)
        assert samples.shape == (2, 50)
        assert samples.flags.c_contiguous
        assert np.array_equal(samples, both[100:150].T)


def test_eight_bits_and_planes_of_the_other_decoder(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", np.array([[-1.0, 0.5], [0.0, 127 / 128]]), subtype="PCM_U8")
    assert read_samples(tmp_path / "a.wav", 0, 2, reading="pyav").tolist() == [[-1.0, 0.0], [0.5, 127 / 128]]


# Reading in any order


KINDS = ("wav", "flac", "aiff", "mp3", "ogg", "misdeclared_flac", "doubled_flac", "m4a")


@pytest.fixture(scope="module", params=KINDS)
def readable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AudioInfo, Any]:
    path = any_kind(tmp_path_factory.mktemp("kinds"), request.param)
    info = probe(path)
    return path, info, read_samples(path, 0, info.n_samples, reading=info.reading)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_samples_do_not_depend_on_what_was_read_before(readable: Any, asked: list[tuple[float, float]]) -> None:
    path, info, whole = readable
    with open_audio(path, info.reading) as audio:
        for from_share, length_share in asked:
            start = int(from_share * info.n_samples)
            count = int(length_share * (info.n_samples - start))
            assert np.array_equal(audio.read(start, count), whole[:, start : start + count])


def test_going_forward_in_pieces_is_reading_at_once(readable: Any) -> None:
    path, info, whole = readable
    with open_audio(path, info.reading) as audio:
        pieces = [audio.read(i, min(777, info.n_samples - i)) for i in range(0, info.n_samples, 777)]
    assert np.array_equal(np.concatenate(pieces, axis=1), whole)
    assert whole.shape == (info.n_channels, info.n_samples)


def test_far_jumps_in_a_long_file(tmp_path: Path) -> None:
    samples = np.arange(400_000) % 30_011 / 32768
    path = tmp_path / "a.flac"
    misdeclared_flac(path, samples)
    with open_audio(path, "pyav") as audio:
        for start in (390_000, 5, 250_000, 120_000, 399_900):
            assert np.array_equal(audio.read(start, 100)[0], samples[start : start + 100].astype(np.float32))


def test_asking_for_too_much(readable: Any) -> None:
    path, info, whole = readable
    with open_audio(path, info.reading) as audio:
        n = info.n_samples
        with pytest.raises(
            AudioError, match=rf"samples {n - 10} to {n + 10} (were asked for, 10 of them|do not) decode"
        ):
            audio.read(n - 10, 20)
        assert np.array_equal(audio.read(n - 10, 10), whole[:, -10:])
        with pytest.raises(ValueError, match="before the start"):
            audio.read(-1, 5)
        with pytest.raises(ValueError, match="before the start"):
            audio.read(5, -1)
