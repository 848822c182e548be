"""Main loop of a decoder's process: it answers requests over a pipe until its parent is gone."""

import hashlib
import mmap
import os
import signal
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from jobs.common.audio.probe import AudioError, AudioReader, Reading, Samples
from jobs.common.signals import signals

Opener = Callable[[str, Reading], AudioReader]
Stand = tuple[int, int, int, int]
"""Bytes, time of the last change in nanoseconds, device and number of a file."""
Print = tuple[str, Stand]
"""SHA-256 of a file's bytes, and its stand, which was the same before and after they were read."""

GREETING = "dawnchorus decoder"
GRACE_S = 10.0
"""Seconds after a deadline at which the system ends this process, if nobody else did."""

_READ_BYTES = 1 << 20
_open: dict[int, AudioReader] = {}
_memory: dict[str, Any] = {"file": -1, "map": None}


def serve(connection_number: int, memory_number: int) -> None:
    """Answer requests until the other end of the pipe is closed.

    Parameters
    ----------
    connection_number, memory_number
        File descriptors of the pipe, and of the memory that samples are left in.

    Notes
    -----
    The functions run in a thread beside the one that listens, so that the end of the parent is seen at once
    although a decoder hangs. One that hangs with the interpreter's lock held is ended by the alarm.
    """
    for number in signals("SIGINT", "SIGTERM", "SIGHUP"):  # what they stop is the parent, not a recording
        signal.signal(number, signal.SIG_IGN)
    _memory["file"] = memory_number
    connection = Connection(connection_number)
    connection.send(GREETING)
    with ThreadPoolExecutor(1) as thread:
        while True:
            try:
                function, args, more, deadline_s = connection.recv()
            except (EOFError, ConnectionError):
                os._exit(0)
            signal.setitimer(signal.ITIMER_REAL, deadline_s + GRACE_S)
            thread.submit(function, *args, **more).add_done_callback(lambda done: _answer(connection, done))


def _answer(connection: Connection, done: "Future[Any]") -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    error = done.exception()
    if error is None:
        connection.send(("returned", done.result()))
    elif isinstance(error, AudioError):
        connection.send(("refused", error))
    else:
        connection.send(("failed", "".join(traceback.format_exception_only(error)).strip()))


def open_one(number: int, opener: Opener, path: str, reading: Reading) -> tuple[int, int]:
    """Open a sound file under a number; return its sample rate and its number of channels."""
    audio = _open[number] = opener(path, reading)
    return audio.sample_rate_hz, audio.n_channels


def read(number: int, start: int, count: int) -> tuple[int, int]:
    """Leave samples of an open file in the shared memory and return their shape."""
    audio = _open[number]
    shape = audio.n_channels, count
    audio.read(start, count, out=_room(shape))
    return shape


def close(number: int) -> None:
    """Close the file under a number."""
    _open.pop(number).close()


def stand_of(path: str) -> Stand:
    """Return what tells that a file was not touched.

    Raises
    ------
    AudioError
        Of ``problem`` ``gone``.
    """
    try:
        found = Path(path).stat()
    except OSError as error:
        raise _gone(path, error) from error
    return found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino


def fingerprint(path: str) -> Print:
    """Return the SHA-256 of a file, and its stand.

    Raises
    ------
    AudioError
        Of ``problem`` ``gone``; or ``changed`` if it changes while it is read.
    """
    before, digest = stand_of(path), hashlib.sha256()
    try:
        with Path(path).open("rb", buffering=0) as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
    except OSError as error:
        raise _gone(path, error) from error
    if stand_of(path) != before:
        raise AudioError(f"{path}: changes while it is read; wait until it is copied.", problem="changed")
    return digest.hexdigest(), before


def _room(shape: tuple[int, int]) -> Samples:
    """Return the shared memory as samples of a shape."""
    held: mmap.mmap | None = _memory["map"]
    n = shape[0] * shape[1]
    if held is None or len(held) < 4 * n:
        held = _memory["map"] = mmap.mmap(_memory["file"], 0)
    return np.frombuffer(held, dtype=np.float32, count=n).reshape(shape)


def _gone(path: str, error: OSError) -> AudioError:
    return AudioError(f"{path}: expected a recording, found none ({error.strerror}).", problem="gone")
