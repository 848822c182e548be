"""What the header of a sound file promises, against the size of the file.

libsndfile opens WAV files that were cut off, or whose data size was never filled in, without a word.
"""

import os
from pathlib import Path
from typing import BinaryIO, Literal

HeaderProblem = Literal["", "truncated", "header_size"]

UNKNOWN_BYTES = 0xFFFFFFFF
"""Data size of a WAV that was streamed, or whose size stands in the ds64 chunk of an RF64."""
_MAX_CHUNKS = 1000
_OGG_LONGEST_PAGE_BYTES = 65_307
_OGG_LAST_PAGE = 0x04


def header_problem(path: Path) -> HeaderProblem:
    """Compare the size of the sample data that a header promises with what the file holds.

    Parameters
    ----------
    path
        A regular file. WAV (RIFF, RIFX, RF64, BW64), AIFF and Ogg are known; others promise nothing here.

    Returns
    -------
    str
        ``truncated``: there are fewer bytes than promised. ``header_size``: the size is missing, counts the
        header itself, or leaves out data that follow. Empty: nothing is wrong.
    """
    with path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        head = file.read(12)
        kind, form = head[:4], head[8:12]
        if kind in {b"RIFF", b"RF64", b"BW64"} and form == b"WAVE":
            return _chunk_problem(file, n_bytes, b"data", "little")
        if kind == b"RIFX" and form == b"WAVE":
            return _chunk_problem(file, n_bytes, b"data", "big")
        if kind == b"FORM" and form in {b"AIFF", b"AIFC"}:
            return _chunk_problem(file, n_bytes, b"SSND", "big")
        if kind == b"OggS":
            return _ogg_problem(file, n_bytes)
    return ""


def _chunk_problem(file: BinaryIO, n_bytes: int, marker: bytes, order: Literal["little", "big"]) -> HeaderProblem:
    """Walk the chunks to the sample data and judge its size."""
    wide_bytes = None
    at = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or not _is_chunk_name(head[:4]):
            return ""
        promised = int.from_bytes(head[4:], order)
        if head[:4] == b"ds64":
            wide_bytes = int.from_bytes(file.read(16)[8:], order)
        if head[:4] == marker:
            known = wide_bytes if promised == UNKNOWN_BYTES else promised
            return _size_problem(file, n_bytes, at + 8, known)
        at += 8 + promised + promised % 2
    return ""


def _size_problem(file: BinaryIO, n_bytes: int, data_at: int, promised: int | None) -> HeaderProblem:
    there = n_bytes - data_at
    if promised is None:
        return "header_size"
    if promised > there:
        return "header_size" if promised - there == data_at else "truncated"
    follows = []
    for at in (data_at + promised, data_at + promised + promised % 2):
        file.seek(at)
        follows.append(file.read(4))
    if len(follows[0]) < 4 or any(map(_is_chunk_name, follows)):
        return ""
    return "header_size"


def _is_chunk_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _ogg_problem(file: BinaryIO, n_bytes: int) -> HeaderProblem:
    """Look for the mark that the last page of a whole stream carries."""
    file.seek(max(0, n_bytes - _OGG_LONGEST_PAGE_BYTES))
    tail = file.read()
    at = tail.rfind(b"OggS")
    is_whole = 0 <= at < len(tail) - 5 and tail[at + 5] & _OGG_LAST_PAGE
    return "" if is_whole else "truncated"
