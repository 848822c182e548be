"""JSON records that carry their own checksum: a file, or a line of a file."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import xxhash

from lake.errors import StoreError, StoreFormatError
from lake.identity import canonical

RECORD_FORMAT: Final = 2
"""Format of records with a checksum; those of format 1 have none, and no ``format``."""
RESERVED: Final = ("format", "checksum")
"""Keys that a sealed record has at its beginning and at its end."""
RESTORE: Final = "Restore it from a copy."
_HEAD = re.compile(rb'\{\s*"format":\s*(\d+)')
_TAIL = re.compile(rb',\s*"checksum":\s*"([0-9a-f]{16})"\s*\}$')
_TAIL_BYTES = 64


def seal(value: Mapping[str, Any], *, indent: int | None = None, allow_nan: bool = False) -> bytes:
    """Return the bytes of a record with its checksum, ending in a newline.

    Parameters
    ----------
    value
        JSON values by key, without the keys ``format`` and ``checksum``.
    indent
        Spaces of indentation; ``None`` for one line of canonical JSON.
    allow_nan
        Write numbers that are not finite as ``NaN`` and ``Infinity``, which not every reader of JSON takes.

    Notes
    -----
    The record begins with ``"format": 2`` and ends with ``"checksum"``: XXH3 of 64 bits, in 16 hexadecimal digits, of
    all bytes before the comma in front of that key. A reader hashes the bytes as they are, without parsing them. The
    two keys are at opposite ends, so no single damaged place makes a record look like one of format 1.
    """
    taken = [key for key in RESERVED if key in value]
    if taken:
        raise ValueError(f"a record has no key {taken[0]!r} of its own")
    if indent is None:
        text = canonical(value, allow_nan=allow_nan)
        head, comma, colon, end = b'{"format":%d', b",", b":", b"}\n"
        rest = text[1:-1]
    else:
        step = b"\n" + b" " * indent
        head, comma, colon, end = b"{" + step + b'"format": %d', b"," + step, b": ", b"\n}\n"
        rest = json.dumps(value, indent=indent, sort_keys=True).encode()[len(step) + 1 : -2]
    body = head % RECORD_FORMAT + (comma + rest if value else b"")
    return body + comma + b'"checksum"' + colon + b'"' + checksum(body).encode() + b'"' + end


def unseal(data: bytes, where: str, advice: str = RESTORE) -> dict[str, Any]:
    """Return the value of a record after checking its checksum; one of format 1 has none and is parsed alone.

    Parameters
    ----------
    data
        The record's bytes.
    where, advice
        The record's path, and what to do about a damaged one, for the message.

    Raises
    ------
    StoreError
        If it is empty, damaged, or no JSON object.
    StoreFormatError
        If a newer release wrote it.
    """
    check(data, where, advice)
    return parse(data, where, advice)


def parse(data: bytes, where: str, advice: str = RESTORE) -> dict[str, Any]:
    """Return the value of a record whose checksum was checked before; raises as :func:`unseal`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise damaged(where, f"expected a JSON record, found {_begins(data)} ({error})", advice) from error
    if not isinstance(value, dict):
        raise damaged(where, f"expected a JSON object, found {_begins(data)}", advice)
    return {key: item for key, item in value.items() if key not in RESERVED}


def check(data: bytes, where: str, advice: str = RESTORE) -> None:
    """Compare the bytes of a record with the checksum in them; nothing is parsed. Raises as :func:`unseal`."""
    text = data.rstrip()
    if not text:
        raise damaged(where, "expected a JSON record, found nothing", advice)
    head, tail = _HEAD.match(text), _TAIL.search(text, max(0, len(text) - _TAIL_BYTES))
    version = int(head[1]) if head else 1
    if tail is not None:
        expected, found = tail[1].decode(), checksum(memoryview(text)[: tail.start()])
        if expected != found:
            raise damaged(where, f"expected checksum {expected}, found {found}", advice)
    elif version == RECORD_FORMAT:
        raise damaged(where, "expected a checksum at its end, found none", advice)
    if version > RECORD_FORMAT:
        raise StoreFormatError(
            f"{where}: its format is version {version}, this release reads up to {RECORD_FORMAT}. "
            "Install a newer dawnchorus."
        )


def is_sealed(data: bytes) -> bool:
    """Return whether bytes end as a record with a checksum does."""
    return _TAIL.search(data, max(0, len(data) - _TAIL_BYTES)) is not None


def checksum(data: bytes | memoryview) -> str:
    """Return XXH3 of 64 bits in hexadecimal digits; it finds accidents, not forgery."""
    return xxhash.xxh3_64_hexdigest(data)


def damaged(where: str, what: str, advice: str) -> StoreError:
    """Return the error of a damaged record."""
    return StoreError(f"{where}: the record is damaged: {what}. {advice}")


def _begins(data: bytes) -> str:
    text = data[:40].decode("utf-8", "replace")
    return repr(text) + ("…" if len(data) > 40 else "")
