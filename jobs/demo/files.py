"""The recordings of the demo study as files: encoded, damaged where the plan says so, and digested."""

import io
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from jobs.demo.config import StudyConfig
from jobs.demo.plan import RECORDERS, PlannedFile, Take
from jobs.demo.scene import render
from jobs.demo.tables import truth_row
from lake.digest import sha256
from lake.storage import Storage


@dataclass(frozen=True)
class Made:
    """The result of one take: digest lines of its files, its rows of truth, its bytes."""

    lines: list[str]
    truth: list[tuple[str, ...]]
    n_bytes: int


def write_take(config: StudyConfig, aside: Path, take: Take) -> Made:
    """Make one take and write its files below ``aside / "audio"``; ``TryAgainError`` if the disk is full."""
    samples, events = render(config, take)
    rate = RECORDERS[take.recorder].sample_rate_hz
    storage = Storage(aside / "audio")
    lines, n_bytes = [], 0
    for file in take.files:
        first = file.offset_ms * rate // 1000
        own = samples[first : first + file.n_ms * rate // 1000]
        if file.path.endswith(".flac"):
            data = _flac(own, rate)
            lines.append(flac_line(file.path, own, rate))
        else:
            data = _damaged(_wav(own, rate), file, rate * own.shape[1] * 2)
            lines.append(bytes_line(file.path, data))
        storage.write(file.path, data)
        n_bytes += len(data)
    return Made(lines, [truth_row(take, event) for event in events], n_bytes)


def _flac(samples: npt.NDArray[np.int16], rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _wav(samples: npt.NDArray[np.int16], rate: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def _damaged(data: bytes, file: PlannedFile, bytes_per_s: int) -> bytes:
    """Return a WAV file's bytes as its fault leaves them; a cut falls in the middle of a sample."""
    if file.fault == "empty":
        return b""
    if file.fault == "truncated":
        return data[: 44 + file.kept_ms * bytes_per_s // 1000 + 1]
    return data


def total_digest(lines: list[str], tables: list[str]) -> str:
    """Return the digest of a study from the lines of its recordings, in any order, and of its tables."""
    return sha256("".join(sorted(lines) + tables).encode())


def flac_line(name: str, samples: npt.NDArray[np.int16], rate: int) -> str:
    """Return the digest line of a FLAC file: of its samples, shape (n_samples, n_channels)."""
    data = np.ascontiguousarray(samples, dtype="<i2").tobytes()
    return f"{name} {rate} {samples.shape[1]} {sha256(data)}\n"


def bytes_line(name: str, data: bytes) -> str:
    """Return the digest line of any other file."""
    return f"{name} {sha256(data)}\n"
