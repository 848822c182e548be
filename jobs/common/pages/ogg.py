"""Ogg Vorbis files whose bytes follow from the sound alone."""

import io
import struct
import zlib

import numpy as np
import soundfile
from numpy.typing import NDArray

SERIAL = 1
COMPRESSION = 0.6
"""libsndfile's level, 0 large to 1 small: about 60 kbit/s at 48 kHz."""
_MIRROR = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


def vorbis(samples: NDArray[np.float32], sample_rate_hz: int, compression: float = COMPRESSION) -> bytes:
    """Return samples, shape (n_samples,), as an Ogg Vorbis file, the same bytes each time."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate_hz, format="OGG", subtype="VORBIS", compression_level=compression)
    return with_serial(file.getvalue(), SERIAL)


def with_serial(data: bytes, serial: int) -> bytes:
    """Return an Ogg file with another stream number; libsndfile draws one by the clock.

    Notes
    -----
    RFC 3533: a page is 27 bytes, a table of segment lengths, the segments. Its checksum is a CRC-32 with the
    polynomial 0x04c11db7, most significant bit first, from 0, taken with the checksum's own bytes at 0.
    """
    out, at = bytearray(data), 0
    while at < len(out):
        if out[at : at + 4] != b"OggS":
            raise ValueError(f"no Ogg page at byte {at}")
        n_segments = out[at + 26]
        end = at + 27 + n_segments + sum(out[at + 27 : at + 27 + n_segments])
        struct.pack_into("<I", out, at + 14, serial)
        struct.pack_into("<I", out, at + 22, 0)
        struct.pack_into("<I", out, at + 22, checksum(bytes(out[at:end])))
        at = end
    return bytes(out)


def checksum(page: bytes) -> int:
    """Return the checksum of a page: zlib's CRC-32 of mirrored bytes, mirrored, without its complements."""
    mirrored = zlib.crc32(page.translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
