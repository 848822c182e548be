"""A small study of real sound files for tests: recorders, gaps, joins, overlaps, and its manifest."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from jobs.common.run import Run
from jobs.runner.manifest import read_manifest
from jobs.spectrograms.command import SPECTROGRAMS
from jobs.spectrograms.config import Config
from jobs.spectrograms.plan import Day, missing_days
from lake.recordings import write_recordings

RATE = 8000
START = pd.Timestamp("2021-07-14T23:59:00")
"""Near midnight, so that a recorder has two days."""
CONFIG = "window_s = 4.0, hop_s = 2.0, n_mels = 12, n_frames = 16, f_max_hz = 3500.0, fft_s = 0.032, shard_windows = 8"


def sound(seconds: float, seed: int, rate: int = RATE, n_channels: int = 1) -> NDArray[np.float64]:
    """Noise and a tone, shape (n_samples, n_channels), on the grid of 16 bits."""
    n = round(seconds * rate)
    random = np.random.default_rng(seed)
    tone = 0.2 * np.sin(2 * np.pi * (400 + 300 * (seed % 7)) * np.arange(n) / rate)
    signal = tone[:, None] + 0.02 * random.standard_normal((n, n_channels))
    return np.asarray(np.rint(signal * 32767) / 32768)


def mels_of(manifest: Path) -> Run[Config]:
    """Return the run of a study's cube."""
    return cast("Run[Config]", read_manifest(manifest).runs["mels"])


def planned_days(run: Run[Config]) -> list[Day]:
    """Return what is missing of a run's cube, a recorder's UTC day each, as a run plans it."""
    return missing_days(SPECTROGRAMS.plan(run), run.ledger.written())


@dataclass
class Study:
    """Recordings below ``folder / "audio"`` and their table."""

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        recorder: str,
        at_s: float,
        samples: NDArray[np.float64],
        *,
        rate: int = RATE,
        suffix: str = "wav",
        **more: Any,
    ) -> str:
        """Write one recording that starts ``at_s`` seconds after :data:`START`; return its path in the table."""
        name = f"{recorder}/{len(self.rows):03d}.{suffix}"
        path = self.folder / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate)
        row = {
            "path": name, "recorder": recorder, "deployment": "", "start_utc": START + pd.Timedelta(seconds=at_s),
            "start_local": pd.NaT, "utc_offset": "-05:00", "time_source": "name", "time_conflict": "",
            "duration_s": len(samples) / rate, "sample_rate_hz": rate, "n_channels": samples.shape[1],
            "n_samples": len(samples), "format": "WAV", "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "reading": "libsndfile", "problems": "", "gain_db": np.nan, "latitude": np.nan, "longitude": np.nan, **more,
        }  # fmt: skip
        self.rows.append(row)
        return name

    def write(self, *, lake: str = "lake", config: str = CONFIG, extra: str = "", name: str = "study") -> Path:
        """Write the table and a manifest with one run ``mels``; return the manifest's path."""
        table = pd.DataFrame(self.rows).sort_values("path")
        for column in ("sample_rate_hz", "n_channels", "n_samples"):
            table[column] = table[column].astype("Int64")
        write_recordings(table, self.folder / f"{name}.csv")
        manifest = self.folder / f"{name}-{lake.rpartition('/')[2]}.toml"
        manifest.write_text(
            f'lake = "{lake}"\nrecordings = {{ table = "{name}.csv", root = "audio"{extra} }}\n'
            f'[runs.mels]\njob = "spectrograms"\nconfig = {{ {config} }}\n'
        )
        return manifest


def usual_study(folder: Path) -> Study:
    """Two recorders: a join, an overlap, a gap, stereo FLAC, a partial cell, a night across two days."""
    study = Study(folder)
    whole = sound(40, 1)
    study.add("a", 0.5, whole[: 17 * RATE])
    study.add("a", 17.5, whole[17 * RATE :])
    study.add("a", 55.0, sound(30, 2))
    study.add("a", 80.0, sound(20, 3))
    study.add("b", 0.0, sound(25.5, 4, n_channels=2), suffix="flac")
    study.add("b", 50.5, sound(33, 5), rate=RATE)
    return study


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
