"""Cutting the sound of a traced window out of its recordings."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from jobs.common.audio.probe import Reading, Samples, one_channel, probe, read_samples, without_impossible
from lake.digest import sha256_of
from lake.errors import InputError
from lake.outputs import write_outputs
from lake.query.trace import Piece, Trace


def cut(found: Trace, root: Path, out: Path, *, force: bool = False) -> float:
    """Write the window's sound as it went into the spectrogram: one channel, zero where nothing was recorded.

    Parameters
    ----------
    found
        The window.
    root
        Folder that the recordings' paths are relative to.
    out
        ``.flac`` or ``.wav``; 24 bits. Sound beyond full scale is written as floating point to ``.wav``, and lowered
        for ``.flac``, which holds no more.
    force
        Replace a file that others wrote or changed.

    Returns
    -------
    float
        The gain in dB that the sound was written with: 0, or less.

    Raises
    ------
    InputError
        If a recording is gone, or not the file that the store was made from.
    UsageError
        If another's file is there.
    """
    samples, rate = window_samples(found, root)
    peak = float(np.abs(samples).max(initial=0))
    is_wav = out.suffix == ".wav"
    gain = 1.0 if peak <= 1 or is_wav else 0.999 / peak
    with TemporaryDirectory() as folder:
        aside = Path(folder) / f"window{out.suffix}"
        subtype = "FLOAT" if is_wav and peak > 1 else "PCM_24"
        soundfile.write(aside, samples if gain == 1 else samples * np.float32(gain), rate, subtype=subtype)
        write_outputs(out.absolute().parent, {out.name: aside.read_bytes()}, force=force, option="--audio")
    return round(20 * math.log10(gain), 2)


def window_samples(found: Trace, root: Path) -> tuple[Samples, int]:
    """Return the samples of a window, shape (n_samples,), and their rate in Hz."""
    if not found.pieces:
        raise InputError(f"{found.recorder} at {found.start_utc}: no recording of the table holds any of it.")
    return span_samples(found.pieces, root, _ms(found.end_utc) - _ms(found.start_utc), found.channel)


def span_samples(pieces: tuple[Piece, ...], root: Path, length_ms: int, channel: str | int) -> tuple[Samples, int]:
    """Return the samples of a span, shape (n_samples,), and their rate in Hz: of one piece at least.

    Raises
    ------
    InputError
        If a recording is gone, or not the file that the store was made from.
    """
    rate = pieces[0].sample_rate_hz

    def read(piece: Piece) -> Samples:
        path = root / piece.path
        _require_unchanged(path, piece.sha256)
        return piece_samples(piece, path, probe(path).reading, channel)

    return joined(pieces, round(length_ms * rate / 1000), read)[0], rate


def joined(pieces: Iterable[Piece], n_samples: int, read: Callable[[Piece], Samples]) -> tuple[Samples, int]:
    """Return a window put together of its pieces, shape (n_samples,), and how many of its samples were read.

    Parameters
    ----------
    pieces
        Which samples of which recordings are in the window (:func:`lake.query.trace.pieces`); the rest is zero.
    n_samples
        Length of the window.
    read
        Returns the samples of one piece, shape (n,); fewer than it should have, or none, where they do not decode.
    """
    window, n_read = np.zeros(n_samples, dtype=np.float32), 0
    for piece in pieces:
        samples = read(piece)[: max(n_samples - piece.at_sample, 0)]
        window[piece.at_sample : piece.at_sample + len(samples)] = samples
        n_read += len(samples)
    return window, n_read


def piece_samples(piece: Piece, path: Path, reading: Reading, channel: str | int) -> Samples:
    """Return the samples of one piece, shape (n,), of the channel that the spectrograms show; none if it lacks it.

    Raises
    ------
    AudioError
        If the file does not decode.
    """
    count = piece.last_sample - piece.first_sample
    samples = without_impossible(read_samples(path, piece.first_sample, count, reading=reading))
    if isinstance(channel, int) and channel >= len(samples):
        return np.empty(0, dtype=np.float32)  # fewer channels than the window's first recording: it was not mixed in
    return one_channel(samples, channel)


def _require_unchanged(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise InputError(f"{path}: expected the recording, found no file; name the folder of recordings with --root.")
    digest = sha256_of(path)
    if digest != sha256:
        raise InputError(
            f"{path}: is another file than the store was made from: expected SHA-256 {sha256[:12]}…, found "
            f"{digest[:12]}…. Restore it."
        )


def _ms(time: str) -> int:
    return int(np.datetime64(time.removesuffix("Z"), "ms").astype(np.int64))
