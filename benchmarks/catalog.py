"""Catalog: time and memory a file, from 1,000 files to 100,000, first and second run; beside reading them once.

``python -m benchmarks.catalog [SIZE …]``. The files are WAVs of 64 samples under five recorders' names, so what is
measured is what a file costs besides its bytes. The peer is the least that anyone must do: find the files, read each
once, and digest it, in one thread of the same Python, in rounds beside ours.
"""

import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.report import Figure, report

SIZES = (1_000, 10_000, 100_000)
FIRST = datetime(2021, 6, 22)
WORKERS = 2

_RUN = """
import json, sys, time
from pathlib import Path
from jobs.catalog.command import run_catalog
began = time.perf_counter()
facts = run_catalog([Path(sys.argv[1])], Path(sys.argv[2]), zones={{}}, workers={workers})
took_s = time.perf_counter() - began
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(json.dumps({{"n_files": facts["n_files"], "n_placed": facts["n_placed"], "took_s": took_s, "peak_kib": peak}}))
"""


def make_files(folder: Path, n_files: int) -> None:
    """Write files of 172 bytes, each with other samples, one a minute for each of five recorders."""
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 128, b"WAVE", b"fmt ", 16, 1, 1, 24_000, 48_000, 2, 16, b"data", 128
    )
    for i in range(n_files):
        at = FIRST + timedelta(minutes=i // 5)
        day = folder / f"0002370{i % 5}" / f"{at:%Y%m%d}_STUDY"
        day.mkdir(parents=True, exist_ok=True)
        samples = hashlib.sha256(i.to_bytes(8, "little")).digest() * 4
        (day / f"{at:%Y%m%dT%H%M%S}-0500_REC.wav").write_bytes(head + samples)


def catalogued(folder: Path, out: Path) -> dict[str, float]:
    """Catalogue a folder in a process of its own; return its time in seconds and its peak memory in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN.format(workers=WORKERS), str(folder), str(out)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def read_once(folder: Path) -> float:
    """Return the seconds that finding, reading and digesting all files takes."""
    began = time.perf_counter()
    digests: set[str] = set()
    for parent, _, names in os.walk(folder):
        digests.update(hashlib.sha256(Path(parent, name).read_bytes()).hexdigest() for name in names)
    return time.perf_counter() - began


def main() -> None:
    """Measure each size, first with nothing known and then unchanged, and report."""
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    figures = []
    for n_files in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            folder, out = Path(scratch, "audio"), Path(scratch, "recordings.csv")
            make_files(folder, n_files)
            peer_s = read_once(folder)
            first = catalogued(folder, out)
            peer_s = min(peer_s, read_once(folder))
            again = catalogued(folder, out)
            if first["n_placed"] != n_files or again["n_files"] != n_files:
                raise SystemExit(f"expected {n_files} recordings in the table, found {first}, then {again}")
        figures += [
            Figure(f"first run, {n_files} files", 1e3 * first["took_s"] / n_files, "ms/file",
                   f"reading once: {1e3 * peer_s / n_files:.3f} ms/file", peer_s / first["took_s"]),
            Figure(f"second run, {n_files} files", again["took_s"], "s"),
            Figure(f"peak memory, {n_files} files", first["peak_kib"] / 1024, "MiB"),
        ]  # fmt: skip
    report("catalog", figures)


if __name__ == "__main__":
    main()
