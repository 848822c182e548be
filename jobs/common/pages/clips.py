"""The sound of windows, cut out of the recordings and made loud enough to hear."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import gcd
from pathlib import Path
from typing import cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.common.audio.cutting import joined, piece_samples
from jobs.common.audio.probe import AudioError, Reading
from jobs.common.pages.ogg import COMPRESSION, vorbis
from jobs.common.run import Recordings
from lake.query.trace import Piece, pieces, recordings_table
from lake.recordings import read_recordings

PEAK = 0.5
MOST_GAIN_DB = 40.0
MOST_RATE_HZ = 48_000
FADE_S = 0.005


@dataclass(frozen=True)
class Clip:
    """A sound file of one window.

    Attributes
    ----------
    data
        Ogg Vorbis, one channel.
    gain_db
        How much louder than recorded.
    """

    data: bytes
    gain_db: float


def readings_of(recordings: Recordings | None) -> Mapping[str, Reading]:
    """Return the decoder of each recording at hand by path; none where the folder is not there."""
    if recordings is None or not recordings.root.is_dir() or not recordings.table.is_file():
        return {}
    table = read_recordings(recordings.table)
    usable = table[table["reading"] != ""]
    return {str(path): cast("Reading", how) for path, how in zip(usable["path"], usable["reading"], strict=True)}


def cut(
    pieces: Sequence[Piece],
    *,
    root: Path,
    readings: Mapping[str, Reading],
    window_s: float,
    channel: str | int,
    compression: float = COMPRESSION,
) -> Clip | None:
    """Cut the sound of a window out of the recordings that it is made of.

    Parameters
    ----------
    pieces
        What each recording gives to the window (:func:`lake.query.trace.pieces`); the rest is silence.
    root, readings
        Folder of the recordings, and their decoders by path.
    window_s
        Length of a window in seconds.
    channel
        ``mix`` or a channel's number, as the spectrograms were made.
    compression
        Of the codec, 0 large to 1 small.

    Returns
    -------
    Clip or None
        ``None`` where no piece is at hand and decodes.
    """
    if not pieces:
        return None
    rate = pieces[0].sample_rate_hz
    window, n_read = joined(pieces, round(window_s * rate), lambda piece: _read(piece, root, readings, channel))
    if n_read == 0:
        return None
    samples, rate = to_audible(window, rate)
    loud, gain_db = made_loud(samples, rate)
    return Clip(vorbis(loud, rate, compression), gain_db)


def cutter(
    recordings: Recordings | None, cube: xr.Dataset, window_ms: int, compression: float = COMPRESSION
) -> Callable[[str, int], Clip | None] | None:
    """Return what cuts the sound of a window out of a study's recordings; ``None`` where they are not at hand.

    Parameters
    ----------
    recordings
        Of the run that made the cube.
    cube
        The cube, opened.
    window_ms
        Length of a window.
    compression
        Of the codec, 0 large to 1 small.

    Returns
    -------
    Callable or None
        From a recorder and the start of a window, milliseconds since 1970, to its sound, as :func:`cut`.
    """
    readings = readings_of(recordings)
    if recordings is None or not readings:
        return None
    root = recordings.root
    channel = cube.attrs.get("config", {}).get("channel", "mix")
    rows = cache(partial(recordings_table, cube))

    def cut_window(recorder: str, start_ms: int) -> Clip | None:
        found = pieces(rows(recorder), start_ms, start_ms + window_ms)
        length_s = window_ms / 1000
        return cut(found, root=root, readings=readings, window_s=length_s, channel=channel, compression=compression)

    return cut_window


def _read(piece: Piece, root: Path, readings: Mapping[str, Reading], channel: str | int) -> NDArray[np.float32]:
    """Return a piece's samples of the one channel, without their mean; none if they cannot be read."""
    reading, path = readings.get(piece.path), root / piece.path
    if reading is None or not path.is_file():
        return np.empty(0, dtype=np.float32)
    try:
        samples = piece_samples(piece, path, reading, channel)
    except AudioError:
        return np.empty(0, dtype=np.float32)
    return np.asarray(samples - (samples.mean() if len(samples) else 0), dtype=np.float32)


def to_audible(samples: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float32], int]:
    """Return samples at 48 kHz at most: nobody hears more, and browsers do not play it."""
    if rate <= MOST_RATE_HZ:
        return samples, rate
    from scipy.signal import resample_poly  # noqa: PLC0415 (the light installation has none)

    common = gcd(rate, MOST_RATE_HZ)
    out = resample_poly(samples, MOST_RATE_HZ // common, rate // common)
    return np.asarray(out, dtype=np.float32), MOST_RATE_HZ


def made_loud(samples: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float32], float]:
    """Return samples with a peak of half of full scale, 5 ms faded at both ends, and the gain in whole dB.

    The gain is 40 dB at most, and below 0 only where floating-point samples are beyond full scale.
    """
    peak = float(np.abs(samples).max())
    least_db = min(0.0, np.floor(-20 * np.log10(max(peak, 1.0))))
    gain_db = float(np.clip(np.floor(20 * np.log10(PEAK / max(peak, 1e-9))), least_db, MOST_GAIN_DB))
    n = min(round(FADE_S * rate), len(samples) // 2)
    envelope = np.ones(len(samples), dtype=np.float32)
    if n:
        ramp = (np.arange(n, dtype=np.float32) + 0.5) / n
        envelope[:n], envelope[-n:] = ramp, ramp[::-1]
    loud = samples * np.float32(10 ** (gain_db / 20)) * envelope
    return np.clip(loud, -1, 1).astype(np.float32), gain_db
