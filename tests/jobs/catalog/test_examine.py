"""What one file's header claims against what no recorder does, and floating-point sound."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jobs.catalog.examine import FileFacts, examine
from jobs.catalog.headers import HeaderFacts, true_rate

RATE, N = 8000, 16_000


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def wav(path: Path, *, rate: int = RATE, channels: int = 1, after: bytes = b"", size: int | None = None) -> Path:
    data = np.random.default_rng(1).integers(-9000, 9000, N).astype("<i2").tobytes()
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2, 16)
    promised = len(data) if size is None else size
    body = b"WAVE" + chunk(b"fmt ", fmt) + b"data" + struct.pack("<I", promised) + data + after
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def guano(**values: object) -> bytes:
    return chunk(
        b"guan", "\n".join(["GUANO|Version: 1.0", *(f"{key}: {value}" for key, value in values.items())]).encode()
    )


def wamd(expansion: int) -> bytes:
    return chunk(b"wamd", struct.pack("<HI", 2, 4) + b"1234" + struct.pack("<HIH", 0x0F, 2, expansion))


def facts(path: Path, maker: str = "") -> tuple[FileFacts, int, str]:
    found = examine(str(path), maker)
    return found, found.audio.sample_rate_hz if found.audio else 0, ";".join(found.problems)


@pytest.mark.parametrize(
    ("after", "rate", "code"),
    [
        (guano(TE=10, Samplerate=80_000), 80_000, "time_expanded"),
        (guano(TE=10), 80_000, "time_expanded"),
        (guano(TE=" 8.0 "), 64_000, "time_expanded"),
        (wamd(10), 80_000, "time_expanded"),
        (wamd(10) + guano(Samplerate=80_000), 80_000, "time_expanded"),
        (guano(TE=1, Samplerate=8000), 8000, ""),
        (guano(Samplerate="8.0"), 8000, ""),  # in kHz
        (guano(TE="", Samplerate=""), 8000, ""),
        (wamd(0), 8000, ""),
        (guano(Samplerate=80_000), 8000, "rate_conflict"),
        (guano(TE=10, Samplerate=8000), 8000, "rate_conflict"),
        (guano(TE=10, Samplerate=96_000), 8000, "rate_conflict"),
        *[(guano(TE=te), 8000, "rate_conflict") for te in (0, -10, "nan", "inf", "1e9", "ten", 0.1, "9" * 400)],
    ],
)
def test_the_rate_that_sound_was_recorded_at(tmp_path: Path, after: bytes, rate: int, code: str) -> None:
    found, rate_hz, problems = facts(wav(tmp_path / "a.wav", after=after))
    assert (rate_hz, problems) == (rate, code)
    assert found.audio is not None
    assert (found.audio.n_samples, found.audio.duration_s) == (N, N / rate)


def test_an_expansion_beyond_all_rates_is_not_believed() -> None:
    assert true_rate(500_000, HeaderFacts(time_expansion=10.0)) == (500_000, "rate_conflict")


@pytest.mark.parametrize("rate", [0x7FFFFFFF, 4_000_001, 9, 1])
def test_a_rate_that_no_recorder_has(tmp_path: Path, rate: int) -> None:
    found, _, problems = facts(wav(tmp_path / "a.wav", rate=rate))
    assert (found.audio, problems) == (None, "rate_out_of_range")
    assert f"expected 10 to 4,000,000 Hz, found {rate:,} Hz" in found.message


def test_channels_and_gains_that_no_recorder_has(tmp_path: Path) -> None:
    assert facts(wav(tmp_path / "a.wav", channels=1000))[2].split(";")[0] == "channels_out_of_range"
    soundfile.write(tmp_path / "a.flac", np.zeros((100, 1), np.int16), RATE)
    content = (tmp_path / "a.flac").read_bytes()
    text = b"ChannelGain1=" + b"9" * 400
    comments = struct.pack("<II", 0, 2) + b"".join(struct.pack("<I", len(t)) + t for t in (b"SensorUid=7", text))
    block = bytes([0x04]) + len(comments).to_bytes(3, "big") + comments
    (tmp_path / "a.flac").write_bytes(content[:42] + block + content[42:])
    found, _, problems = facts(tmp_path / "a.flac")
    assert (found.audio, problems) == (None, "gain_out_of_range")


@pytest.mark.parametrize("size", [0, 44, 2 * N + 44])
def test_sizes_get_a_makers_code_only_in_its_files(tmp_path: Path, size: int) -> None:
    path = wav(tmp_path / "a.wav", size=size)
    for maker in ("", "WA", "OA"):
        found, _, problems = facts(path, maker)
        assert problems == "header_size"
        assert found.audio is not None
        assert found.audio.n_samples == N
    assert ("FL" in facts(path, "FL")[2]) == (size != 44)


def sine(peak: float, *, limit: float = np.inf) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    samples = peak * np.sin(2 * np.pi * 440 * np.arange(N) / RATE)
    return np.clip(samples, -limit, limit).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "subtype", "problems"),
    [
        (sine(3.0), "FLOAT", ""),
        (sine(3.0), "DOUBLE", ""),
        (sine(1.0), "FLOAT", ""),
        (sine(3.0, limit=1.0), "FLOAT", "full_scale"),
        (sine(3.0, limit=2.5), "FLOAT", "full_scale"),
        (sine(3.0, limit=1.0), "PCM_16", "full_scale"),
        (np.where(np.arange(N) == 5, np.nan, sine(0.5)), "FLOAT", "not_a_number"),
        (np.where(np.arange(N) == 5, np.inf, sine(0.5)), "FLOAT", "not_a_number"),
        (np.where(np.arange(N) == 5, 1e17, sine(0.5)), "FLOAT", "not_a_number"),
    ],
)
def test_floating_point_sound(
    tmp_path: Path, samples: np.ndarray[tuple[int], np.dtype[np.float32]], subtype: str, problems: str
) -> None:
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype=subtype)
    assert facts(tmp_path / "a.wav")[2] == problems


def test_integers_stored_as_floating_point_are_set_aside(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 32_768 * (sine(0.5) + 0.2), RATE, subtype="FLOAT")
    found, _, problems = facts(tmp_path / "a.wav")
    assert (found.audio, problems) == (None, "not_a_number;beyond_scale")
    assert "divide them by the integers' full scale" in found.message
