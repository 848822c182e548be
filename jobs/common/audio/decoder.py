"""Decoding in a process of its own: what hangs is stopped, what crashes costs one recording alone.

A decoder is C code that reads bytes from years of memory cards. In this process one that loops would hold the
run for ever, and one that crashes would take the worker with it. So each thread that decodes has one child
process, started at the first call and kept; every call has a deadline, after which the child is killed. The
child ends with its parent, however that ends.
"""

import contextlib
import mmap
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np

from jobs.common.audio import decoder_child
from jobs.common.audio.decoder_child import Opener, Print, Stand
from jobs.common.audio.probe import AudioError, Reading, Samples, open_audio
from lake.errors import TryAgainError

P = ParamSpec("P")
T = TypeVar("T")

START_DEADLINE_S = 120.0
PROBE_DEADLINE_S = 300.0
READ_DEADLINE_S = 60.0
SLOWEST_BYTES_PER_S = 10e6
"""A disk that gives less than this is taken for one that does not answer."""
SLOWEST_DECODING = 100.0
"""Seconds of sound that any decoder skips in a second, on the way to the samples that were asked for."""

_BOOT = (
    "import sys; sys.path[:] = {path!r}; from jobs.common.audio.decoder_child import serve; "
    "serve({connection}, {memory})"
)


class Decoder:
    """A child process that calls functions, one at a time, each under a deadline.

    It is started by the first call, and again by the first one after it ended. Not to be shared between
    threads: see :func:`this_decoder`.
    """

    def __init__(self) -> None:
        self._child: _Child | None = None

    def call(
        self, function: Callable[P, T], path: str | Path, deadline_s: float, /, *args: P.args, **more: P.kwargs
    ) -> T:
        """Call a function in the child and return what it returns.

        Parameters
        ----------
        function
            A function of a module that the child can import; arguments and result must be picklable.
        path
            The sound file that the call is about, for messages.
        deadline_s
            Seconds after which the child is killed.

        Raises
        ------
        AudioError
            Whatever :class:`AudioError` the function raises; of ``problem`` ``timeout`` if it did not end in
            time, and ``crashed`` if the child died of it or it raised what it should not.
        TryAgainError
            If no child can be started.
        """
        is_answered = False
        try:
            child = self.child()
            child.ask((function, args, more, deadline_s))
            if not child.connection.poll(deadline_s):
                raise AudioError(
                    f"{path}: nothing came within {deadline_s:.0f} s, and its decoder was stopped. If the disk is slow "
                    "or asleep, try again; if not, the file is damaged: convert it to FLAC or WAV.",
                    problem="timeout",
                )
            kind, value = child.connection.recv()
            is_answered = True
        except (EOFError, ConnectionError) as error:
            raise AudioError(
                f"{path}: its decoder died of it ({self.stop()}). The file is damaged, or memory ran out: "
                "convert it to FLAC or WAV, or give the run more memory.",
                problem="crashed",
            ) from error
        finally:
            if not is_answered:
                self.stop()
        if kind == "returned":
            return value  # type: ignore[no-any-return] # what comes through a pipe has no type
        if kind == "refused":
            raise value
        raise AudioError(f"{path}: reading it failed ({value}).", problem="crashed")

    def child(self) -> "_Child":
        """Return the running child, after starting it if there is none."""
        if self._child is None or self._child.has_ended():
            self.stop()
            self._child = _Child()
        return self._child

    def running(self) -> "_Child | None":
        """Return the running child, or ``None``."""
        return self._child

    def stop(self) -> str:
        """End the child, if there is one, and return how it ended."""
        child, self._child = self._child, None
        return "" if child is None else child.end()

    def kill(self) -> None:
        """End what a call does in another thread: it raises :class:`AudioError` there."""
        child = self._child
        if child is not None:
            child.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class RemoteReader:
    """A sound file that is open in a decoder's process; reads as :class:`jobs.common.audio.probe.AudioReader` does.

    Parameters
    ----------
    path, reading
        The file, and the decoder to use, as a probe found it.
    decoder
        The process; this thread's own by default.
    deadline_s
        Seconds that opening, or reading some seconds of sound, may take.
    opener
        Opens the file in the child.

    Raises
    ------
    AudioError
        If the decoder refuses the file, hangs or dies of it.
    """

    def __init__(
        self,
        path: str | Path,
        reading: Reading,
        *,
        decoder: Decoder | None = None,
        deadline_s: float = READ_DEADLINE_S,
        opener: Opener = open_audio,
    ) -> None:
        self.path, self.reading, self.deadline_s = Path(path), reading, deadline_s
        self._decoder, self._opener = decoder or this_decoder(), opener
        self._position = 0
        self._child: _Child | None = None
        self._open()

    def read(self, start: int, count: int, *, copy: bool = True) -> Samples:
        """Decode samples; see :meth:`jobs.common.audio.probe.AudioReader.read`.

        Without a copy they are in memory that the decoder's next read overwrites.

        Raises
        ------
        AudioError
            As there; also ``timeout`` and ``crashed``, after which a later read opens the file anew.
        """
        if self._child is not self._decoder.child():
            self._open()
        child = self._decoder.child()
        n_skipped = start - self._position if start >= self._position else start
        deadline_s = self.deadline_s + (n_skipped + count) / self.sample_rate_hz / SLOWEST_DECODING
        child.make_room(self.n_channels * count)
        shape = self._decoder.call(decoder_child.read, self.path, deadline_s, id(self), start, count)
        self._position = start + count
        samples = child.samples(shape)
        return samples.copy() if copy else samples

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        child, self._child = self._child, None
        if child is not None and child is self._decoder.running():
            with contextlib.suppress(AudioError):  # its child was stopped then, and with it the file is closed
                self._decoder.call(decoder_child.close, self.path, self.deadline_s, id(self))

    def _open(self) -> None:
        opened = self._decoder.call(
            decoder_child.open_one, self.path, self.deadline_s, id(self), self._opener, str(self.path), self.reading
        )
        self.sample_rate_hz, self.n_channels = opened
        self._child, self._position = self._decoder.child(), 0


