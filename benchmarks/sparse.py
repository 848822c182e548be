"""Measure few recordings in many years: disk, plain xarray and each command, compared with their bounds."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.report import FOLDER, Figure, report

LENGTH_S = 60
MANIFEST = """lake = "lake"
[recordings]
table = "recordings.csv"
root = "audio"
[runs.mels]
job = "spectrograms"
config = {{ window_s = 5.0, hop_s = 5.0, n_mels = 24, n_frames = 64, fft_s = 0.032, f_min_hz = 100.0, f_max_hz = {} }}
[runs.statistics]
job = "embed"
inputs = {{ spectrograms = "mels" }}
config = {{ features = "statistics" }}
[runs.clusters]
job = "cluster"
inputs = {{ embeddings = "statistics" }}
config = {{ n_clusters = 12 }}
[runs.atlas]
job = "atlas"
inputs = {{ clusters = "clusters", spectrograms = "mels" }}
"""
MAKING = (
    "catalog audio --out recordings.csv --zone UTC",
    *(f"run study.toml {run}" for run in ("mels", "statistics", "clusters", "atlas")),
)
ASKING = (
    "status study.toml",
    "verify study.toml",
    "query lake/clusters/clusters.zarr --local --out windows.csv",
    "export lake/clusters/clusters.zarr --to raven --out raven",
)
CLUSTERS = "lake/clusters/clusters.zarr"
OPEN = "import sys, xarray; xarray.open_dataset(sys.argv[1], engine='zarr', consolidated=True)"
Cost = tuple[float, float]
"""Seconds, and the largest resident size in GB."""


@dataclass(frozen=True)
class Study:
    """Recordings of a minute each, far apart, and what a command that asks may cost."""

    name: str
    n_files: int
    n_recorders: int
    first: datetime
    n_days: int
    rate_hz: int
    most_s: float
    most_gb: float | None


STUDIES = (
    Study("14 minutes, 6 years", 14, 1, datetime(2019, 1, 5), 2190, 16_000, 1.0, 0.25),
    Study("417 minutes, 112 recorders, 10 years", 417, 112, datetime(2015, 1, 5), 3800, 8_000, 10.0, None),
)


def make(study: Study, folder: Path) -> None:
    """Write recordings at random times, and a manifest."""
    shutil.rmtree(folder, ignore_errors=True)
    random = np.random.default_rng(0)
    seconds = np.arange(LENGTH_S * study.rate_hz) / study.rate_hz
    for i, day in enumerate(np.linspace(0, study.n_days, study.n_files).astype(int).tolist()):
        name = f"R{i * 37 % study.n_recorders:03d}"
        begin = study.first + timedelta(days=day, seconds=int(random.integers(80_000)))
        is_on = np.sin(2 * np.pi * seconds / random.uniform(1, 7)) > 0
        sound = 0.2 * is_on * np.sin(2 * np.pi * random.uniform(500, 0.4 * study.rate_hz) * seconds)
        path = folder / "audio" / name / f"{name}_{begin:%Y%m%d_%H%M%S}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound + 0.02 * random.standard_normal(len(seconds)), study.rate_hz)
    (folder / "study.toml").write_text(MANIFEST.format(0.45 * study.rate_hz), encoding="utf-8")


def cost_of(folder: Path, *words: str) -> Cost:
    """Run a command in a folder and return what it cost.

    Raises
    ------
    subprocess.CalledProcessError
        If it does not end well.
    """
    began = time.perf_counter()
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e9


def beside_bounds(name: str, cost: Cost, most_s: float, most_gb: float | None) -> list[Figure]:
    """Return the figures of a command."""
    gb = ("", None) if most_gb is None else (f"bound {most_gb:g} GB", most_gb / cost[1])
    return [
        Figure(name, cost[0], "s", f"bound {most_s:g} s", most_s / cost[0]),
        Figure(f"{name}, memory", cost[1], "GB", *gb),
    ]


def measure(study: Study, folder: Path) -> Iterator[Figure]:
    """Yield the figures of a study, which is made."""
    program = str(Path(sys.executable).with_name("dawnchorus"))
    for line in MAKING:
        yield Figure(f"{study.name}: {line[:30]}", cost_of(folder, program, *line.split())[0], "s")
    for line in ASKING:
        cost = cost_of(folder, program, *line.split())
        yield from beside_bounds(f"{study.name}: {line.split()[0]}", cost, study.most_s, study.most_gb)
    if study.most_gb is None:
        return
    for store in sorted((folder / "lake").glob("*/*.zarr")):
        n_mb = sum(path.stat().st_size for path in store.glob("time/*")) / 1e6
        yield Figure(f"{study.name}: times of {store.name}", n_mb, "MB", "bound 5 MB", 5 / n_mb)
    cost = cost_of(folder, sys.executable, "-c", OPEN, CLUSTERS)
    yield from beside_bounds(f"{study.name}: plain xarray opens {CLUSTERS}", cost, 3.0, 1.5)


def main() -> None:
    """Measure and report."""
    figures: list[Figure] = []
    for study in STUDIES:
        folder = FOLDER / f"sparse-{study.n_files}"
        make(study, folder)
        figures += measure(study, folder)
        report("sparse", figures)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
