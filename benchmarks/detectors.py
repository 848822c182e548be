"""Time to learn the heads of 40 sounds, and to score every window: ``make bench-detectors``.

230,259 windows of 384 features; 200 verdicts a sound, each on windows of its own, and 2,000 windows that nobody judged;
two threads. Scoring is compared with reading the same vectors, and with its parts by themselves.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from threadpoolctl import threadpool_limits
from zarr.codecs import ZstdCodec

from benchmarks.atlas_large import N_WINDOWS
from benchmarks.report import Figure, report
from benchmarks.studies import PER_DAY, embedding_run
from jobs.common.config import identity_config
from jobs.common.heads import Heads, read_heads
from jobs.common.run import Options, Run
from jobs.detect import command as detect
from jobs.detect.config import Config as DetectConfig
from jobs.learn import command as learn
from jobs.learn.config import Config as LearnConfig
from jobs.review.sources import read_windows, windows_of
from lake.identity import config_id
from lake.layout import Lake
from lake.read import open_detections
from lake.scaling import scaled
from lake.shards import ZSTD_LEVEL
from lake.tables import make_table
from lake.vectors import VectorSets, open_vectors, read_span
from lake.verdicts import COLUMNS, add_verdicts

N_FEATURES: Final = 384
N_SOUNDS: Final = 40
N_VERDICTS: Final = 200
N_RECORDERS: Final = 9
SHARE: Final = 0.2
"""Of windows that hold a sound."""
LEARN_S: Final = 30.0
SLOWER: Final = 1.25
"""Scoring may take so many times what reading takes, to be as fast."""
ROUNDS: Final = 3
KINDS: Final = {"learn": "models", "detect": "detections"}
OPTIONS: Final = Options(workers=2)


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory(prefix="bench-detectors-") as name:
        report("detectors", figures(Path(name)))


def figures(lake: Path) -> list[Figure]:
    """Return how long learning and scoring take, each with its bar."""
    vectors = embedding_run(lake, "vectors", n_windows=N_WINDOWS, n_features=N_FEATURES, n_recorders=N_RECORDERS)
    sets = open_vectors([vectors.output.url])
    judge(vectors.lake, sets)
    heads = run_of(lake, "heads", "learn", LearnConfig(), {"embeddings": vectors})
    learn_s = seconds(lambda: learn.execute(heads, OPTIONS))
    read_s = median(seconds(lambda: read_all(sets)) for _ in range(ROUNDS))
    scale_s = median(seconds(partial(scale_all, read_heads(heads.output.url), sets)) for _ in range(ROUNDS)) - read_s
    each = []
    for i in range(ROUNDS):
        inputs = {"embeddings": vectors, "heads": heads}
        found = run_of(lake, f"found-{i}", "detect", DetectConfig(), inputs)
        each.append(seconds(partial(detect.execute, found, OPTIONS)))
    with open_detections(found.output.url) as store:
        assert store.sizes["sound"] == N_SOUNDS, "no sound was refused"
        store.load()
        write_s = median(seconds(partial(write_all, lake / f"plain-{i}.zarr", store)) for i in range(ROUNDS))
    detect_s, least_s = median(each), read_s + scale_s + write_s
    return [
        Figure(f"heads of {N_SOUNDS} sounds", learn_s, "s", f"{LEARN_S:g} s wanted: {_passed(learn_s <= LEARN_S)}",
               LEARN_S / learn_s),
        Figure(f"scores of {N_SOUNDS} sounds, {N_WINDOWS:,} windows", detect_s, "s",
               f"reading the vectors {read_s:.2f} s: {_passed(detect_s <= SLOWER * read_s)}", read_s / detect_s),
        Figure("the same, its parts by themselves on one thread", least_s, "s",
               f"read {read_s:.2f} s, whiten {scale_s:.2f} s, write by zarr {write_s:.2f} s", least_s / detect_s),
        Figure("scores", N_WINDOWS / detect_s, "windows/s"),
    ]  # fmt: skip


def judge(lake: Lake, sets: VectorSets) -> None:
    """Add verdicts on random windows: a sound is where the vector is far along a direction of its own."""
    random = np.random.default_rng(0)
    windows = windows_of(sets)
    rows: list[dict[str, Any]] = []
    for i in range(N_SOUNDS):
        some = windows.take(np.sort(random.choice(len(windows), N_VERDICTS, replace=False)))
        along = read_windows(sets, some) @ random.normal(size=sum(sets.n_features))
        is_yes = along > np.quantile(along, 1 - SHARE)
        times = [pd.Timestamp(sets.grid.start_ms(int(cell)), unit="ms") for cell in some.cell]
        rows += [
            {
                "recorder": sets.recorders[recorder], "time_utc": begin,
                "duration_s": sets.grid.window_ms / 1000, "sound": f"sound {i:02d}", "verdict": "yes" if yes else "no",
                "reviewer": "bench", "decided_at": pd.Timestamp("2021-07-01"), "seconds": 1.0, "batch": "",
                "draw": pd.NA, "recording": "", "offset_s": 0.0, "digest": "", "source": "",
            }
            for recorder, begin, yes in zip(some.recorder, times, is_yes, strict=True)
        ]  # fmt: skip
    add_verdicts(lake, make_table(rows, COLUMNS))


def run_of(lake: Path, name: str, job: str, config: LearnConfig | DetectConfig, inputs: dict[str, Run]) -> Run[Any]:
    """Return a run that is not executed."""
    kind = KINDS[job]
    identity = config_id(job, 1, identity_config(config), {role: one.config_id for role, one in inputs.items()})
    run = Run(Lake(str(lake)), name, job, kind, config, 1, identity, inputs)
    run.ledger.open_run(name, run.record)
    return run


def read_all(sets: VectorSets) -> None:
    """Read every vector, one part after the other."""
    for span in sets.spans:
        read_span(sets, span)


def scale_all(heads: Heads, sets: VectorSets) -> None:
    """Read every vector and scale it as the heads want it."""
    with threadpool_limits(1):
        for span in sets.spans:
            scaled(read_span(sets, span), heads.scaling)


def write_all(folder: Path, store: xr.Dataset) -> None:
    """Write the scores and probabilities of a store with zarr alone, in shards of a day, from memory."""
    group = zarr.create_group(folder)
    for name in ("score", "probability"):
        values = store[name].to_numpy()
        shards = (1, PER_DAY, values.shape[2])
        array = group.create_array(
            name, shape=values.shape, dtype="float32", chunks=(*shards[:2], 1), shards=shards, fill_value=np.nan,
            compressors=ZstdCodec(level=ZSTD_LEVEL, checksum=True),
        )  # fmt: skip
        array[...] = values


def seconds(function: Callable[[], object]) -> float:
    """Return the seconds that a function takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _passed(is_so: bool) -> str:
    return "pass" if is_so else "miss"


if __name__ == "__main__":
    main()
