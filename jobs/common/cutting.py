"""Cutting the sound of a traced window out of its recordings."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from numpy.typing import NDArray

from jobs.common.audio import Reading, probe, read_samples, without_impossible
from lake.digest import sha256_of
from lake.errors import InputError
from lake.outputs import write_outputs
from lake.trace import Trace


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


def window_samples(found: Trace, root: Path) -> tuple[NDArray[np.float32], int]:
    """Return the samples of a window, shape (n_samples,), and their rate in Hz."""
    if not found.pieces:
        raise InputError(f"{found.recorder} at {found.start_utc}: no recording of the table holds any of it.")
    rate = found.pieces[0].sample_rate_hz
    n_samples = round((_ms(found.end_utc) - _ms(found.start_utc)) * rate / 1000)
    out = np.zeros(n_samples, dtype=np.float32)
    for piece in found.pieces:
        path = root / piece.path
        if not path.is_file():
            raise InputError(
                f"{path}: expected the recording, found no file; name the folder of recordings with --root."
            )
        digest = sha256_of(path)
        if digest != piece.sha256:
            raise InputError(
                f"{path}: is another file than the store was made from: expected SHA-256 {piece.sha256[:12]}…, found "
                f"{digest[:12]}…. Restore it."
            )
        reading: Reading = probe(path).reading
        count = min(piece.last_sample - piece.first_sample, n_samples - piece.at_sample)
        channels = without_impossible(read_samples(path, piece.first_sample, count, reading=reading))
        one = channels[found.channel] if isinstance(found.channel, int) else channels.mean(axis=0)
        out[piece.at_sample : piece.at_sample + one.shape[-1]] = one
    return out, rate


def _ms(time: str) -> int:
    return int(np.datetime64(time.removesuffix("Z"), "ms").astype(np.int64))
