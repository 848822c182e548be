"""The chunks of a sound file (WAV, RF64, W64, AIFF, CAF), and where its sample data end.

A recorder that loses power leaves a header that was written when it began; a size of 32 bits wraps at 4 GiB. So the
size in the header is compared with the file: data end where the chunks after them begin, or else where the file ends.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

UNKNOWN_BYTES = 0xFFFFFFFF
"""Data size of a WAV that was streamed, or whose size stands in the ds64 chunk of an RF64."""
PADDING_BYTES = 1 << 16
"""Zeros after the data, at most so many, are what fills a block of the card, not sound."""
STRAY_BYTES = 8
"""Fewer bytes than this after the data are neither a chunk nor sound."""
_MAX_CHUNKS = 1000
_TAIL_BYTES = 1 << 20
_KNOWN = (
    b"LIST", b"guan", b"wamd", b"bext", b"iXML", b"id3 ", b"ID3 ", b"cue ", b"smpl", b"fact", b"PEAK", b"JUNK", b"junk",
    b"PAD ", b"afsp", b"_PMX", b"axml", b"plst", b"minf", b"COMM", b"MARK", b"COMT", b"NAME", b"AUTH", b"ANNO", b"info",
    b"free",
)  # fmt: skip
"""Names of chunks that stand after the data."""


class _Form(NamedTuple):
    """The way a container writes its chunks; ``n_skipped`` bytes of the data chunk come before the samples."""

    name_bytes: int
    size_bytes: int
    order: Literal["little", "big"]
    first_at: int
    align: int
    data: bytes = b"data"
    n_skipped: int = 0
    counts_head: bool = False

    @property
    def head_bytes(self) -> int:
        return self.name_bytes + self.size_bytes


_WAVE = _Form(4, 4, "little", 12, 2)
_FORMS = {
    "wave": _WAVE,
    "rifx": _WAVE._replace(order="big"),
    "w64": _Form(16, 8, "little", 40, 8, counts_head=True),
    "aiff": _Form(4, 4, "big", 12, 2, b"SSND", 8),
    "caf": _Form(4, 8, "big", 8, 1, n_skipped=4),
}


class _Scan(NamedTuple):
    """A file that is being walked; ``form_end`` is where its header says that it ends."""

    file: BinaryIO
    form: _Form
    n_bytes: int
    form_end: int


class Chunk(NamedTuple):
    """Name of a chunk, where its content begins, and the size that it claims."""

    name: bytes
    at: int
    size: int


@dataclass(frozen=True)
class Layout:
    """The chunks of a file.

    Attributes
    ----------
    kind
        ``wave`` (RIFF, RF64, BW64), ``rifx``, ``w64``, ``aiff`` or ``caf``.
    head
        The first 12 bytes of the file.
    n_bytes
        Size of the file.
    chunks
        All chunks before and after the sample data that could be found.
    data_at
        Where the samples begin; ``None`` if there is no data chunk.
    promised
        Bytes of samples that the header claims; ``None`` if it does not say.
    data_bytes
        Bytes of samples that are there.
    is_followed
        Whether chunks, or no more than a few stray bytes, follow the samples.
    """

    kind: str
    head: bytes
    n_bytes: int
    chunks: tuple[Chunk, ...]
    data_at: int | None = None
    promised: int | None = None
    data_bytes: int = 0
    is_followed: bool = False

    @property
    def order(self) -> Literal["little", "big"]:
        """Order of bytes in sizes."""
        return _FORMS[self.kind].order

    @property
    def is_misread(self) -> bool:
        """Return whether a decoder that trusts the header would read other bytes than are there."""
        if self.data_at is None:
            return False
        return not self.promised or self.data_bytes != min(self.promised, self.n_bytes - self.data_at)

    def first(self, name: bytes) -> Chunk | None:
        """Return the first chunk of a name."""
        return next((chunk for chunk in self.chunks if chunk.name == name), None)


def read_layout(path: Path) -> Layout | None:
    """Return the chunks of a file; ``None`` for other containers. ``OSError`` if it cannot be read."""
    with path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        head = file.read(40)
        kind = _kind(head)
        return None if kind is None else _walk(file, kind, head, n_bytes)


def _kind(head: bytes) -> str | None:
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return "wave"
    if head[:4] == b"RIFX" and head[8:12] == b"WAVE":
        return "rifx"
    if head[:8] == b"riff\x2e\x91\xcf\x11" and head[24:28] == b"wave":
        return "w64"
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return "aiff"
    return "caf" if head[:4] == b"caff" else None


def _walk(file: BinaryIO, kind: str, head: bytes, n_bytes: int) -> Layout:
    """Walk the chunks to the sample data, and from their end on."""
    form, chunks, wide_bytes = _FORMS[kind], list[Chunk](), None
    scan = _Scan(file, form, n_bytes, _form_end(head, form))
    at = form.first_at
    for _ in range(_MAX_CHUNKS):
        chunk = _chunk(file, form, at)
        if chunk is None or chunk.size < 0:
            break
        if chunk.name == form.data:
            promised = wide_bytes if kind == "wave" and chunk.size == UNKNOWN_BYTES else chunk.size - form.n_skipped
            is_open = kind == "caf" and chunk.size >= 1 << 63  # "to the end of the file"
            data_at = min(chunk.at + form.n_skipped, n_bytes)
            promised = n_bytes - data_at if is_open else max(promised, 0) if promised is not None else None
            end, after = _data_end(scan, data_at, promised)
            followed = bool(after) or n_bytes - end < STRAY_BYTES
            return Layout(kind, head[:12], n_bytes, (*chunks, *after), data_at, promised, end - data_at, followed)
        chunks.append(chunk)
        if chunk.name == b"ds64":
            file.seek(chunk.at + 8)
            wide_bytes = int.from_bytes(file.read(8), "little")
        at = _next(file, form, chunk)
    return Layout(kind, head[:12], n_bytes, tuple(chunks))


def _data_end(scan: _Scan, data_at: int, promised: int | None) -> tuple[int, list[Chunk]]:
    """Return where the samples end, and the chunks after them.

    A size that wrapped at 4 GiB is tried with what it lost. Where no chunks follow the data that the header claims,
    and none are found at the end of the file, all that is there is sound.
    """
    file, form, n_bytes, _ = scan
    if promised is not None and promised <= n_bytes - data_at:
        wraps = range(0, n_bytes - data_at - promised + 1, 1 << 32) if form.size_bytes == 4 else (0,)
        for wrapped in wraps:
            end = data_at + promised + wrapped
            if n_bytes - end < STRAY_BYTES:
                return end, []
            for at in dict.fromkeys((end + -promised % form.align, end)):
                chain = _chain(scan, at, may_be_cut=promised > 0)
                if chain:
                    return end, chain
        end = data_at + promised
        if promised and n_bytes - end <= PADDING_BYTES and _is_zero(file, end, n_bytes):
            return end, []
    first = max(data_at, n_bytes - _TAIL_BYTES)
    file.seek(first)
    tail = file.read()
    for place in sorted(place for name in _KNOWN for place in _places(tail, name)):
        chain = _chain(scan, first + place, may_be_cut=False)
        if chain:
            return first + place, chain
    return n_bytes, []


def _chain(scan: _Scan, at: int, *, may_be_cut: bool) -> list[Chunk]:
    """Return the chunks from a place on if they lead to the end of the file, or of what the header claims.

    Where the data's own end is known, the last one may be cut off by the end of the file.
    """
    file, form, n_bytes, form_end = scan
    chunks: list[Chunk] = []
    for _ in range(_MAX_CHUNKS):
        if n_bytes - at < form.head_bytes or (chunks and at - form_end in {0, 1}):
            return chunks
        chunk = _chunk(file, form, at)
        if chunk is None:
            is_padding = n_bytes - at <= PADDING_BYTES and _is_zero(file, at, n_bytes)
            return chunks if is_padding else []
        chunks.append(chunk)
        end = chunk.at + chunk.size
        if end > n_bytes:
            return chunks if may_be_cut and (chunk.name in _KNOWN or end - form_end in {0, 1}) else []
        at = _next(file, form, chunk)
    return []


def _chunk(file: BinaryIO, form: _Form, at: int) -> Chunk | None:
    """Return the chunk at a place; ``None`` if there is none."""
    file.seek(at)
    head = file.read(form.head_bytes)
    if len(head) < form.head_bytes or not all(0x20 <= byte < 0x7F for byte in head[:4]):
        return None
    size = int.from_bytes(head[form.name_bytes :], form.order) - (form.head_bytes if form.counts_head else 0)
    return Chunk(head[:4], at + form.head_bytes, max(size, 0))


def _next(file: BinaryIO, form: _Form, chunk: Chunk) -> int:
    """Return where the next chunk begins: after the padding, unless only without it there is one."""
    end = min(chunk.at + chunk.size, 1 << 62)
    padded = end + -(chunk.size + (form.head_bytes if form.counts_head else 0)) % form.align
    if padded != end and _chunk(file, form, padded) is None and _chunk(file, form, end) is not None:
        return end
    return padded


def _form_end(head: bytes, form: _Form) -> int:
    """Return where the header says that the file ends."""
    if form.name_bytes == 16:
        return int.from_bytes(head[16:24], "little")
    return 8 + int.from_bytes(head[4:8], form.order)


def _places(content: bytes, name: bytes) -> list[int]:
    places, at = [], content.find(name)
    while at >= 0:
        places.append(at)
        at = content.find(name, at + 1)
    return places


def _is_zero(file: BinaryIO, first: int, last: int) -> bool:
    file.seek(first)
    return not any(file.read(last - first))
