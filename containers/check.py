"""A tiny job of each kind that an image is for, in a scratch folder: what ``apptainer test`` does.

``python check.py spectrograms|dino|cluster``. The images know nothing of each other, so what comes from
another one is made up here, by the builders that the tests use.
"""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xarray as xr
from stores import finish, make_cube, make_embeddings, random_codes

IMAGE_PREFIX = "/opt/dawnchorus"
BIN = Path(sys.prefix) / "bin" / "dawnchorus"
MELS = """
[runs.mels]
job = "spectrograms"
config = { window_s = 6.0, hop_s = 600.0, n_mels = 32, n_frames = 64, shard_windows = 72 }
"""
DINO = """
[runs.dino]
job = "dino"
inputs = { spectrograms = "mels" }
[runs.dino.config]
arch = "vit_tiny_patch16_224"
embed_dim = 32
depth = 1
num_heads = 2
patch_size = [16, 4]
pooling = "patch_mean"
head_hidden = 64
head_bottleneck = 32
n_prototypes = 64
n_local = 2
global_size = [32, 32]
local_size = [32, 8]
local_mel_span = [0.8, 1.0]
batch_size = 8
steps = 3
precision = "fp32"
[runs.vectors]
job = "embed"
inputs = { spectrograms = "mels", model = "dino" }
"""
CLUSTER = """
[runs.vectors]
job = "embed"
inputs = { spectrograms = "mels" }
config = { features = "logmel" }
[runs.clusters]
job = "cluster"
inputs = { embeddings = "vectors" }
config = { n_clusters = 4 }
[runs.atlas]
job = "atlas"
inputs = { clusters = "clusters", spectrograms = "mels" }
"""


def dawnchorus(*words: object) -> None:
    """Type a command; what it prints is the test's."""
    subprocess.run([BIN, *map(str, words)], check=True)


def check_spectrograms(folder: Path) -> None:
    """Catalog two noisy recordings and make their cube."""
    import soundfile  # noqa: PLC0415 (only this image has it)

    audio = folder / "audio" / "north"
    audio.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(scale=0.05, size=(2, 24_000 * 1800)).astype(np.float32)
    for hour, samples in enumerate(noise):
        soundfile.write(audio / f"20210714_0{hour}0000Z.wav", samples, 24_000)
    table = folder / "recordings.csv"
    dawnchorus("catalog", folder / "audio", "--out", table, "--zone", "UTC", "--workers", 1)
    manifest = folder / "study.toml"
    manifest.write_text(f'lake = "lake"\n[recordings]\ntable = "recordings.csv"\nroot = "audio"\n{MELS}', "utf-8")
    dawnchorus("run", manifest, "--workers", 1)
    cube = xr.open_dataset(folder / "lake/spectrograms/mels.zarr", engine="zarr")
    levels = cube.spectrogram.where(cube.status == 1, drop=True)
    assert levels.sizes["time"] >= 4, cube.sizes
    assert -80 < float(levels.mean()) < -20, float(levels.mean())


def check_dino(folder: Path) -> None:
    """Train for three steps on a made-up cube and embed it."""
    finish(make_cube(folder / "lake", random_codes(n_mels=32, n_frames=64)))
    manifest = folder / "study.toml"
    manifest.write_text(f'lake = "lake"\n{MELS}{DINO}', "utf-8")
    dawnchorus("run", manifest, "dino", "vectors", "--workers", 1, "--device", "cpu")
    vectors = xr.open_dataset(folder / "lake/embeddings/vectors.zarr", engine="zarr")
    assert int(vectors.embedding.notnull().all("feature").sum()) == 48


def check_cluster(folder: Path) -> None:
    """Cluster made-up embeddings and draw their pages, without torch."""
    assert find_spec("torch") is None or sys.prefix != IMAGE_PREFIX, "the image without torch has torch"
    codes = random_codes(n_mels=32, n_frames=64)
    cube = make_cube(folder / "lake", codes)
    vectors = codes.mean(axis=3, dtype=np.float32)
    vectors[~codes.any(axis=(2, 3))] = np.nan
    finish(cube)
    finish(make_embeddings(folder / "lake", vectors, cube=cube))
    manifest = folder / "study.toml"
    manifest.write_text(f'lake = "lake"\n{MELS}{CLUSTER}', "utf-8")
    dawnchorus("run", manifest, "clusters", "atlas", "--workers", 1)
    clusters = xr.open_dataset(folder / "lake/clusters/clusters.zarr", engine="zarr")
    assert int(clusters.cluster.notnull().sum()) == 48
    assert (folder / "lake/atlas/atlas/index.html").stat().st_size > 1000


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as scratch:
        {"spectrograms": check_spectrograms, "dino": check_dino, "cluster": check_cluster}[sys.argv[1]](Path(scratch))
