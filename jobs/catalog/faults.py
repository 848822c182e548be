"""Known faults of recorders, by the code that https://github.com/ecoacoustics/known-problems lists each under.

A fault is named only where its signature is seen; whose code it gets depends on who made the recorder.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from jobs.catalog.names import NameFacts, has_impossible_time
from jobs.common.audio.chunks import read_layout

STUB_BYTES = 1024
"""A file without a sample that is no larger is a stub: a header that was put down before the power went."""
LOOK_BYTES = 1 << 16
_SMALL_BYTES = 1 << 22
_N_LOOKS = 64
_NOISE_BITS = 7.9
"""Entropy per byte above which bytes have no structure; sound, headers and text are all far below."""
_ODD = re.compile(r"[^\x20-\x7e]|�")


@dataclass(frozen=True)
class Bytes:
    """Faults that the bytes of a file show, decoded or not.

    Attributes
    ----------
    n_bytes
        Size of the file.
    head
        Its first bytes, at most :data:`LOOK_BYTES`.
    is_nul, ends_in_nul
        Whether all of it, or its last :data:`LOOK_BYTES` (or the last half, if it is smaller), are zero bytes.
    data_at, data_bytes
        Of a WAV: where its sample data start, and the size that the header promises; ``None`` for other files.
    n_promised
        Of a FLAC: the samples that its header promises.
    is_misnamed
        Whether a WAV is called ``.flac``.
    """

    n_bytes: int
    head: bytes = b""
    is_nul: bool = False
    ends_in_nul: bool = False
    data_at: int | None = None
    data_bytes: int | None = None
    n_promised: int | None = None
    is_misnamed: bool = False


def look_at_bytes(path: Path, n_promised: int | None = None) -> Bytes:
    """Read what :class:`Bytes` holds; ``OSError`` if the file cannot be read."""
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(LOOK_BYTES)
        file.seek(max(n_bytes - LOOK_BYTES, n_bytes // 2))
        ends_in_nul = n_bytes > 0 and not any(file.read())
        is_nul = ends_in_nul and not any(head)
        if is_nul and n_bytes > LOOK_BYTES:
            n_looks = -(-n_bytes // LOOK_BYTES) if n_bytes <= _SMALL_BYTES else _N_LOOKS
            for at in np.linspace(0, n_bytes - LOOK_BYTES, n_looks).astype(np.int64).tolist():
                file.seek(at)
                is_nul = is_nul and not any(file.read(LOOK_BYTES))
    layout = read_layout(path)
    is_riff = layout is not None and layout.head[:4] == b"RIFF"
    data_at, data_bytes = (layout.data_at, layout.promised) if layout is not None and is_riff else (None, None)
    is_misnamed = head[:4] == b"RIFF" and path.suffix.lower() == ".flac"
    return Bytes(n_bytes, head, is_nul, ends_in_nul, data_at, data_bytes, n_promised, is_misnamed)


def name_faults(path: PurePath, facts: NameFacts, maker: str) -> tuple[str, ...]:
    """Name what is wrong with the name of a recording.

    Returns
    -------
    tuple of str
        Of Frontier Labs: ``FL004`` (square brackets), ``FL006`` (a schedule name of random characters),
        ``FL007`` (a serial that the card gave wrongly), ``FL008`` (a space for a zero in the date), ``FL011``
        (``data``: was being written). ``OA003``: AudioMoth's hexadecimal names. ``OE001``: no date; ``OE003``: one
        that no calendar knows.
    """
    name = path.name
    found = []
    if maker == "FL":
        signs = {
            "FL004": "[" in name and "]" in name,
            "FL006": bool(_ODD.search(name)),
            "FL007": bool(re.match(r"-0+\d", name)),
            "FL008": facts.pattern == "space_for_zero",
            "FL011": name == "data",
        }
        found = [code for code, is_seen in signs.items() if is_seen]
    if facts.pattern == "hexadecimal":
        found.append("OA003")
    if facts.start is None:
        found.append("OE003" if has_impossible_time(path) else "OE001")
    return tuple(found)


def byte_faults(seen: Bytes, maker: str, problems: tuple[str, ...], n_samples: int | None) -> tuple[str, ...]:
    """Name what is wrong with the bytes of a recording.

    Parameters
    ----------
    seen
        What its bytes show.
    maker
        ``FL``, ``WA``, ``OA`` or empty.
    problems
        What the decoders found: ``empty``, ``no_samples``, ``unreadable`` …
    n_samples
        Samples that decode; ``None`` if nothing does.

    Returns
    -------
    tuple of str
        Nothing there: ``OA002``, ``WA001`` or ``OE004``. All bytes zero: ``WA002`` or ``OE005``. A stub: ``FL001`` or
        ``OA002``. Sizes of a Frontier Labs WAV: ``FL003`` (44 bytes of data are promised, and zeros end the file),
        ``FL005`` (the header counted itself), ``FL012`` (none is promised, and there are). ``FL010``: twice the samples
        of a Frontier Labs FLAC. ``WA004``: no header, and bytes like noise.
    """
    has_header = seen.head[:4] in {b"RIFF", b"fLaC"}
    is_noise = maker == "WA" and "unreadable" in problems and not has_header and seen.n_bytes >= LOOK_BYTES
    fault = ""
    if seen.n_bytes == 0:
        fault = {"OA": "OA002", "WA": "WA001"}.get(maker, "OE004")
    elif seen.is_nul:
        fault = "WA002" if maker == "WA" else "OE005"
    elif _is_stub(seen, n_samples, has_header=has_header) and maker in {"FL", "OA"}:
        fault = "FL001" if maker == "FL" else "OA002"
    elif is_noise and _entropy_bits(seen.head) > _NOISE_BITS:
        fault = "WA004"
    elif maker == "FL":
        fault = _size_fault(seen, n_samples)
    return (fault,) if fault else ()


def _is_stub(seen: Bytes, n_samples: int | None, *, has_header: bool) -> bool:
    """Return whether a small file is a header without samples, pieces of one, or one whose samples are none."""
    is_in_pieces = 2 * seen.head.count(0) > seen.n_bytes
    is_soundless = not n_samples or seen.is_misnamed
    return seen.n_bytes <= STUB_BYTES and is_soundless and (has_header or is_in_pieces)


def _size_fault(seen: Bytes, n_samples: int | None) -> str:
    if n_samples and seen.n_promised == 2 * n_samples:
        return "FL010"
    if seen.data_at is None or seen.data_bytes is None:
        return ""
    there = seen.n_bytes - seen.data_at
    if seen.data_bytes == 44 and there > 44 and seen.ends_in_nul:
        return "FL003"
    if seen.data_bytes == 0 and n_samples:
        return "FL012"
    return "FL005" if seen.data_bytes - there == seen.data_at else ""


def _entropy_bits(content: bytes) -> float:
    counts = np.bincount(np.frombuffer(content, dtype=np.uint8), minlength=256)
    shares = counts[counts > 0] / len(content)
    return float(-(shares * np.log2(shares)).sum())
