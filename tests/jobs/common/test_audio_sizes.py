"""Headers whose size is behind their data: what is there is read, and chunks after it are not."""

import struct
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from audiofiles import RATE, noise, promised_flac, write
from numpy.typing import NDArray

from jobs.common.audio.chunks import read_layout
from jobs.common.audio.headers import flac_goes_on, header_problem
from jobs.common.audio.probe import open_audio, probe, read_samples

N = 20_000
GUANO = b"GUANO|Version: 1.0\nTimestamp: 2021-06-22T22:00:00+00:00\n"


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def coded(kind: str, n_samples: int = N, n_channels: int = 1) -> tuple[bytes, bytes, NDArray[np.float32]]:
    """Return the content of a fmt chunk, the data, and the samples, shape (n_channels, n)."""
    values = np.random.default_rng(1).integers(-9000, 9000, (n_samples, n_channels)).astype("<i4")
    code, bits = {"pcm16": (1, 16), "pcm24": (1, 24), "u8": (1, 8), "float": (3, 32), "wavex": (0xFFFE, 16)}[kind]
    if kind == "pcm24":
        data = (values * 256).astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    elif kind == "u8":
        data = ((values >> 8) + 128).astype("u1").tobytes()
    else:
        data = (values / 32768).astype("<f4").tobytes() if kind == "float" else values.astype("<i2").tobytes()
    frame = n_channels * bits // 8
    fmt = struct.pack("<HHIIHH", code, n_channels, RATE, RATE * frame, frame, bits)
    if kind == "wavex":
        fmt += struct.pack("<HHI", 22, 16, 4) + bytes.fromhex("0100000000001000800000aa00389b71")
    scale = 256 if kind == "u8" else 1
    return fmt, data, ((values // scale * scale) / 32768).astype(np.float32).T


def wav(path: Path, fmt: bytes, data: bytes, size: int, *, before: bytes = b"", after: bytes = b"") -> Path:
    body = b"WAVE" + chunk(b"fmt ", fmt) + before + b"data" + struct.pack("<I", size) + data + bytes(len(data) % 2)
    path.write_bytes(b"RIFF" + struct.pack("<I", 36 + size & 0xFFFFFFFF) + body + after)
    return path


@pytest.mark.parametrize("kind", ["pcm16", "pcm24", "u8", "float", "wavex"])
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "after"),
    [
        (0, b""), (44, chunk(b"guan", GUANO)), (8000, b""), (8000, chunk(b"LIST", b"INFOICMT\4\0\0\0abc\0")),
        (0xFFFFFFFF, chunk(b"guan", GUANO)), ("odd", b""), (900_000, chunk(b"guan", GUANO)),
    ],
)  # fmt: skip
def test_all_of_the_data_is_read_and_nothing_else(
    tmp_path: Path, kind: str, n_channels: int, after: bytes, size: int | str
) -> None:
    fmt, data, samples = coded(kind, N + 1, n_channels)
    promised = len(data) // 3 if isinstance(size, str) else size
    path = wav(tmp_path / "a.wav", fmt, data, promised, before=chunk(b"JUNK", bytes(27)), after=after)
    info = probe(path)
    n_more = 1 if kind == "u8" and len(data) % 2 else 0  # the byte that fills up an odd chunk
    assert info.n_samples - samples.shape[1] in {0, n_more}
    assert info.problems == ("header_size",)
    assert info.format.startswith("WAV")
    assert np.array_equal(read_samples(path, 0, samples.shape[1], reading=info.reading), samples)
    last = read_samples(path, samples.shape[1] - 100, 100, reading=info.reading)
    assert np.array_equal(last, samples[:, -100:])


def test_the_first_samples_may_look_like_a_chunk(tmp_path: Path) -> None:
    fmt, data, _ = coded("pcm16")
    data = b"LISTabcd" + data[8:]
    path = wav(tmp_path / "a.wav", fmt, data, 0)
    assert (probe(path).n_samples, probe(path).problems) == (N, ("header_size",))
    path = wav(tmp_path / "b.wav", fmt, data[:800] + b"data" + data[804:], 800 - 8)
    assert (probe(path).n_samples, probe(path).problems) == (N, ("header_size",))


@pytest.mark.parametrize("cut", [0, 3, 20])
def test_chunks_after_right_data_stay_out_even_when_cut(tmp_path: Path, cut: int) -> None:
    fmt, data, _ = coded("pcm16")
    path = wav(tmp_path / "a.wav", fmt, data, len(data), after=chunk(b"abcd", b"x") + chunk(b"guan", GUANO))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - cut])
    assert (probe(path).n_samples, probe(path).problems) == (N, ())


