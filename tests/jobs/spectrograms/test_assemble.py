"""What is read of recordings, whatever was read before."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jobs.spectrograms.assemble import Reader
from jobs.spectrograms.plan import Placed

RATE = 8000


def write_recording(folder: Path, number: int, n_samples: int) -> tuple[Placed, np.ndarray]:
    """Write noise of one or two channels, and return the recording with the samples that it holds."""
    n_channels = 1 + number % 2
    samples = np.random.default_rng(number).integers(-(2**15), 2**15, (n_samples, n_channels), dtype=np.int16)
    path = folder / f"{number}.{('wav', 'flac')[number % 2]}"
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    end_ms = n_samples / RATE * 1000
    recording = Placed(path.name, digest, "a", "", "libsndfile", 0, end_ms, n_samples, RATE, n_channels, None)
    return recording, samples.T.astype(np.float32) / 2**15


@pytest.mark.parametrize("seed", range(6))
def test_spans_of_several_recordings_by_turns_are_their_own(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 9 * RATE, 5)
    written = [write_recording(tmp_path, number, int(n)) for number, n in enumerate(lengths)]
    reader, at = Reader(tmp_path), [0] * len(written)
    for _ in range(150):
        number = int(random.integers(len(written)))
        recording, samples = written[number]
        start = at[number] if random.random() < 0.8 else int(random.integers(recording.n_samples))
        start = start if start < recording.n_samples else 0
        count = int(random.integers(1, RATE))
        found = reader.read(recording, start, count)
        assert np.array_equal(found, samples[:, start : start + count])
        at[number] = start + count - int(random.integers(0, min(count, 50) + 1))
    reader.close()