def this_decoder() -> Decoder:
    """Return this thread's decoder."""
    if not hasattr(_OF_THREAD, "decoder"):
        _OF_THREAD.decoder = Decoder()
    return _OF_THREAD.decoder  # type: ignore[no-any-return] # a thread's own attributes have no type


def fingerprint(path: str | Path, *, deadline_s: float = READ_DEADLINE_S) -> Print:
    """Return what a file holds and where it stands, read in this thread's decoder.

    Parameters
    ----------
    path
        The file.
    deadline_s
        Seconds it may take, besides those that reading takes at 10 MB/s.

    Raises
    ------
    AudioError
        Of ``problem`` ``gone`` if it cannot be opened; ``timeout`` if the disk does not answer.
    """
    n_bytes = stand_of(path, deadline_s=deadline_s)[0]
    deadline_s += n_bytes / SLOWEST_BYTES_PER_S
    return this_decoder().call(decoder_child.fingerprint, path, deadline_s, str(path))


def stand_of(path: str | Path, *, deadline_s: float = READ_DEADLINE_S) -> Stand:
    """Return what tells that a file was not touched, asked in this thread's decoder: see :func:`fingerprint`."""
    return this_decoder().call(decoder_child.stand_of, path, deadline_s, str(path))


class _Child:
    """One process, the pipe to it, and the memory that both see."""

    def __init__(self) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        with theirs, _memory() as memory:
            self._file = os.dup(memory.fileno())
            boot = _BOOT.format(path=sys.path, connection=theirs.fileno(), memory=memory.fileno())
            self.process = subprocess.Popen(  # noqa: S603 (this Python, and our own module)
                [sys.executable, "-c", boot], pass_fds=(theirs.fileno(), memory.fileno()), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self._map: mmap.mmap | None = None
        self._end = weakref.finalize(self, _end, self.process, self.connection, self._file, os.getpid())
        if not self.connection.poll(START_DEADLINE_S) or not self._greets():
            raise TryAgainError(
                f"the process that decodes sound did not start ({self.end() or 'no answer'}); {sys.executable} was to "
                "run it. Its own words are above. Free some memory, or fix the installation, and try again."
            )

    def ask(self, request: tuple[Any, ...]) -> None:
        self.connection.send(request)

    def has_ended(self) -> bool:
        return not self._end.alive or self.process.poll() is not None

    def make_room(self, n_samples: int) -> None:
        """Make the shared memory large enough for this many samples."""
        n_bytes = 4 * n_samples
        if self._map is None or len(self._map) < n_bytes:
            os.ftruncate(self._file, n_bytes + n_bytes // 4 + mmap.PAGESIZE)
            self._map = mmap.mmap(self._file, 0)

    def samples(self, shape: tuple[int, int]) -> Samples:
        """Return the samples that the last call left there, where they are."""
        if self._map is None or 0 in shape:
            return np.empty(shape, dtype=np.float32)
        return np.frombuffer(self._map, dtype=np.float32, count=shape[0] * shape[1]).reshape(shape)

    def end(self) -> str:
        self._end()
        return _told(self.process.returncode)

    def _greets(self) -> bool:
        with contextlib.suppress(EOFError, ConnectionError):
            return bool(self.connection.recv() == decoder_child.GREETING)
        return False


def _end(process: subprocess.Popen[bytes], connection: Connection, file: int, owner: int) -> None:
    """Close what leads to a child, and end it if it is ours: a forked process holds its parent's."""
    connection.close()
    os.close(file)
    if os.getpid() == owner:
        process.kill()
        process.wait()


def _told(code: int | None) -> str:
    """Return how a process ended, in words."""
    if code is None:
        return ""
    if code < 0:
        return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"exit code {code}"


def _memory() -> Any:  # noqa: ANN401 (a file of either kind)
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("dawnchorus-samples"), "r+b")
    return tempfile.TemporaryFile()


def _forget() -> None:
    """Leave the parent's children alone after a fork."""
    _OF_THREAD.__dict__.clear()


_OF_THREAD = threading.local()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
