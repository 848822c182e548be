"""One file: its digest, what decodes of it, what its header says, what is wrong. Runs in a decoder's process."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from jobs.catalog.blocks import STREAMINFO, read_blocks
from jobs.catalog.faults import byte_faults, look_at_bytes
from jobs.catalog.headers import HeaderFacts, parse_header
from jobs.catalog.signal import has_clicks, judge, look
from jobs.common.audio import AudioError, AudioInfo, probe

UNUSABLE = frozenset({"FL001", "FL003"})
"""Faults that leave nothing to use, although a decoder may find a sample or two."""


@dataclass(frozen=True)
class FileFacts:
    """What the bytes of a file say.

    Attributes
    ----------
    sha256
        Of the file; empty if it cannot be opened.
    audio
        What decodes; ``None`` if nothing does, or nothing that is sound.
    problems
        Codes of :data:`lake.recordings.PROBLEMS`.
    header
        What the header says.
    message
        Why nothing decodes.
    """

    sha256: str = ""
    audio: AudioInfo | None = None
    problems: tuple[str, ...] = ()
    header: HeaderFacts = field(default_factory=HeaderFacts)
    message: str = ""


def examine(path: str, maker: str = "", *, deadline_s: float = 300.0) -> FileFacts:
    """Read a file: its digest, what decodes, its header. Whatever is wrong with it, that is the answer.

    Parameters
    ----------
    path
        A local file.
    maker
        Who writes such names (:func:`jobs.catalog.names.maker_of`); the header knows better, if it tells.
    deadline_s
        Seconds that counting the samples may take.
    """
    try:
        audio, refusal = probe(path, deadline_s=deadline_s), None
    except AudioError as error:
        audio, refusal = None, error
    if refusal is not None and refusal.problem == "not_a_file":
        return FileFacts(problems=(refusal.problem,), message=str(refusal))
    problems = audio.problems if audio else (refusal.problem,) if refusal else ()
    message = str(refusal) if refusal else ""
    try:
        sha256 = digest(path)
        blocks = read_blocks(Path(path))
        promised = int.from_bytes(blocks.get(STREAMINFO, b"")[13:18], "big") & (1 << 36) - 1
        seen = look_at_bytes(Path(path), promised or None)
    except OSError as error:
        reason = f"{path}: cannot be read to its end ({error.strerror}); check the disk."
        return FileFacts(problems=("unreadable",), message=message or reason)
    header = parse_header(blocks)
    faults = byte_faults(seen, header.maker or maker, problems, audio.n_samples if audio else None)
    if UNUSABLE & set(faults):
        audio, problems = None, problems if audio is None else ("no_samples",)
        message = message or f"{path}: holds a header, and no samples that can be trusted."
    flags = signal_faults(path, audio, header.maker or maker) if audio else ()
    return FileFacts(sha256, audio, tuple(dict.fromkeys((*problems, *faults, *flags))), header, message)


def signal_faults(path: str, audio: AudioInfo, maker: str) -> tuple[str, ...]:
    """Name what is wrong with the samples; ``FL002`` are holes of Frontier Labs, ``OA001`` clicks of AudioMoth."""
    try:
        blocks = look(path, audio)
    except AudioError:
        return ("partly_unreadable",)
    found = judge(blocks)
    if "zero_blocks" in found and maker == "FL":
        return (*found, "FL002")
    return (*found, "OA001") if maker == "OA" and has_clicks(blocks) else found


def digest(path: str) -> str:
    """Return the SHA-256 of a file; ``OSError`` if it cannot be read to its end."""
    with Path(path).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
