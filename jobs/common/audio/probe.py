"""Sound files: what can be decoded of one, and its samples.

libsndfile reads first; what it refuses, FFmpeg may still read (there are genuine Frontier Labs FLAC files with
a wrong comment block). Neither is believed about the length: it is measured.
"""

import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from jobs.common.audio.headers import header_problem
from jobs.common.audio.readers import AudioError, AudioReader, Samples, SndfileReader, reason_of

__all__ = [
    "MAX_PEAK",
    "AudioError",
    "AudioInfo",
    "AudioReader",
    "Reading",
    "Samples",
    "decoder_versions",
    "has_pyav",
    "is_float",
    "one_channel",
    "open_audio",
    "probe",
    "read_samples",
    "without_impossible",
]

Reading = Literal["libsndfile", "pyav"]
"""The decoder that reads a file."""

MAX_PEAK = 1000.0
"""Floating-point samples beyond this (+60 dBFS) are no sound pressure: they are taken for no numbers."""

NO_PYAV = "PyAV, which may read it, is not installed here"


@dataclass(frozen=True)
class AudioInfo:
    """The part of a sound file that can be decoded.

    Attributes
    ----------
    sample_rate_hz, n_channels
        As the decoder says.
    n_samples
        Samples of each channel that decode, counted from the start.
    format
        Container and coding, such as ``WAV/PCM_16``.
    reading
        The decoder to use.
    problems
        ``truncated``: there are fewer samples than the header promises. ``header_size``: the header's
        length is missing or wrong; all that is there is read. What decodes is good in either case.
    """

    sample_rate_hz: int
    n_channels: int
    n_samples: int
    format: str
    reading: Reading
    problems: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of what can be decoded, in seconds."""
        return self.n_samples / self.sample_rate_hz


def probe(path: str | Path, *, deadline_s: float = 300.0) -> AudioInfo:
    """Find out what can be decoded of a sound file.

    Parameters
    ----------
    path
        A file of any format that libsndfile or FFmpeg reads.
    deadline_s
        Seconds after which to give up. It is looked at between steps of decoding: it ends no single call
        into a decoder.

    Raises
    ------
    AudioError
        If nothing can be decoded. Its ``problem`` is ``empty`` (0 bytes), ``no_samples`` (a header alone),
        ``not_a_file``, ``timeout`` or ``unreadable``.

    Notes
    -----
    The last promised sample is decoded first. Only if that fails is the last one that does decode looked
    for, by decoding all of it; MP3, Ogg and what FFmpeg reads are decoded from start to end always.
    """
    path = Path(path)
    _check_file(path)
    stop_s = time.monotonic() + deadline_s
    refusals: list[AudioError] = []
    readings: tuple[Reading, ...] = ("libsndfile", "pyav")
    for reading in readings:
        try:
            return _measure(path, reading, stop_s)
        except AudioError as refusal:
            if refusal.problem == "timeout":
                raise
            refusals.append(refusal)
    if refusals[0].problem == "no_samples":
        raise refusals[0]
    reasons = " and ".join(str(refusal).removeprefix(f"{path}: ").removesuffix(".") for refusal in refusals)
    raise AudioError(f"{path}: {reasons}; it is damaged, no sound file, or must be converted to FLAC or WAV first.")


def open_audio(path: str | Path, reading: Reading) -> AudioReader:
    """Open a sound file for reading samples in any order.

    Parameters
    ----------
    path
        The file.
    reading
        The decoder, as :func:`probe` found it.

    Returns
    -------
    AudioReader
        A context manager; ``read(start, count)`` gives float32 of shape (n_channels, count).

    Raises
    ------
    AudioError
        If the decoder refuses the file.
    """
    _check_file(Path(path))
    if reading == "libsndfile":
        return SndfileReader(Path(path))
    if not has_pyav():
        raise AudioError(f"{path}: {NO_PYAV}; install the extra 'spectrograms' of dawnchorus.")
    from jobs.common.audio.pyav import PyavReader  # noqa: PLC0415 (the light installation has no PyAV)

    return PyavReader(Path(path))


def has_pyav() -> bool:
    """Return whether files that libsndfile refuses can be read."""
    try:
        import av  # noqa: F401, PLC0415 (the light installation has none)
    except ModuleNotFoundError:
        return False
    return True


def read_samples(path: str | Path, start: int, count: int, *, reading: Reading) -> Samples:
    """Read samples of one file once; see :meth:`AudioReader.read`."""
    with open_audio(path, reading) as audio:
        return audio.read(start, count)


def is_float(format_name: str) -> bool:
    """Return whether samples are stored as floats, which may exceed 1.0, by :attr:`AudioInfo.format`."""
    coding = format_name.rpartition("/")[2]
    return coding in {"FLOAT", "DOUBLE"} or coding.startswith(("PCM_F32", "PCM_F64"))


def without_impossible(samples: Samples) -> Samples:
    """Return samples with zeros for what is no number, or beyond :data:`MAX_PEAK`."""
    return np.where(np.abs(samples) <= MAX_PEAK, samples, np.float32(0))


def one_channel(samples: Samples, channel: str | int) -> Samples:
    """Return one channel of samples of shape (n_channels, n), shape (n,); their mean where ``channel`` is ``mix``."""
    if isinstance(channel, int):
        return np.asarray(samples[channel])
    return np.asarray(samples[0] if len(samples) == 1 else samples.mean(axis=0, dtype=np.float32))


def decoder_versions() -> dict[str, str]:
    """Return the versions of what decodes, for receipts."""
    found = {"libsndfile": soundfile.__libsndfile_version__}
    if not has_pyav():
        return found
    import av  # noqa: PLC0415 (the light installation has none)

    ffmpeg = {f"ffmpeg/{name}": ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return {**found, "pyav": av.__version__, **ffmpeg}


def _measure(path: Path, reading: Reading, stop_s: float) -> AudioInfo:
    with open_audio(path, reading) as audio:
        n_samples = audio.count(stop_s)
        if n_samples == 0:
            raise AudioError(f"{path}: holds a header, and no sample that decodes.", problem="no_samples")
        promised = audio.n_promised
        problem = header_problem(path)
        if not problem and promised is None and audio.format.startswith("FLAC"):
            problem = "header_size"
        if not problem and promised is not None and n_samples != promised:
            # Frontier Labs firmware 3.17 to 3.30 writes twice the true length.
            is_wrong = 2 * n_samples == promised or n_samples > promised
            problem = "header_size" if is_wrong else "truncated"
        return AudioInfo(
            audio.sample_rate_hz, audio.n_channels, n_samples, audio.format, reading, (problem,) if problem else ()
        )


def _check_file(path: Path) -> None:
    """Refuse what opening or reading would hang on, and what needs no decoder to be judged."""
    try:
        found = path.stat()
        is_file = stat.S_ISREG(found.st_mode)
        if is_file:
            path.open("rb").close()
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({reason_of(error)}).") from error
    if not is_file:
        raise AudioError(f"{path}: is no regular file, but a folder, pipe or device.", problem="not_a_file")
    if found.st_size == 0:
        raise AudioError(f"{path}: is empty (0 bytes).", problem="empty")
