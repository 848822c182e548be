"""Measure seconds and memory of the commands on a cube of 2.2 million windows, laid out as `run` does, of small codes.

    python -m benchmarks.large

Nine recorders record 17 days in files of an hour, windows of 6 s in shards of 100: 22,000 shards. Their codes and their
sound are links to one file each; the table of recordings, the ledger and the index are of the real size. The last
shards of each recorder are left for `run`, which is killed once and typed again.
"""

import hashlib
import os
import shutil
import sys
import wave
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import numpy as np
import pandas as pd

from benchmarks.processes import measured
from benchmarks.report import FOLDER, Figure, report
from jobs.common.network.devices import backend_of
from jobs.common.run import Run
from jobs.runner.manifest import read_manifest
from jobs.spectrograms.command import SPECTROGRAMS
from jobs.spectrograms.config import Config
from lake.blocks import block_key
from lake.constants import STATUS
from lake.ledger import Entry
from lake.recordings import make_recordings, write_recordings
from lake.schema import RECORDING_COLUMNS, cube_spec
from lake.write import write_block

N_RECORDERS, N_DAYS, RATE_HZ = 9, 17, 8_000
MOST_S, MOST_GB, KILLED_AFTER_S = 30.0, 1.0, 15.0
MANIFEST: Final = """lake = "{lake}"
recordings = {{ table = "recordings.csv", root = "audio" }}
[runs.mels]
job = "spectrograms"
config = {{ window_s = 6.0, hop_s = 6.0, n_mels = 8, n_frames = 8, f_min_hz = 100.0, f_max_hz = 3600.0 }}
"""
N_LEFT: Final = 5
"""Shards of each recorder that are left for ``run``."""


def write_study(folder: Path, n_days: int = N_DAYS, lake: str = "lake", *, hours: int = 24) -> Path:
    """Write some hours of each day, links to one of quiet noise, their table and a manifest; return its path."""
    audio = folder / "audio"
    audio.mkdir(parents=True)
    samples = np.random.default_rng(0).integers(-400, 400, RATE_HZ * 3600, dtype="<i2")
    with wave.open(str(folder / "hour.wav"), "wb") as file:
        file.setparams((1, 2, RATE_HZ, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())
    digest, rows = hashlib.sha256((folder / "hour.wav").read_bytes()).hexdigest(), []
    for recorder in range(N_RECORDERS):
        for hour in (24 * day + hour for day in range(n_days) for hour in range(hours)):
            path = f"R{recorder}/{hour:04d}.wav"
            (audio / path).parent.mkdir(exist_ok=True)
            (audio / path).hardlink_to(folder / "hour.wav")
            rows.append({
                "path": path, "recorder": f"R{recorder}", "duration_s": 3600.0, "sample_rate_hz": RATE_HZ,
                "start_utc": (pd.Timestamp("2021-06-01") + pd.Timedelta(hours=hour)).to_pydatetime(),
                "n_channels": 1, "n_samples": len(samples), "format": "WAV/PCM_16", "sha256": digest,
                "reading": "libsndfile",
            })  # fmt: skip
    write_recordings(make_recordings(rows), folder / "recordings.csv")
    manifest = folder / "study.toml"
    manifest.write_text(MANIFEST.format(lake=lake), encoding="utf-8")
    return manifest


def write_days(run: Run[Config]) -> int:
    """Write a cube but for the last shards of each recorder and the index, all shards alike; return its windows."""
    plan = SPECTROGRAMS.plan(run)
    run.ledger.open_run(run.name, run.record)
    run.ledger.settle_grid(plan.grid, plan.recorders)
    size = run.config.n_mels, run.config.n_frames
    spec = cube_spec(plan.grid, n_mels=size[0], n_frames=size[1], cells_per_shard=run.config.cells_per_shard, attrs={})
    (array,), backend = spec.data, backend_of("cpu")
    n = array.block[1]
    codes = np.random.default_rng(0).integers(60, 120, array.block, dtype=np.uint8)
    fact = {
        "status": STATUS["ok"], "quality": 0, "recording": 0, "offset_s": 0.0, "coverage": 1.0, "level_db": -40.0,
        "peak_db": -20.0, "deployment": -1, "utc_offset_s": None,
    }  # fmt: skip
    last = max(block.number for block in plan.blocks)
    first: Entry | None = None
    for block in plan.blocks:
        if len(block.cells) < n or block.number > last - N_LEFT:
            continue
        row = {key: getattr(block.segments[0].recording, key) for key, _ in RECORDING_COLUMNS.values()}
        i_recorder, index = plan.recorders.index(block.recorder), {name: [value] * n for name, value in fact.items()}
        entry = Entry(
            block.recorder, block.number, block.inputs, {}, list(block.cells), [], index, [row], backend=backend
        )
        if first is None:
            first = write_block(run.output, run.ledger, spec, {array.name: codes}, entry, i_recorder=i_recorder)
            continue
        (source, digest), key = *first.files.items(), block_key(array, (i_recorder, block.number, 0, 0))
        if run.output.is_local:
            os.link(run.output.path(source), run.output.path(key))
        else:
            run.output.write(key, run.output.read(source))
        day = plan.grid.day_of(block.cells[0])
        run.ledger.add(day, replace(entry, digests=first.digests, files={key: digest}))
    return sum(len(block.cells) for block in plan.blocks)


def figures_of(folder: Path) -> list[Figure]:
    """Return what each command takes, with its bounds."""
    dawn, log = str(Path(sys.executable).with_name("dawnchorus")), folder / "commands.log"
    run = [dawn, "run", "study.toml"]
    found = []
    for name, words, kill_after_s in (
        ("status", [dawn, "status", "study.toml"], None),
        ("run --dry-run", [*run, "--dry-run"], None),
        ("run, killed", run, KILLED_AFTER_S),
        ("run, resumed and finalised", run, None),
        ("status, when all is done", [dawn, "status", "study.toml"], None),
        ("run, nothing to do", run, None),
        ("verify", [dawn, "verify", "study.toml"], None),
    ):
        cost = measured(words, folder, log, kill_after_s=kill_after_s)
        if kill_after_s is not None:
            found.append(Figure(name, cost.seconds, "s", f"exit code {cost.code}"))
            continue
        if cost.code:
            raise SystemExit(f"{name}: exit code {cost.code}; see {log}")
        gigabytes = cost.peak_bytes / 1e9
        note = f"{cost.cpu_s:.1f} CPU-s; at most {MOST_S:g} s: {'pass' if cost.seconds <= MOST_S else 'MISS'}"
        found.append(Figure(name, cost.seconds, "s", note, MOST_S / cost.seconds))
        note = f"at most {MOST_GB:g} GB: {'pass' if gigabytes <= MOST_GB else 'MISS'}"
        found.append(Figure(f"{name}, memory", gigabytes, "GB", note, MOST_GB / gigabytes))
        print(found[-2], found[-1], flush=True)
    return found


def main() -> None:
    """Make the cube, measure, report and remove it."""
    folder = FOLDER / "large"
    shutil.rmtree(folder, ignore_errors=True)
    run = cast("Run[Config]", read_manifest(write_study(folder)).runs["mels"])
    n_windows = write_days(run)
    report("large", [Figure("windows", n_windows, ""), *figures_of(folder)])
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
