"""Open sound files: their samples, in any order and the same each time, from either of two decoders."""

import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from jobs.common.audio_headers import PartOfFile, flac_goes_on, with_right_header
from lake.errors import InputError

Samples = NDArray[np.float32]

BLOCK_SAMPLES = 65_536
"""Samples decoded at once while counting or skipping."""
_FFMPEG_FORMATS = "aiff,amr,ape,asf,au,caf,flac,matroska,mov,ogg,tak,tta,w64,wav,wv"
"""Formats that are known by a mark at their start; playlists, which make FFmpeg open other files, are not here."""
_FFMPEG_FORMATS_BY_SUFFIX = {".aac": "aac", ".mp2": "mp3", ".mp3": "mp3"}
"""Formats without such a mark, which other bytes look like: believed only where the name says so."""
_FULL_SCALE = {"s16": 2.0**15, "s32": 2.0**31, "flt": 1.0, "dbl": 1.0}
"""Value that becomes 1.0, by FFmpeg's name of a sample format."""


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
    """

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
        except (soundfile.LibsndfileError, av.FFmpegError, OSError) as error:
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
        self._scale = np.float32(1 / _FULL_SCALE["s16"]) if is_16_bit else None
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


class PyavReader(AudioReader):
    """A file that FFmpeg reads.

    Raises
    ------
    AudioError
        If it does not, or finds no sound.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()
        container = self._container.format.name.split(",")[0]
        self.sample_rate_hz = int(self._stream.rate or 0)
        self.n_channels = int(self._stream.channels)
        if self.sample_rate_hz <= 0 or self.n_channels <= 0:
            self.close()
            raise AudioError(f"{path}: FFmpeg finds no sound in it.")
        self.format = f"{container}/{self._stream.codec_context.name}".upper()
        # FLAC frames carry their position in samples; times elsewhere are rounded, or start before 0.
        self._has_positions = container == "flac" and self._stream.time_base == Fraction(1, self.sample_rate_hz)
        self.n_promised = int(self._stream.duration or 0) or None if self._has_positions else None

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        self._container.close()
        if self._source is not None:
            self._source.close()
        self._is_closed = True

    def count(self, stop_s: float) -> int:
        """Count as the base class says, by decoding all of it."""
        self.close()
        self._open()
        n_samples = 0
        with contextlib.suppress(av.FFmpegError):
            while (frame := self._next_frame()) is not None:
                n_samples += frame.shape[1]
                self._position = n_samples
                self._check_time(stop_s)
        self.close()
        return n_samples

    def _open(self) -> None:
        formats = ",".join([_FFMPEG_FORMATS, _FFMPEG_FORMATS_BY_SUFFIX.get(self.path.suffix.lower(), "flac")])
        self._source: PartOfFile | None = (with_right_header(self.path) or (None,))[0]
        try:
            options = {"format_whitelist": formats, "protocol_whitelist": "file"}
            self._container = av.open(self._source or str(self.path), "r", options=options)
        except av.FFmpegError as error:
            if self._source is not None:
                self._source.close()
            raise AudioError(f"{self.path}: FFmpeg refuses it ({reason_of(error)}).") from error
        streams = self._container.streams.audio
        if not streams or streams[0].codec_context is None:
            self.close()
            raise AudioError(f"{self.path}: FFmpeg finds no sound in it.")
        self._is_closed = False
        self._stream = self._container.streams.audio[0]
        if self._stream.codec_context.name == "flac":
            self._stream.codec_context.options = {"err_detect": "crccheck+explode"}
        self._restart(0)

    def _restart(self, position: int) -> None:
        self._frames: Iterator[av.AudioFrame] = self._container.decode(self._stream)
        # Samples that are decoded and not yet asked for; `_position` is the first of them.
        self._pending = np.empty((int(self._stream.channels), 0), dtype=np.float32)
        self._position = position

    def _read(self, start: int, out: Samples) -> int:
        if self._is_closed or start < self._position:
            self.close()
            self._open()
        if self._has_positions and start > self._position + BLOCK_SAMPLES:
            self._seek(start)
        count, n_filled = out.shape[1], 0
        while n_filled < count:
            if self._pending.shape[1] == 0:
                frame = self._next_frame()
                if frame is None:
                    break
                self._pending = frame
            n_skipped = min(max(0, start + n_filled - self._position), self._pending.shape[1])
            taken = self._pending[:, n_skipped : n_skipped + count - n_filled]
            out[:, n_filled : n_filled + taken.shape[1]] = taken
            n_filled += taken.shape[1]
            n_used = n_skipped + taken.shape[1]
            self._position += n_used
            self._pending = self._pending[:, n_used:]
        return n_filled

    def _next_frame(self) -> Samples | None:
        """Return the samples of the next frame; ``None`` at the end, or where the next ones are lost."""
        frame = next(self._frames, None)
        if frame is None or frame.samples == 0:
            return None
        # Whole frames before a damaged one come without a position, those after it with theirs.
        if self._has_positions and frame.pts not in {None, self._position}:
            return None
        samples = _scaled(frame, self.path)
        if frame.sample_rate != self.sample_rate_hz or len(samples) != self.n_channels:
            raise AudioError(f"{self.path}: the sample rate or the channels change at sample {self._position}.")
        return samples

    def _seek(self, start: int) -> None:
        """Go to the frame that holds a sample, or to the start of the file if that cannot be found."""
        frame = None
        with contextlib.suppress(av.FFmpegError):
            self._container.seek(start, stream=self._stream)
            frame = next(self._container.decode(self._stream), None)
        if frame is None or frame.pts is None or frame.pts > start:
            self.close()
            self._open()
            return
        self._restart(frame.pts)
        self._pending = _scaled(frame, self.path)


def reason_of(error: Exception) -> str:
    """Return what a decoder says about a failure, without the path and the frills."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).removeprefix("Error : ").strip().rstrip(".")


def _scaled(frame: av.AudioFrame, path: Path) -> Samples:
    """Return a frame's samples as float32 with full scale 1.0, shape (n_channels, n)."""
    name = frame.format.name.removesuffix("p")
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1).T
    if name == "u8":
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if name not in _FULL_SCALE:
        raise AudioError(f"{path}: samples of format {name} are not known here; convert the file to FLAC.")
    return samples.astype(np.float32) / np.float32(_FULL_SCALE[name])
