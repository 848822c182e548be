"""A small study and a lake of all jobs: of integers alone, so that every machine makes the same recordings.

``tests/lakes/format-1.tar.xz`` is such a lake as commit 62f1a1e made it. Where that commit is checked out in ``old``,
with its dependencies, it is made by ``PYTHONPATH=old:tests python tests/smalllake.py tests/lakes/format-1.tar.xz``.
"""

import sys
import tarfile
import tempfile
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jobs.catalog.command import run_catalog
from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest

RATE, SECONDS = 8000, 120
MANIFEST = """lake = "lake"
recordings = { table = "recordings.csv", root = "audio" }
labels = "labels.csv"

[runs.mels]
job = "spectrograms"
config = { window_s = 4.0, hop_s = 20.0, n_mels = 8, n_frames = 8, f_max_hz = 3500.0, fft_s = 0.032, \
shard_windows = 720 }

[runs.net]
job = "dino"
inputs = { spectrograms = "mels" }
config = { arch = "vit_tiny_patch16_224", embed_dim = 8, depth = 1, num_heads = 2, patch_size = [4, 4], \
head_hidden = 8, head_bottleneck = 4, n_prototypes = 8, n_local = 1, global_size = [8, 8], local_size = [8, 4], \
batch_size = 4, steps = 2, precision = "fp32" }

[runs.vectors]
job = "embed"
inputs = { spectrograms = "mels" }
config = { features = "logmel" }

[runs.learned]
job = "embed"
inputs = { spectrograms = "mels", model = "net" }
config = { batch_size = 4, attention = true }

[runs.others]
job = "import"
inputs = { spectrograms = "mels" }
files = { table = "vectors.csv", vectors = "vectors.npy" }
config = { window_s = 4.0, hop_s = 20.0 }

[runs.clusters]
job = "cluster"
inputs = { embeddings = "vectors" }
config = { n_clusters = 2, seed = 7 }

[runs.scores]
job = "evaluate"
inputs = { mine = "clusters", theirs = "learned" }

[runs.atlas]
job = "atlas"
inputs = { clusters = "clusters", spectrograms = "mels" }
config = { image_width_px = 16, image_height_px = 16, n_map_windows = 0, audio = false }
"""
LABELS = """recorder,start_utc,end_utc,label
north,2021-07-14T23:59:00Z,2021-07-14T23:59:24Z,wren
north,2021-07-14T23:59:24Z,2021-07-15T00:00:40Z,robin
"""
BEGUN = {"north": ("20210714_235900",), "south": ("20210715_000000",)}
"""Recorders, and when the recordings of the study as it began were made."""
ADDED = {"north": ("20210715_000130", "20210716_120000"), "west": ("20210715_010000",)}
"""Those that are added to it: to a day and a shard that are there, to a new day, of a new recorder."""


def write_recordings(folder: Path, names: Mapping[str, tuple[str, ...]]) -> None:
    """Write recordings, which differ."""
    for recorder, times in names.items():
        for time in times:
            path = folder / "audio" / recorder / f"{time}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            random = np.random.default_rng([int(time[9:]), len(recorder)])
            half = 2 + int(random.integers(20))  # samples of half a period
            tone = np.where(np.arange(SECONDS * RATE) // half % 2, 3000, -3000)
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes((tone + random.integers(-900, 901, SECONDS * RATE)).astype("<i2").tobytes())


def write_study(folder: Path) -> Path:
    """Write recordings, tables and manifest; return the manifest's path."""
    write_recordings(folder, BEGUN)
    write_table(folder)
    (folder / "labels.csv").write_text(LABELS)
    (folder / "study.toml").write_text(MANIFEST)
    starts = [f"north/20210714_235900.wav,{20 * i}" for i in range(5)]
    (folder / "vectors.csv").write_text("\n".join(["recording,start_s", *starts]) + "\n")
    np.save(folder / "vectors.npy", np.arange(20, dtype=np.float32).reshape(5, 4))
    return folder / "study.toml"


def write_table(folder: Path) -> None:
    """Write the table of the recordings that are there."""
    run_catalog([folder / "audio"], folder / "recordings.csv", zones={"": "UTC"})


def pack(folder: Path, archive: Path) -> None:
    """Write an archive of tables and lake, without the sound and a picture that nothing reads."""
    left_out = {folder / "audio", folder / "lake/models/net/health.png"}
    with tarfile.open(archive, "w:xz") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not left_out & {path, *path.parents}:
                file.add(path, path.relative_to(folder).as_posix())


def unpack(archive: Path, folder: Path) -> Path:
    """Write the study that an archive holds, with its sound; return the manifest's path."""
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    write_recordings(folder, BEGUN)
    return folder / "study.toml"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        manifest = write_study(Path(scratch) / "study")
        execute_runs(read_manifest(manifest), [], Options(device="cpu"), print)
        pack(manifest.parent, Path(sys.argv[1]))
