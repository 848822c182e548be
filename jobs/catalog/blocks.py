"""The blocks of text and numbers that recorders leave in the headers of sound files, as bytes."""

from pathlib import Path
from typing import BinaryIO, Literal

from jobs.common.audio.chunks import Layout, read_layout

GUANO, WAMD, COMMENT, ARTIST, VORBIS, STREAMINFO = "guano", "wamd", "comment", "artist", "vorbis", "streaminfo"
"""Names of the blocks: RIFF chunks ``guan`` and ``wamd``, INFO items ``ICMT`` and ``IART``, FLAC blocks 4 and 0."""
MAX_BYTES = 1 << 20
"""No more of a block is read than this."""
_MAX_CHUNKS = 1000
_RIFF = {b"guan": GUANO, b"wamd": WAMD}
_INFO = {b"ICMT": COMMENT, b"IART": ARTIST}
_FLAC = {0: STREAMINFO, 4: VORBIS}


def read_blocks(path: Path) -> dict[str, bytes]:
    """Return the blocks of a WAV (RIFF, RIFX, RF64, BW64) or FLAC file by name; of each name the first.

    Damaged files give what can be reached: a wrong size ends the walk, nothing is raised but ``OSError``.
    """
    layout = read_layout(path)
    with path.open("rb") as file:
        if layout is not None and layout.kind in {"wave", "rifx"}:
            return _riff_blocks(file, layout)
        return _flac_blocks(file) if file.read(4) == b"fLaC" else {}


def _riff_blocks(file: BinaryIO, layout: Layout) -> dict[str, bytes]:
    blocks: dict[str, bytes] = {}
    for name, at, size in layout.chunks:
        if name not in _RIFF and name != b"LIST":
            continue
        file.seek(at)
        content = file.read(min(size, MAX_BYTES))
        found = _info_items(content, layout.order) if name == b"LIST" else {_RIFF[name]: content}
        for key, value in found.items():
            blocks.setdefault(key, value)
    return blocks


def _info_items(content: bytes, order: Literal["little", "big"]) -> dict[str, bytes]:
    items: dict[str, bytes] = {}
    at = 4
    while content[:4] == b"INFO" and at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], order)
        if name in _INFO:
            items[_INFO[name]] = content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return items


def _flac_blocks(file: BinaryIO) -> dict[str, bytes]:
    blocks: dict[str, bytes] = {}
    at = 4
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4:
            break
        kind, size = head[0] & 0x7F, int.from_bytes(head[1:], "big")
        if kind in _FLAC:
            blocks.setdefault(_FLAC[kind], file.read(size))
        if head[0] & 0x80:
            break
        at += 4 + size
    return blocks
