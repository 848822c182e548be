"""Sound files that FFmpeg reads: a module of its own, as a light installation has no PyAV."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from jobs.common.audio.headers import PartOfFile, with_right_header
from jobs.common.audio.readers import BLOCK_SAMPLES, AudioError, AudioReader, Samples, reason_of

_FFMPEG_FORMATS = "aiff,amr,ape,asf,au,caf,flac,matroska,mov,ogg,tak,tta,w64,wav,wv"
"""Formats that are known by a mark at their start; playlists, which make FFmpeg open other files, are not here."""
_FFMPEG_FORMATS_BY_SUFFIX = {".aac": "aac", ".mp2": "mp3", ".mp3": "mp3"}
"""Formats without such a mark, which other bytes look like: believed only where the name says so."""
_FULL_SCALE = {"s16": 2.0**15, "s32": 2.0**31, "flt": 1.0, "dbl": 1.0}
"""Value that becomes 1.0, by FFmpeg's name of a sample format."""


class PyavReader(AudioReader):
    """A file that FFmpeg reads.

    Raises
    ------
    AudioError
        If it does not, or finds no sound.
    """

    refusals = (av.FFmpegError, OSError)

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
