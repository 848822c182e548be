"""What decoders do that no test file can be relied on to make them do; called in a decoder's process."""

import os
import signal
import time
from pathlib import Path

from jobs.common.audio.probe import AudioReader, Reading, Samples, open_audio
from jobs.common.audio.readers import SndfileReader


class Slow(SndfileReader):
    """Hangs from the second at which its file's name says so: ``hang-at-12.wav``."""

    def read(self, start: int, count: int, *, out: Samples | None = None) -> Samples:
        words = self.path.stem.split("-")
        if start + count > int(words[-1]) * self.sample_rate_hz:
            {"hang": hang, "exit": leave, "crash": crash}[words[0]]()
        return super().read(start, count, out=out)


def open_faulty(path: str, reading: Reading) -> AudioReader:
    """Open a file; one whose name begins with a fault will have it."""
    if Path(path).stem.split("-")[0] in {"hang", "exit", "crash"}:
        return Slow(Path(path))
    return open_audio(path, reading)


def hang() -> None:
    """Sleep for longer than any test waits."""
    time.sleep(1000)


def leave() -> None:
    """End the process without a word."""
    os._exit(7)


def crash() -> None:
    """End the process as C code does that writes where it may not."""
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(10)


def fail() -> None:
    """Raise what no decoder should."""
    raise KeyError("what")


def process_number() -> int:
    """Return the process that answers."""
    return os.getpid()