def test_zeros_that_fill_a_block_of_the_card_are_no_sound(tmp_path: Path) -> None:
    fmt, data, _ = coded("pcm16")
    path = wav(tmp_path / "a.wav", fmt, data, len(data), after=bytes(512))
    assert (probe(path).n_samples, probe(path).problems) == (N, ("header_size",))
    path = wav(tmp_path / "b.wav", fmt, data, len(data), after=bytes(200_000))
    assert probe(path).n_samples == N + 100_000


@pytest.mark.parametrize("old", [0, 2 * RATE])
@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_an_rf64_with_an_old_size(tmp_path: Path, old: int, magic: bytes) -> None:
    fmt, data, samples = coded("pcm16")
    wide = struct.pack("<QQQI", 72 + old, old, old // 2, 0)
    body = b"WAVE" + chunk(b"ds64", wide) + chunk(b"fmt ", fmt) + b"data\xff\xff\xff\xff" + data
    path = tmp_path / "a.wav"
    path.write_bytes(magic + b"\xff\xff\xff\xff" + body)
    info = probe(path)
    assert (info.n_samples, info.problems, info.format) == (N, ("header_size",), "RF64/PCM_16")
    assert np.array_equal(read_samples(path, 0, N, reading=info.reading), samples)


def test_a_size_that_wrapped_at_4_gib(tmp_path: Path) -> None:
    fmt, _, _ = coded("pcm16")
    n_bytes = (1 << 32) + 4_000_000
    after = chunk(b"guan", GUANO)
    for name, tail in (("a.wav", b""), ("b.wav", after)):
        path = wav(tmp_path / name, fmt, b"", n_bytes % (1 << 32))
        with path.open("r+b") as file:
            file.truncate(44 + n_bytes)
            file.seek(44 + n_bytes - 4)
            file.write(b"\1\0\2\0" + tail)
        info = probe(path)
        assert (info.n_samples, info.problems, info.format) == (n_bytes // 2, ("header_size",), "WAV/PCM_16")
        with open_audio(path, info.reading) as audio:
            last = audio.read(info.n_samples - 2, 2)
            assert np.array_equal(last, np.array([[1, 2]], np.float32) / 32768)
    assert layout_names(path)[-1] == b"guan"


def layout_names(path: Path) -> list[bytes]:
    layout = read_layout(path)
    assert layout is not None
    return [one.name for one in layout.chunks]


@pytest.mark.parametrize("form", ["AIFF", "CAF", "AU", "W64", "RIFX"])
@pytest.mark.parametrize("promised", [0, 2 * RATE])
def test_other_containers(tmp_path: Path, form: str, promised: int) -> None:
    path = tmp_path / f"a.{'wav' if form == 'RIFX' else form.lower()}"
    samples = noise(N)
    options = {"format": "WAV", "endian": "BIG"} if form == "RIFX" else {"format": form, "subtype": "PCM_16"}
    content = bytearray(write(path, samples, **options))
    assert probe(path).problems == ()
    at = content.find(b"SSND" if form == "AIFF" else b"data")
    places: dict[str, tuple[int, int, Literal["big", "little"], int]] = {
        "AIFF": (at + 4, 4, "big", 8), "CAF": (at + 4, 8, "big", 4), "AU": (8, 4, "big", 0),
        "W64": (at + 16, 8, "little", 24), "RIFX": (at + 4, 4, "big", 0),
    }  # fmt: skip
    at, size, order, more = places[form]
    content[at : at + size] = (promised + more).to_bytes(size, order)
    path.write_bytes(content)
    info = probe(path)
    assert (info.n_samples, info.problems) == (N, ("header_size",))
    assert np.array_equal(read_samples(path, 0, N, reading=info.reading)[0], samples[:, 0])


@pytest.mark.parametrize("promised", [1, RATE, N - 1])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_flac_that_promises_too_little(tmp_path: Path, promised: int, n_channels: int) -> None:
    path = tmp_path / "a.flac"
    samples = noise(N, n_channels)
    promised_flac(path, samples, promised)
    info = probe(path)
    if promised == N - 1:  # within the last frame: no frame begins after it
        assert info.n_samples in {N - 1, N}
        return
    assert (info.n_samples, info.problems) == (N, ("header_size",))
    for start in (0, N - 500, 7000):
        found = read_samples(path, start, 500, reading=info.reading)
        assert np.array_equal(found, samples[start : start + 500].T)


def test_a_flac_that_promises_right(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    write(path, noise(N))
    assert not flac_goes_on(path)
    assert (probe(path).reading, probe(path).problems) == ("libsndfile", ())


def test_a_stream_may_leave_its_size_open(tmp_path: Path) -> None:
    path = tmp_path / "a.caf"
    content = bytearray(write(path, noise(N), format="CAF", subtype="PCM_16"))
    at = content.find(b"data") + 4
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)
    assert header_problem(path) == ""
    assert (probe(path).n_samples, probe(path).problems) == (N, ())
