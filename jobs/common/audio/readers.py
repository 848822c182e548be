"""Open sound files: their samples, in any order and the same each time, from either of two decoders."""

import contextlib
import os
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from jobs.common.audio.headers import PartOfFile, flac_goes_on, with_right_header
from lake.errors import InputError

Samples = NDArray[np.float32]

BLOCK_SAMPLES = 65_536
"""Samples decoded at once while counting or skipping."""


class AudioError(InputError):
    """A sound file cannot be read, and why; ``problem`` is its code in a table of recordings."""

    def __init__(self, message: str, *, problem: str = "unreadable") -> None:
        super().__init__(message)
        self.problem = problem


class AudioReader(ABC):
    """An open sound file whose samples can be read in any order; a context manager.

    Attributes
    ----------
    path
        The file.
    sample_rate_hz, n_channels, format
        As the decoder says; the format is container and coding, such as ``WAV/PCM_16``.
    n_promised
        Samples that the header promises; ``None`` if it does not say.
    refusals
        Errors of the decoder where samples do not decode.
    """

    refusals: tuple[type[Exception], ...]
    path: Path
    sample_rate_hz: int
    n_channels: int
    format: str
    n_promised: int | None

    @abstractmethod
    def _read(self, start: int, out: Samples) -> int:
        """Fill ``out``, shape (n_channels, n), from its start, and return how far; an error may be raised instead."""

    @abstractmethod
    def count(self, stop_s: float) -> int:
        """Return how many samples of each channel decode, counted from the start.

        Raises
        ------
        AudioError
            If it takes until the monotonic clock reads ``stop_s``.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file; a later read opens it again."""

    def read(self, start: int, count: int, *, out: Samples | None = None) -> Samples:
        """Decode samples.

        Parameters
        ----------
        start, count
            First sample and number of samples of each channel.
        out
            Memory to leave them in, of the shape that is returned.

        Returns
        -------
        ndarray of float32, shape (n_channels, count)
            Full scale of integer samples is 1.0; floating-point samples are as they are. The samples are
            the same whatever was read before.

        Raises
        ------
        AudioError
            If not all of them decode; the reader can still be used for others.
        """
        if start < 0 or count < 0:
            raise ValueError(f"samples {start} to {start + count} lie before the start of a file")
        asked = f"samples {start} to {start + count}"
        samples = self._empty(count) if out is None else out
        try:
            n_filled = self._read(start, samples)
        except self.refusals as error:
            self.close()
            raise AudioError(f"{self.path}: {asked} do not decode ({reason_of(error)}).") from error
        if n_filled < count:
            self.close()
            remedy = "if the file has changed since it was catalogued, catalogue it again"
            raise AudioError(f"{self.path}: {asked} were asked for, {n_filled} of them decode; {remedy}.")
        return samples

    def _empty(self, count: int) -> Samples:
        return np.empty((self.n_channels, count), dtype=np.float32)

    def _check_time(self, stop_s: float) -> None:
        if time.monotonic() > stop_s:
            raise AudioError(f"{self.path}: took too long to examine; it may be damaged.", problem="timeout")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SndfileReader(AudioReader):
    """A file that libsndfile reads.

    Raises
    ------
    AudioError
        If it does not.
    """

    refusals = (soundfile.LibsndfileError, OSError)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()
        self.sample_rate_hz = int(self._file.samplerate)
        self.n_channels = int(self._file.channels)
        self.format = f"{self._container or self._file.format}/{self._file.subtype}"
        self.n_promised = int(self._file.frames) if self._file.frames < 2**62 else None
        # libsndfile scales integers one by one; scaled all at once they are the same in a third of the time.
        is_16_bit = self._file.subtype == "PCM_16"
        self._type = "int16" if is_16_bit else "float32"
        self._scale = np.float32(2.0**-15) if is_16_bit else None
        # After a seek, MP3 and Ogg Vorbis decode to other samples than they do on the way from the start.
        self._seeks_exactly = self._file.format not in {"MP3", "OGG"}

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        self._file.close()
        if self._source is not None:
            self._source.close()

    def count(self, stop_s: float) -> int:
        """Count as the base class says; refuse a FLAC file whose last promised sample does not decode, or is not last.

        libFLAC looks for samples by the promised length, and where that is wrong a search may take minutes.
        """
        if self._file.format == "FLAC" and flac_goes_on(self.path):
            raise AudioError(f"{self.path}: libsndfile stops at the length that the header promises.")
        if self._seeks_exactly:
            n_samples = int(self._file.frames)
            if n_samples == 0 or self._decodes(n_samples - 1):
                return n_samples
            if self._file.format == "FLAC" and self._decodes(0):
                raise AudioError(f"{self.path}: libsndfile does not find the last sample that the header promises.")
        return self._count_on_the_way(stop_s)

    def _decodes(self, position: int) -> bool:
        is_there = False
        with contextlib.suppress(soundfile.LibsndfileError):
            is_there = self._read(position, self._empty(1)) == 1
        self.close()
        return is_there

    def _count_on_the_way(self, stop_s: float) -> int:
        n_samples = 0
        with contextlib.suppress(soundfile.LibsndfileError):
            while n_read := self._read(n_samples, self._empty(BLOCK_SAMPLES)):
                n_samples += n_read
                self._check_time(stop_s)
        self.close()
        return n_samples

    def _open(self) -> None:
        self._source: PartOfFile | None
        self._source, self._container = with_right_header(self.path) or (None, "")
        try:
            self._file = soundfile.SoundFile(self._source or os.fsencode(self.path))
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: headerless formats, by their suffix
            if self._source is not None:
                self._source.close()
            raise AudioError(f"{self.path}: libsndfile refuses it ({reason_of(error)}).") from error
        self._position = 0
        # soundfile seeks after each read of a seekable file: for nothing, and at the last sample that decodes
        # of a truncated FLAC file that fails, although the samples are there.
        self._file.seekable = lambda: False

    def _read(self, start: int, out: Samples) -> int:
        if self._file.closed or (start < self._position and not self._seeks_exactly):
            self.close()
            self._open()
        if start != self._position and self._seeks_exactly:
            self._position = int(self._file.seek(start))
        while self._position < start:
            if len(self._decode(start - self._position)) == 0:
                return 0
        n_filled = 0
        while n_filled < out.shape[1] and len(block := self._decode(out.shape[1] - n_filled)):
            target = out[:, n_filled : n_filled + len(block)]
            if self._scale is None:
                target[:] = block.T
            else:
                np.multiply(block.T, self._scale, out=target)
            n_filled += len(block)
        return n_filled

    def _decode(self, count: int) -> NDArray[Any]:
        """Return the next samples as the decoder gives them, shape (n, n_channels): some of those asked for."""
        samples: NDArray[Any] = self._file.read(min(count, BLOCK_SAMPLES), dtype=self._type, always_2d=True)
        self._position += len(samples)
        return samples


def reason_of(error: Exception) -> str:
    """Return what a decoder says about a failure, without the path and the frills."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).removeprefix("Error : ").strip().rstrip(".")
