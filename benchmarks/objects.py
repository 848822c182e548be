"""A cube of many objects in a local S3 server: seconds and requests of its commands, against the number of objects.

    python -m benchmarks.objects            # 1, 2, 4 and 8 days of nine recorders: 20,700 objects at 8

The server is moto, one process on loopback, which keeps objects in memory: requests are what a service would see,
seconds are not. The windows are those of `benchmarks.large`.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, cast

import fsspec.config
import s3fs

from benchmarks.large import write_days, write_study
from benchmarks.processes import measured
from benchmarks.report import FOLDER, Figure, report
from jobs.common.run import Run
from jobs.runner.manifest import read_manifest
from jobs.spectrograms.config import Config

PORT: Final = 5_333
URL: Final = f"http://127.0.0.1:{PORT}"
KEYS: Final = {
    "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
    "FSSPEC_S3_ENDPOINT_URL": URL,
}  # fmt: skip
LINEAR: Final = 1.2
"""Most by which the requests for each window may grow from the smallest cube to the largest."""


def requests(log: Path) -> int:
    """Return how many requests the server has answered."""
    return len(re.findall(r'"(?:GET|PUT|HEAD|POST|DELETE) ', log.read_text(encoding="utf-8", errors="replace")))


def figures_of(folder: Path, n_days: int, log: Path) -> dict[str, tuple[float, float]]:
    """Return seconds and requests of each command by name, for a cube of some days; ``objects`` are its objects."""
    bucket = f"bucket-{n_days}"
    s3fs.S3FileSystem().mkdir(bucket)
    manifest = write_study(folder, n_days, f"s3://{bucket}/lake")
    n_windows = write_days(cast("Run[Config]", read_manifest(manifest).runs["mels"]))
    found: dict[str, tuple[float, float]] = {"windows": (0, n_windows)}
    dawn = str(Path(sys.executable).with_name("dawnchorus"))
    for name, words in (
        ("status", [dawn, "status", "study.toml"]),
        ("resume and finalise", [dawn, "run", "study.toml"]),
        ("verify", [dawn, "verify", "study.toml"]),
    ):
        before = requests(log)
        cost = measured(words, folder, folder / "commands.log")
        if cost.code:
            raise SystemExit(f"{name}: exit code {cost.code}; see {folder}/commands.log")
        found[name] = cost.seconds, requests(log) - before
        print(n_days, name, found[name], flush=True)
        if name == "status":
            found["objects"] = 0, len(s3fs.S3FileSystem(use_listings_cache=False).find(f"{bucket}/lake"))
    return found


def main(days: list[int]) -> None:
    """Measure and report."""
    folder = FOLDER / "objects"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ.update(KEYS)
    fsspec.config.set_conf_env(fsspec.config.conf)
    log = folder / "server.log"
    server = str(Path(sys.executable).with_name("moto_server"))
    with (
        log.open("wb") as out,
        subprocess.Popen([server, "-H", "127.0.0.1", "-p", str(PORT)], stdout=out, stderr=out) as process,
    ):
        try:
            while not requests(log) and process.poll() is None:
                time.sleep(0.5)
                subprocess.run(
                    [sys.executable, "-c", f"import urllib.request as r; r.urlopen('{URL}/moto-api/')"],
                    check=False,
                    stderr=subprocess.DEVNULL,
                )
            found = {n_days: figures_of(folder / str(n_days), n_days, log) for n_days in days}
        finally:
            process.kill()
    figures, (small, large) = [], (found[min(days)], found[max(days)])
    for n_days, one in found.items():
        figures.append(Figure(f"{n_days} days, objects", one["objects"][1], "", f"{one['windows'][1]:,.0f} windows"))
        for name, (seconds, n) in one.items():
            if seconds:
                each = n / one["windows"][1]
                figures.append(
                    Figure(f"{n_days} days, {name}", seconds, "s", f"{n:,.0f} requests, {each:.4f} a window")
                )
    for name in ("status", "resume and finalise", "verify"):
        growth = large[name][1] / large["windows"][1] / (small[name][1] / small["windows"][1])
        says = f"at most {LINEAR:g}: {'pass' if growth <= LINEAR else 'MISS'}"
        figures.append(Figure(f"{name}: requests a window, {max(days)} days against {min(days)}", growth, "", says))
    report("objects", figures)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1, 2, 4, 8])
