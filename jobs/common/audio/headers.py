"""Compare the header of a sound file with what the file holds; correct it where it is wrong.

libsndfile opens WAV files that were cut off, or whose data size was never filled in, without a word, and believes a
size that is too small.
"""

import io
import os
from pathlib import Path
from typing import BinaryIO, Literal, cast

from jobs.common.audio.chunks import Layout, read_layout

HeaderProblem = Literal["", "truncated", "header_size"]

_OGG_LONGEST_PAGE_BYTES = 65_307
_OGG_LAST_PAGE = 0x04
_RIFF_MAX_BYTES = 0xFFFFFF00
_AU_UNKNOWN = 0xFFFFFFFF
_AIFF_COMPRESSED = frozenset({b"ima4", b"MAC3", b"MAC6", b"G722", b"GSM ", b"QDM2", b"alac"})
_FLAC_TAIL_BYTES = 1 << 17


def header_problem(path: Path) -> HeaderProblem:
    """Compare the size of the sample data that a header promises with what the file holds.

    Parameters
    ----------
    path
        A regular file. WAV (RIFF, RIFX, RF64, BW64), W64, AIFF, CAF, AU and Ogg are known; others promise nothing here.

    Returns
    -------
    str
        ``truncated``: there are fewer bytes than promised. ``header_size``: the size is missing, counts the
        header itself, or leaves out data that follow. Empty: nothing is wrong.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"OggS":
            return _ogg_problem(file, os.fstat(file.fileno()).st_size)
    layout = _au_layout(path) if head[:4] in {b".snd", b"dns."} else read_layout(path)
    if layout is None or layout.data_at is None:
        return ""
    there = layout.n_bytes - layout.data_at
    if layout.promised is None:
        return "header_size"
    if layout.promised > there and layout.data_bytes == there:
        return "header_size" if layout.promised - there == layout.data_at else "truncated"
    is_padded = layout.data_bytes == layout.promised and not layout.is_followed and there > layout.promised
    return "header_size" if is_padded or layout.data_bytes != layout.promised else ""


def with_right_header(path: Path) -> "tuple[PartOfFile, str] | None":
    """Open a file whose header claims another size than its data have as if the header were right.

    Returns
    -------
    file, container
        What a decoder is to read, and the container's name as libsndfile gives it; ``None`` if the header
        can be left as it is.
    """
    layout = read_layout(path)
    if layout is not None and layout.is_misread:
        head, name = _head_of(path, layout)
        if head:
            return PartOfFile(path, head, layout.data_at or 0, layout.data_bytes), name
        return None
    layout = _au_layout(path)
    if layout is not None and layout.data_at is not None and layout.promised is not None and layout.is_misread:
        with path.open("rb") as file:
            content = file.read(layout.data_at)
        size = layout.data_bytes.to_bytes(4, layout.order)
        return PartOfFile(path, content[:8] + size + content[12:], layout.data_at, layout.data_bytes), "AU"
    return None


def flac_goes_on(path: Path) -> bool:
    """Return whether the last frame of a FLAC file begins after the samples that its header promises.

    Format: RFC 9639, sections 8.2 (streaminfo) and 9.1 (frame header, with a checksum of 8 bits).
    """
    with path.open("rb") as file:
        info = file.read(42)
        file.seek(max(os.fstat(file.fileno()).st_size - _FLAC_TAIL_BYTES, 42))
        tail = file.read()
    promised = int.from_bytes(info[18:26], "big") & (1 << 36) - 1
    if info[:4] != b"fLaC" or not promised:
        return False
    frame_samples = int.from_bytes(info[8:10], "big")
    at = tail.rfind(b"\xff")
    while at >= 0:
        number = _flac_frame_number(tail[at : at + 16])
        if number is not None:
            is_counted_in_frames = not tail[at + 1] & 1
            return number * (frame_samples if is_counted_in_frames else 1) >= promised
        at = tail.rfind(b"\xff", 0, at)
    return False


class PartOfFile(io.RawIOBase):
    """A part of a file behind a header of its own."""

    def __init__(self, path: Path, head: bytes, at: int, n_bytes: int) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._head, self._at, self._n_bytes, self._position = head, at, n_bytes, 0

    def readinto(self, buffer: object) -> int:
        """Fill a buffer, from the header or the file."""
        target = memoryview(cast("bytearray", buffer)).cast("B")
        n_filled = 0
        if self._position < len(self._head):
            part = self._head[self._position : self._position + len(target)]
            target[: len(part)] = part
            n_filled = len(part)
        behind = self._position + n_filled - len(self._head)
        count = min(len(target) - n_filled, self._n_bytes - behind)
        if count > 0:
            self._file.seek(self._at + behind)
            n_filled += self._file.readinto(target[n_filled : n_filled + count])
        self._position += n_filled
        return n_filled

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._head) + self._n_bytes}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def tell(self) -> int:
        """Return the place."""
        return self._position

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be read in any order."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _head_of(path: Path, layout: Layout) -> tuple[bytes, str]:
    """Return a header with the right size for the data of a file, and the container's name; empty if there is none."""
    with path.open("rb") as file:

        def content(name: bytes) -> bytes:
            chunk = layout.first(name)
            if chunk is None or chunk.size > 1 << 16:
                return b""
            file.seek(chunk.at)
            return file.read(chunk.size)

        if layout.kind == "aiff":
            return _aiff_head(layout, content(b"COMM")), "AIFF"
        if layout.kind == "caf":
            described = content(b"desc")
            plain = described[8:12] in {b"lpcm", b"ulaw", b"alaw"}
            head = b"caff\0\1\0\0" + _chunk(b"desc", described, 8)
            return (head + b"data" + (layout.data_bytes + 4).to_bytes(8, "big") + bytes(4) if plain else b""), "CAF"
        coding = content(b"fmt ")
    name = "W64" if layout.kind == "w64" else "RF64" if layout.head[:4] in {b"RF64", b"BW64"} else "WAV"
    return (_wave_head(layout, coding) if coding else b""), name


