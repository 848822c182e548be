"""Sound files for tests: sound ones, and such as recorders and accidents leave."""

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
N = 20_000
BLOCK = 4096
"""Samples in a FLAC frame, as libsndfile writes it."""


def noise(n_samples: int = N, n_channels: int = 1) -> NDArray[np.float32]:
    """Noise on the grid of 16 bits, shape (n_samples, n_channels)."""
    values = np.random.default_rng(n_samples).integers(-9000, 9000, (n_samples, n_channels))
    return (values / 32768).astype(np.float32)


def write(path: Path, samples: NDArray[Any], **options: Any) -> bytes:
    """Write a file and return its bytes."""
    soundfile.write(path, samples, RATE, **options)
    return path.read_bytes()


def promised_flac(path: Path, samples: NDArray[Any], n_promised: int) -> bytes:
    """Write a FLAC file whose header promises a number of samples; 0 means that it does not say."""
    content = bytearray(write(path, samples))
    fields = int.from_bytes(content[18:26], "big")
    content[18:26] = (fields >> 36 << 36 | n_promised).to_bytes(8, "big")
    path.write_bytes(content)
    return bytes(content)


def misdeclared_flac(path: Path, samples: NDArray[Any], subtype: str = "PCM_16") -> None:
    """Write a FLAC file whose last comment is declared one byte longer than its block, as some recorders do."""
    content = write(path, samples, format="FLAC", subtype=subtype)
    at, frames = 4, 0
    while not frames:
        is_last, size = content[at] & 0x80, int.from_bytes(content[at + 1 : at + 4], "big")
        at += 4 + size
        frames = at if is_last else 0
    vendor, comment = b"ARU", b"Gain=40"
    block = struct.pack("<I", 3) + vendor + struct.pack("<II", 1, len(comment) + 1) + comment
    path.write_bytes(content[:42] + bytes([0x84]) + len(block).to_bytes(3, "big") + block + content[frames:])


def write_aac(path: Path) -> None:
    """Write three seconds of a tone as AAC in MPEG-4, which libsndfile does not know."""
    samples = (0.5 * np.sin(np.arange(3 * RATE) * 0.05)).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def any_kind(folder: Path, kind: str) -> Path:
    """Write a file by its suffix, with what is odd about it before an underscore."""
    path = folder / f"a.{kind.rpartition('_')[2]}"
    samples = noise(N, 2)
    if kind == "misdeclared_flac":
        misdeclared_flac(path, samples)
    elif kind == "doubled_flac":
        promised_flac(path, samples, 2 * N)
    elif kind == "m4a":
        write_aac(path)
    else:
        write(path, samples)
    return path
