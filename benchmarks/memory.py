"""Peak memory of a worker, with all its children, at 1 and at 4 hours of audio: it must not follow the study's size.

Full settings: 1024 x 1024, 48 kHz, mono, shards of 100 windows. One generated hour, linked as often as needed.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import psutil
import soundfile

from benchmarks.report import Figure, report
from jobs.common.run import Run
from jobs.runner.manifest import read_manifest
from jobs.spectrograms.command import SPECTROGRAMS
from jobs.spectrograms.config import Config
from jobs.spectrograms.plan import missing_days
from jobs.spectrograms.sizes import task_bytes
from lake.recordings import make_recordings, write_recordings

RATE_HZ, HOURS = 48_000, (1, 4)
EVERY_S = 0.05


@dataclass(frozen=True)
class Peak:
    """The peak memory of a command, as sampled.

    Pages of programs and libraries are left out: how many of them are held follows from what the system had in its
    cache before, and from what else runs.

    Attributes
    ----------
    tree_bytes
        Memory of the process and all below it.
    largest_bytes
        Memory of the largest of them.
    """

    tree_bytes: int
    largest_bytes: int


def peak_of(words: list[str]) -> Peak:
    """Run a command to its end and return its peak memory.

    Raises
    ------
    subprocess.CalledProcessError
        If it does not end well.
    """
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    tree_bytes = largest_bytes = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            held = [allocated_bytes(one.pid) for one in [watched, *watched.children(recursive=True)]]
            tree_bytes, largest_bytes = max(tree_bytes, sum(held)), max(largest_bytes, *held)
        time.sleep(EVERY_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return Peak(tree_bytes, largest_bytes)


def allocated_bytes(pid: int) -> int:
    """Return what a process holds that is no file's, in bytes; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return 1024 * sum(int(kilobytes) for kilobytes in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+) kB", status))


def write_study(folder: Path, n_hours: int, config: str, *, rate_hz: int = RATE_HZ) -> Path:
    """Write hours of one recorder's noise, all links to one file, their table and a manifest; return its path."""
    hour = folder / "hour.wav"
    if not hour.exists():
        random = np.random.default_rng(0)
        with soundfile.SoundFile(hour, "w", rate_hz, 1, "PCM_16") as file:
            for _ in range(60):
                file.write(0.05 * random.standard_normal(rate_hz * 60, dtype=np.float32))
    digest = hashlib.sha256(hour.read_bytes()).hexdigest()
    rows = []
    for i in range(n_hours):
        path = folder / f"hours-{n_hours}" / f"{i:02d}.wav"
        path.parent.mkdir(exist_ok=True)
        path.hardlink_to(hour)
        start = (pd.Timestamp("2021-06-01") + pd.Timedelta(hours=i)).to_pydatetime()
        rows.append({
            "path": f"hours-{n_hours}/{i:02d}.wav", "recorder": "a", "start_utc": start, "duration_s": 3600.0,
            "sample_rate_hz": rate_hz, "n_channels": 1, "n_samples": rate_hz * 3600, "format": "WAV/PCM_16",
            "sha256": digest, "reading": "libsndfile",
        })  # fmt: skip
    write_recordings(make_recordings(rows), folder / f"hours-{n_hours}.csv")
    manifest = folder / f"hours-{n_hours}.toml"
    manifest.write_text(
        f'lake = "lake-{n_hours}"\nrecordings = {{ table = "hours-{n_hours}.csv", root = "." }}\n'
        f'[runs.mels]\njob = "spectrograms"\nconfig = {{ {config} }}\n',
        encoding="utf-8",
    )
    return manifest


def main() -> None:
    """Measure and report."""
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        for n_hours in HOURS:
            manifest = write_study(Path(name), n_hours, "window_s = 6.0, hop_s = 6.0")
            run = cast("Run[Config]", read_manifest(manifest).runs["mels"])
            told_bytes = task_bytes(missing_days(SPECTROGRAMS.plan(run), run.ledger.written()), run.config)
            peaks[n_hours] = peak_of(["-m", "jobs", "run", str(manifest), "--workers", "1"])
    first, last = (peaks[n_hours] for n_hours in HOURS)
    report("memory", [
        Figure("worker and children, 1 h", first.tree_bytes / 1e6, "MB"),
        Figure("worker and children, 4 h", last.tree_bytes / 1e6, "MB", "1 h", first.tree_bytes / last.tree_bytes),
        Figure("largest process, 1 h", first.largest_bytes / 1e6, "MB"),
        Figure("largest process, 4 h", last.largest_bytes / 1e6, "MB", "1 h", first.largest_bytes / last.largest_bytes),
        Figure("what a plan allows for", told_bytes / 1e6, "MB", "4 h", told_bytes / last.tree_bytes),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