def _wave_head(layout: Layout, coding: bytes) -> bytes:
    order, n_bytes = layout.order, layout.data_bytes
    fmt = b"fmt " + len(coding).to_bytes(4, order) + coding + bytes(len(coding) % 2)
    if n_bytes <= _RIFF_MAX_BYTES or order == "big":
        n_bytes = min(n_bytes, _RIFF_MAX_BYTES)
        riff = b"RIFX" if order == "big" else b"RIFF"
        sizes = [(12 + len(fmt) + n_bytes).to_bytes(4, order), n_bytes.to_bytes(4, order)]
        return riff + sizes[0] + b"WAVE" + fmt + b"data" + sizes[1]
    wide = (56 + len(fmt) + n_bytes).to_bytes(8, order) + n_bytes.to_bytes(8, order) + bytes(12)
    return b"RF64\xff\xff\xff\xffWAVE" + b"ds64\x1c\0\0\0" + wide + fmt + b"data\xff\xff\xff\xff"


def _aiff_head(layout: Layout, described: bytes) -> bytes:
    if len(described) < 18 or described[18:22] in _AIFF_COMPRESSED:
        return b""
    size = min(layout.data_bytes, _RIFF_MAX_BYTES) + 8
    body = layout.head[8:12] + _chunk(b"COMM", described, 4) + b"SSND" + size.to_bytes(4, "big") + bytes(8)
    return b"FORM" + (len(body) + size - 8).to_bytes(4, "big") + body


def _chunk(name: bytes, content: bytes, size_bytes: int) -> bytes:
    padding = bytes(len(content) % 2 if size_bytes == 4 else 0)
    return name + len(content).to_bytes(size_bytes, "big") + content + padding


def _au_layout(path: Path) -> Layout | None:
    """Return where the samples of an AU file are: they go on to its end."""
    with path.open("rb") as file:
        n_bytes, head = os.fstat(file.fileno()).st_size, file.read(24)
    if head[:4] not in {b".snd", b"dns."} or len(head) < 24:
        return None
    kind: Literal["rifx", "wave"] = "rifx" if head[:4] == b".snd" else "wave"
    order: Literal["big", "little"] = "big" if head[:4] == b".snd" else "little"
    data_at, promised = int.from_bytes(head[4:8], order), int.from_bytes(head[8:12], order)
    if not 24 <= data_at <= min(n_bytes, 1 << 16):
        return None
    there = min(n_bytes - data_at, _RIFF_MAX_BYTES)
    known = there if promised == _AU_UNKNOWN else promised  # a stream, by the format's own rules
    return Layout(kind, head[:12], n_bytes, (), data_at, known, there)


def _ogg_problem(file: BinaryIO, n_bytes: int) -> HeaderProblem:
    """Look for the mark that the last page of a whole stream carries."""
    file.seek(max(0, n_bytes - _OGG_LONGEST_PAGE_BYTES))
    tail = file.read()
    at = tail.rfind(b"OggS")
    is_whole = 0 <= at < len(tail) - 5 and tail[at + 5] & _OGG_LAST_PAGE
    return "" if is_whole else "truncated"


def _flac_frame_number(head: bytes) -> int | None:
    """Return the number (of a frame, or of its first sample) in a FLAC frame header; ``None`` if it is none."""
    if len(head) < 16 or head[1] & 0xFE != 0xF8 or head[2] >> 4 == 0 or head[2] & 0xF == 15 or head[3] & 1:
        return None
    n_more = 0 if head[4] < 0x80 else 7 - (~head[4] & 0xFF).bit_length() if head[4] >= 0xC0 else -1
    if n_more < 0 or head[4] == 0xFF or any(byte & 0xC0 != 0x80 for byte in head[5 : 5 + n_more]):
        return None
    number = head[4] & (0x7F if not n_more else 0x3F >> n_more)
    for byte in head[5 : 5 + n_more]:
        number = number << 6 | byte & 0x3F
    end = 5 + n_more + {6: 1, 7: 2}.get(head[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(head[2] & 0xF, 0)
    return number if end < len(head) and _crc8(head[:end]) == head[end] else None


def _crc8(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x107) if crc & 0x80 else crc << 1
    return crc
