import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from audiofiles import BLOCK, RATE, N, any_kind, misdeclared_flac, noise, promised_flac, write

from jobs.common.audio.headers import header_problem
from jobs.common.audio.probe import AudioError, AudioInfo, decoder_versions, open_audio, probe, read_samples

HEADER_BYTES = 44
"""Of a plain WAV file."""


def refusal(path: Path, **options: Any) -> AudioError:
    with pytest.raises(AudioError) as caught:
        probe(path, **options)
    return caught.value


# Files that lie


def test_a_wav_cut_anywhere_holds_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = noise(100, 2)
    content = write(path, samples)
    assert len(content) == HEADER_BYTES + 400
    for there in (1, 3, 4, 5, 200, 399):
        path.write_bytes(content[: HEADER_BYTES + there])
        if there < 4:
            assert refusal(path).problem == "no_samples"
            continue
        info = probe(path)
        assert (info.n_samples, info.problems) == (there // 4, ("truncated",))
        assert np.array_equal(read_samples(path, 0, there // 4, reading=info.reading), samples[: there // 4].T)
    path.write_bytes(content[:HEADER_BYTES])
    error = refusal(path)
    assert error.problem == "no_samples"
    assert str(error) == f"{path}: holds a header, and no sample that decodes."


@pytest.mark.parametrize(
    ("file_format", "endian"), [("RF64", "FILE"), ("AIFF", "FILE"), ("WAV", "BIG"), ("WAVEX", "FILE")]
)
def test_other_headers_are_compared_with_the_file(tmp_path: Path, file_format: str, endian: str) -> None:
    path = tmp_path / "a.wav"
    content = write(path, noise(1000), format=file_format, endian=endian)
    assert probe(path).problems == ()
    path.write_bytes(content[:-600])
    info = probe(path)
    assert (info.n_samples, info.problems) == (700, ("truncated",))


@pytest.mark.parametrize(
    ("promised", "expected"),
    [
        (2000, ""),
        (0, "header_size"),
        (0xFFFFFFFF, "header_size"),
        (2044, "header_size"),
        (44, "header_size"),
        (2100, "truncated"),
    ],
)
def test_the_size_in_a_wav_header(tmp_path: Path, promised: int, expected: str) -> None:
    path = tmp_path / "a.wav"
    content = bytearray(write(path, noise(1000)))
    content[40:44] = promised.to_bytes(4, "little")
    path.write_bytes(content)
    assert header_problem(path) == expected
    assert probe(path).problems == ((expected,) if expected else ())


def test_chunks_after_the_samples_are_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    content = write(path, np.zeros(1001), subtype="PCM_U8")
    more = b"LIST" + struct.pack("<I", 4) + b"INFO"
    for padding in (b"", b"\0"):
        path.write_bytes(content[: HEADER_BYTES + 1001] + padding + more)
        assert header_problem(path) == ""


def test_headers_that_lead_nowhere_are_left_to_the_decoders(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for content in (
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE" + bytes(10_000),
        b"RIFF\0\0\0\0WAVE" + b"a   \0\0\0\0" * 2000,
        b"text",
    ):
        path.write_bytes(content)
        assert header_problem(path) == ""


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_flac_cut_anywhere_holds_its_whole_frames(tmp_path: Path, n_channels: int) -> None:
    path = tmp_path / "a.flac"
    samples = noise(6 * BLOCK + 100, n_channels)
    content = write(path, samples)
    for share in (0.1, 0.4, 0.77, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        n_whole = int((share * len(content) - 90) / (len(content) - 90) * len(samples)) // BLOCK * BLOCK
        if n_whole == 0:
            assert refusal(path).problem == "no_samples"
            continue
        info = probe(path)
        assert info.problems == ("truncated",)
        assert info.n_samples == n_whole
        assert np.array_equal(read_samples(path, 0, n_whole, reading=info.reading), samples[:n_whole].T)


def test_a_flac_of_a_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(write(path, noise())[:86])
    assert refusal(path).problem == "no_samples"


@pytest.mark.parametrize("tail", [b"\0" * 20_000, np.random.default_rng(1).bytes(20_000)], ids=["zeros", "noise"])
def test_a_flac_whose_tail_was_never_written(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.flac"
    samples = noise(12 * BLOCK)
    content = write(path, samples)
    path.write_bytes(content[: -len(tail)] + tail)
    info = probe(path)
    assert info.problems == ("truncated",)
    assert 0 < info.n_samples < len(samples)
    assert info.n_samples % BLOCK == 0
    assert np.array_equal(read_samples(path, 0, info.n_samples, reading=info.reading)[0], samples[: info.n_samples, 0])


@pytest.mark.parametrize("promised", [0, 2 * N])
def test_a_flac_that_promises_twice_its_length_or_nothing(tmp_path: Path, promised: int) -> None:
    path = tmp_path / "a.flac"
    promised_flac(path, noise(), promised)
    info = probe(path)
    assert (info.n_samples, info.problems) == (N, ("header_size",))
    assert np.array_equal(read_samples(path, N - 500, 500, reading=info.reading)[0], noise()[-500:, 0])


def test_a_hole_in_a_flac_loses_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    samples = noise(12 * BLOCK)
    content = bytearray(write(path, samples))
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    info = probe(path)
    assert info.n_samples == len(samples)
    with open_audio(path, info.reading) as audio:
        with pytest.raises(AudioError, match=r"a\.flac: samples 20480 to 28672 do not decode \(.+\)\."):
            audio.read(5 * BLOCK, 2 * BLOCK)
        for start in (0, 10 * BLOCK):
            assert np.array_equal(audio.read(start, BLOCK)[0], samples[start : start + BLOCK, 0])


def test_a_hole_ends_what_the_other_decoder_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    samples = noise(12 * BLOCK)
    misdeclared_flac(path, samples)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    info = probe(path)
    assert (info.n_samples, info.reading, info.problems) == (5 * BLOCK, "pyav", ("truncated",))
    assert np.array_equal(read_samples(path, 0, 5 * BLOCK, reading="pyav")[0], samples[: 5 * BLOCK, 0])


def test_what_libsndfile_refuses_ffmpeg_reads_alike(tmp_path: Path) -> None:
    good, odd = tmp_path / "good.flac", tmp_path / "odd.flac"
    samples = noise(N, 2)
    write(good, samples)
    misdeclared_flac(odd, samples)
    with pytest.raises(AudioError, match="libsndfile refuses it"):
        open_audio(odd, "libsndfile")
    assert probe(odd) == AudioInfo(RATE, 2, N, "FLAC/FLAC", "pyav")
    expected = read_samples(good, 0, N, reading="libsndfile")
    assert np.array_equal(read_samples(odd, 0, N, reading="pyav"), expected)


def test_a_cut_ogg_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    content = write(path, noise(5 * RATE))
    assert probe(path).problems == ()
    path.write_bytes(content[: len(content) // 2])
    info = probe(path)
    assert info.problems == ("truncated",)
    assert 0 < info.n_samples < 5 * RATE


# What is no sound file


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.touch()
    error = refusal(path)
    assert (error.problem, str(error)) == ("empty", f"{path}: is empty (0 bytes).")
    assert error.exit_code == 3


@pytest.mark.parametrize(
    "content",
    [b"version https://git-lfs.github.com/spec/v1\nsize 5\n", bytes(131_072), b"RIFF", b"fLaC"],
    ids=["pointer", "zeros", "riff", "flac"],
)
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.raw", "a"])
def test_other_bytes_are_refused_with_both_reasons(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    error = refusal(path)
    assert error.problem == "unreadable"
    message = str(error)
    assert message.startswith(f"{path}: libsndfile refuses it (")
    assert " and FFmpeg " in message
    assert message.endswith("; it is damaged, no sound file, or must be converted to FLAC or WAV first.")
    assert message.count(str(path)) == 1


def test_a_playlist_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "secret.mp3", noise())
    path = tmp_path / "a.wav"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.mp3\n#EXT-X-ENDLIST\n")
    assert refusal(path).problem == "unreadable"


def test_pictures_have_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    assert "FFmpeg finds no sound in it" in str(refusal(path))


@pytest.mark.parametrize(
    ("make", "problem", "message"),
    [
        (Path.mkdir, "not_a_file", "is no regular file, but a folder, pipe or device."),
        (os.mkfifo, "not_a_file", "is no regular file, but a folder, pipe or device."),
        (lambda _: None, "unreadable", "cannot be opened (No such file or directory)."),
    ],
)
def test_what_opening_would_hang_on_is_not_opened(
    tmp_path: Path, make: Callable[[Path], None], problem: str, message: str
) -> None:
    path = tmp_path / "a.wav"
    make(path)
    error = refusal(path)
    assert (error.problem, str(error)) == (problem, f"{path}: {message}")
    with pytest.raises(AudioError):
        open_audio(path, "libsndfile")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    write(path, noise(100))

    def forbidden(self: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    error = refusal(path)
    assert (error.problem, str(error)) == ("unreadable", f"{path}: cannot be opened (Permission denied).")


@pytest.mark.parametrize("kind", ["mp3", "misdeclared_flac"])
def test_the_deadline_ends_a_long_count(tmp_path: Path, kind: str) -> None:
    error = refusal(any_kind(tmp_path, kind), deadline_s=-1.0)
    assert error.problem == "timeout"
    assert str(error).endswith("took too long to examine; it may be damaged.")


def test_receipts_can_name_the_decoders() -> None:
    versions = decoder_versions()
    assert versions["libsndfile"] == soundfile.__libsndfile_version__
    assert "ffmpeg/libavcodec" in versions
