"""Examine one file: its digest, what decodes of it, its header, its faults. Runs in a decoder's process."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from jobs.catalog.blocks import STREAMINFO, read_blocks
from jobs.catalog.faults import byte_faults, look_at_bytes
from jobs.catalog.headers import HeaderFacts, parse_header, true_rate
from jobs.catalog.signal import has_clicks, judge, look
from jobs.common.audio.probe import MAX_PEAK, AudioError, AudioInfo, is_float, open_audio, probe
from lake.constants import S_PER_DAY
from lake.digest import sha256_of_file
from lake.limits import MAX_CHANNELS, MAX_GAIN_DB, MAX_LENGTH_S, MAX_RATE_HZ, MIN_RATE_HZ

SOUND_SAMPLES = 1 << 20
"""Samples that are decoded at once for a digest."""
UNUSABLE = frozenset({"FL001", "FL003"})
"""Faults that leave nothing to use, although a decoder may find a sample or two."""

SCALE_REMEDY = "They look like integers stored as floating point: divide them by the integers' full scale."


@dataclass(frozen=True)
class FileFacts:
    """Facts from the bytes of a file.

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
    sound
        SHA-256 of the decoded samples; empty while nobody asked for it.
    """

    sha256: str = ""
    audio: AudioInfo | None = None
    problems: tuple[str, ...] = ()
    header: HeaderFacts = field(default_factory=HeaderFacts)
    message: str = ""
    sound: str = ""


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
        sha256 = sha256_of_file(path)
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
    audio, about_rate = with_true_rate(audio, header)
    wrong = out_of_range(audio, header)
    if audio is not None and wrong:
        audio, message = None, f"{path}: {'; '.join(wrong.values())}. The file is set aside."
    flags = signal_faults(path, audio, header.maker or maker) if audio else ()
    if "beyond_scale" in flags:
        audio, message = None, f"{path}: most samples are beyond {MAX_PEAK:,.0f} times full scale. {SCALE_REMEDY}"
    problems = tuple(dict.fromkeys((*problems, *faults, *about_rate, *wrong, *flags)))
    return FileFacts(sha256, audio, problems, header, message)


def with_true_rate(audio: AudioInfo | None, header: HeaderFacts) -> tuple[AudioInfo | None, tuple[str, ...]]:
    """Return what decodes at the rate that it was recorded at, and a code if that is not the file's own."""
    if audio is None:
        return None, ()
    rate_hz, code = true_rate(audio.sample_rate_hz, header)
    return replace(audio, sample_rate_hz=rate_hz), (code,) if code else ()


def out_of_range(audio: AudioInfo | None, header: HeaderFacts) -> dict[str, str]:
    """Return what no recorder does, by code: expected and found."""
    wrong = {}
    if audio is not None:
        rate_hz, n_channels = audio.sample_rate_hz, audio.n_channels
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            wrong["rate_out_of_range"] = f"expected {MIN_RATE_HZ:,} to {MAX_RATE_HZ:,} Hz, found {rate_hz:,} Hz"
        elif audio.duration_s > MAX_LENGTH_S:
            days = audio.duration_s / S_PER_DAY
            wrong["length_out_of_range"] = f"expected at most {MAX_LENGTH_S / S_PER_DAY:.0f} days, found {days:,.0f}"
        if n_channels > MAX_CHANNELS:
            wrong["channels_out_of_range"] = f"expected at most {MAX_CHANNELS} channels, found {n_channels:,}"
    if header.gain_db is not None and not abs(header.gain_db) <= MAX_GAIN_DB:
        wrong["gain_out_of_range"] = f"expected a gain within {MAX_GAIN_DB:g} dB, found {header.gain_db:g} dB"
    return wrong


def signal_faults(path: str, audio: AudioInfo, maker: str) -> tuple[str, ...]:
    """Name what is wrong with the samples; ``FL002`` are holes of Frontier Labs, ``OA001`` clicks of AudioMoth."""
    try:
        blocks = look(path, audio)
    except AudioError:
        return ("partly_unreadable",)
    found = judge(blocks, is_float=is_float(audio.format))
    if "zero_blocks" in found and maker == "FL":
        return (*found, "FL002")
    return (*found, "OA001") if maker == "OA" and has_clicks(blocks) else found


def sound_digest(path: str, audio: AudioInfo) -> str:
    """Return the SHA-256 of the decoded samples, as float32: the same for all formats that keep them.

    Raises
    ------
    AudioError
        If they do not all decode.
    """
    found = hashlib.sha256()
    with open_audio(path, audio.reading) as reader:
        for start in range(0, audio.n_samples, SOUND_SAMPLES):
            samples = reader.read(start, min(SOUND_SAMPLES, audio.n_samples - start))
            found.update(np.ascontiguousarray(samples.T).tobytes())
    return found.hexdigest()
