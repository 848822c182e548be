"""The blocks of text and numbers that recorders leave in the headers of sound files, as bytes."""

import os
from pathlib import Path
from typing import BinaryIO, Literal

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
    with path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        head = file.read(12)
        if head[:4] == b"fLaC":
            return _flac_blocks(file)
        if head[:4] in {b"RIFF", b"RF64", b"BW64", b"RIFX"} and head[8:12] == b"WAVE":
            return _riff_blocks(file, n_bytes, "big" if head[:4] == b"RIFX" else "little")
    return {}


def _riff_blocks(file: BinaryIO, n_bytes: int, order: Literal["little", "big"]) -> dict[str, bytes]:
    blocks: dict[str, bytes] = {}
    at, wide_bytes = 12, 0
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or at > n_bytes:
            break
        name, size = head[:4], int.from_bytes(head[4:], order)
        if name == b"ds64":
            wide_bytes = int.from_bytes(file.read(16)[8:], order)
        elif name in _RIFF:
            blocks.setdefault(_RIFF[name], file.read(min(size, MAX_BYTES)))
        elif name == b"LIST":
            for key, value in _info_items(file.read(min(size, MAX_BYTES)), order).items():
                blocks.setdefault(key, value)
        elif name == b"data" and size == 0xFFFFFFFF:
            size = wide_bytes
        at += 8 + size + size % 2
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
