"""The digest of a file, or of a folder of files; and the one that an archive carries in itself."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COMMENT = re.compile(rb"sha256:([0-9a-f]{64})\Z")
_COMMENT_BYTES = 71
_END_OF_ZIP = b"PK\x05\x06"
_END_BYTES = 22


def sha256(data: bytes | bytearray | memoryview) -> str:
    """Return the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: str | Path) -> str:
    """Return the SHA-256 of a file; ``OSError`` if it cannot be read to its end."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of its files' names and digests, sorted by name."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n" for file in files]
        return sha256("".join(lines).encode())
    return sha256_of_file(path)


def with_digest(archive: bytes) -> bytes:
    """Return a zip archive without a comment with its SHA-256 as the comment, which readers of zip archives pass over.

    Notes
    -----
    The archive's last record ends with the comment's length in two bytes, then the comment (PKWARE's APPNOTE, 4.3.16).
    """
    if archive[-_END_BYTES:][:4] != _END_OF_ZIP:
        raise ValueError("expected a zip archive without a comment")
    comment = b"sha256:" + sha256(archive).encode()
    return b"".join([archive[:-2], len(comment).to_bytes(2, "little"), comment])


def has_own_digest(archive: bytes) -> bool | None:
    """Return whether an archive is the one that its comment is the digest of; ``None`` if it carries none."""
    found = _COMMENT.search(archive[-_COMMENT_BYTES:])
    if found is None:
        return None
    digest = hashlib.sha256(memoryview(archive)[: -_COMMENT_BYTES - 2])
    digest.update(b"\0\0")
    is_length_right = archive[-_COMMENT_BYTES - 2 : -_COMMENT_BYTES] == _COMMENT_BYTES.to_bytes(2, "little")
    return is_length_right and digest.hexdigest() == found[1].decode()


def cell_digests(arrays: "Sequence[NDArray[Any]]", rows: Iterable[int]) -> list[str]:
    """Return the :func:`cell_digest` of some rows of arrays; a row of each makes one cell."""
    import numpy as np  # noqa: PLC0415 (commands that digest files alone start without it)

    flat = [np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8) for array in arrays]
    cells = flat[0] if len(flat) == 1 else np.hstack(flat)
    return [xxhash.xxh3_64_hexdigest(cells[row].data) for row in rows]


def cell_digest(values: "Sequence[NDArray[Any]]") -> str:
    """Return the digest of the decoded values of one cell: XXH3 of 64 bits, in hexadecimal digits.

    It finds accidents, not forgery, thirty times as fast as SHA-256, which files have.
    """
    digest = xxhash.xxh3_64()
    for value in values:
        digest.update(value.astype(value.dtype, order="C", copy=False).data)
    return digest.hexdigest()
