"""Cutting many spans out of recordings, as WAV files with GUANO metadata."""

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import xarray as xr

from jobs.common.audio.cutting import joined, piece_samples
from jobs.common.audio.probe import AudioError, Reading, Samples, probe
from lake.digest import sha256_of
from lake.exports.guano import guano_of, with_guano
from lake.query.places import RecordingsOf
from lake.query.trace import Piece


def cut_clips(
    clips: pd.DataFrame, cube: xr.Dataset, root: Path, channel: str | int, note: Callable[[str], None]
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each clip whose recordings are there.

    Parameters
    ----------
    clips
        As :func:`lake.exports.clips.clips_of` gives them.
    cube
        Opened as numbers; its recordings are cut.
    root
        Folder that the recordings' paths are relative to.
    channel
        That the spectrograms show: ``mix`` or a number.
    note
        Called with what is wrong with recordings that are gone, changed or do not decode: their clips are left out.
    """
    sources = Sources(root, channel, note)
    for recorder, mine in clips.groupby("recorder", sort=True):
        recordings = RecordingsOf(cube, str(recorder))
        rows: list[dict[str, Any]] = [
            {str(key): value for key, value in row.items()} for row in mine.to_dict("records")
        ]
        for row in rows:
            pieces = recordings.pieces(_ms(row["start_utc"]), _ms(row["end_utc"]))
            found = sources.samples(pieces, _ms(row["end_utc"]) - _ms(row["start_utc"]))
            if found is not None:
                data, gain_db = _wav(*found)
                yield row["file"], with_guano(data, guano_of(row, rate_hz=found[1], gain_db=gain_db))


class Sources:
    """Recordings that clips are cut from; each is compared with its digest once, and a bad one is noted once."""

    def __init__(self, root: Path, channel: str | int, note: Callable[[str], None]) -> None:
        self.root, self.channel, self.note = root, channel, note
        self._readings: dict[str, Reading | None] = {}

    def samples(self, pieces: tuple[Piece, ...], length_ms: int) -> tuple[Samples, int] | None:
        """Return the samples of a span, shape (n_samples,), and their rate in Hz; ``None`` if a recording is bad."""
        readings = [self._reading(piece) for piece in pieces]
        if not pieces or None in readings:
            return None
        rate_hz = pieces[0].sample_rate_hz

        def read(piece: Piece) -> Samples:
            reading = self._readings[piece.path]
            if reading is None:
                return np.empty(0, dtype=np.float32)
            return piece_samples(piece, self.root / piece.path, reading, self.channel)

        try:
            return joined(pieces, round(length_ms * rate_hz / 1000), read)[0], rate_hz
        except AudioError as error:
            self.note(f"left out are clips of {pieces[0].path}: {error}")
            return None

    def _reading(self, piece: Piece) -> Reading | None:
        if piece.path not in self._readings:
            path = self.root / piece.path
            problem = ""
            if not path.is_file():
                problem = "no such file"
            elif sha256_of(path) != piece.sha256:
                problem = "another file than the spectrograms were made from"
            if problem:
                self.note(f"left out are clips of {path}: {problem}")
            self._readings[piece.path] = None if problem else probe(path).reading
        return self._readings[piece.path]


def _wav(samples: Samples, rate_hz: int) -> tuple[bytes, float]:
    """Return a WAV file of one channel and 16 bits, and its gain in dB: sound beyond full scale is lowered."""
    made, peak = io.BytesIO(), float(np.abs(samples).max(initial=0))
    gain = 1.0 if peak <= 1 else 0.999 / peak
    soundfile.write(made, samples * np.float32(gain), rate_hz, subtype="PCM_16", format="WAV")
    return made.getvalue(), round(20 * math.log10(gain), 2)


def _ms(time: Any) -> int:  # noqa: ANN401 (a pandas time)
    return int(pd.Timestamp(time).value) // 10**6
