"""One recorder's day out of 2.2 million windows: by a library call on an open store, and from the shell."""

import datetime
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from benchmarks.report import FOLDER, Figure, report
from benchmarks.studies import PER_DAY, embedding_run
from lake.find import Wanted, find
from lake.query import open_any
from lake.read import open_array

N_WINDOWS, N_FEATURES, N_RECORDERS = 2_200_000, 384, 9
ROUNDS = 7

NEAREST = """
import json, sys, time
from pathlib import Path
from lake.similar import similar
began = time.perf_counter()
similar(sys.argv[1], "recorder 4", "2021-05-02T05:00:00", normalise=sys.argv[2])
seconds = time.perf_counter() - began
kilobytes = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(json.dumps({"seconds": seconds, "kilobytes": kilobytes}))
"""


NEAREST_WAYS = {"as stored": "none", "whitened for the first time": "whiten", "whitening kept": "whiten"}


def timed(function: Callable[[], Any]) -> float:
    """Return seconds."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def read_bytes(
    array: zarr.Array[Any], status: zarr.Array[Any], recorder: int, day: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read with zarr alone what the answer is made of."""
    cells = slice(day * PER_DAY, (day + 1) * PER_DAY)
    return np.asarray(array[recorder, cells]), np.asarray(status[recorder, cells])


def nearest_windows(url: str, normalise: str) -> dict[str, float]:
    """Return seconds and largest resident size of one search for the nearest windows, in a process of its own."""
    words = [sys.executable, "-c", NEAREST, url, normalise]
    found = subprocess.run(words, check=True, capture_output=True, text=True)
    return dict(json.loads(found.stdout))


def main() -> None:
    """Measure and report."""
    lake = FOLDER / "query-lake"
    shutil.rmtree(lake, ignore_errors=True)
    run = embedding_run(lake, "vectors", n_windows=N_WINDOWS, n_features=N_FEATURES, n_recorders=N_RECORDERS, n_base=3)
    url = run.output.url
    store, array, status = open_any(url), open_array(url, "embedding"), open_array(url, "embedding_status")
    facts, vectors, bare = [], [], []
    for i in range(ROUNDS):
        day = datetime.date(2021, 5, 3 + i)
        wanted = Wanted((f"recorder {i}",), dates=(day, day))
        facts.append(timed(partial(find, store, wanted)))
        bare.append(timed(partial(read_bytes, array, status, i, 2 + i)))
        vectors.append(timed(partial(find, store, wanted, features=True)))
    words = [sys.executable, "-m", "jobs", "query", url, "--recorder", "recorder 4", "--date", "2021-05-06"]
    out = ["--features", "--out", str(lake / "day.parquet")]
    shell = [timed(lambda: subprocess.run(words, check=True, capture_output=True)) for _ in range(3)]
    parquet = [timed(lambda: subprocess.run([*words, *out], check=True, capture_output=True)) for _ in range(3)]
    nearest = {what: nearest_windows(url, normalise) for what, normalise in NEAREST_WAYS.items()}
    shutil.rmtree(Path(lake))
    day_ms, read_ms, full_ms = (1000 * median(seconds) for seconds in (facts, bare, vectors))
    report(
        "query",
        [
            Figure("recorder-day, table of windows", day_ms, "ms", "100 ms", 100 / day_ms),
            Figure(
                "recorder-day, with its vectors", full_ms, "ms", f"zarr reads it in {read_ms:.0f} ms", read_ms / full_ms
            ),
            Figure("recorder-day from the shell, CSV", median(shell), "s", "3 s", 3 / median(shell)),
            Figure("recorder-day from the shell, vectors, Parquet", median(parquet), "s", "3 s", 3 / median(parquet)),
            *(
                figure
                for what, found in nearest.items()
                for figure in (
                    Figure(f"20 nearest of 2.2 million windows, {what}", found["seconds"], "s"),
                    Figure(f"largest resident size, {what}", found["kilobytes"] / 1e6, "GB"),
                )
            ),
        ],
    )


if __name__ == "__main__":
    main()
