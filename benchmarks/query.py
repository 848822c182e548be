"""Queries and searches of 2.2 million windows: by library calls on an open store, and from the shell."""

import datetime
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from benchmarks.report import FOLDER, Figure, report
from benchmarks.studies import PER_DAY, embedding_run
from lake.query.find import Wanted, find
from lake.query.index import FOLDER as CODES
from lake.query.select import open_any
from lake.read import open_array

N_WINDOWS, N_RECORDERS = 2_200_000, 9
N_OF_QUERY, N_OF_SEARCH = 384, 512
"""Features of the vectors that are queried (three days that stand for all), and that are searched (all different)."""
N_GROWN = 9 * 7_200
"""Windows by which the store grows, half a day of each recorder."""
ROUNDS = 7
LIMITS = {"warm": 2.0, "shell": 5.0, "index": 1.2}
"""Seconds of a search of an opened store and from the shell, and gigabytes of the index, at most."""

SEARCH = """
import json, sys, time
from pathlib import Path
from lake.query.similar import open_search
url, normalise, index, n = sys.argv[1], sys.argv[2], sys.argv[3] == "index", int(sys.argv[4])
times = [time.perf_counter()]
search = open_search(url, normalise=normalise, index=index)
for i in range(n):
    times.append(time.perf_counter())
    search.near_window(f"recorder {i % 9}", "2021-05-01T05:00:00")
times.append(time.perf_counter())
kilobytes = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(json.dumps({"seconds": [b - a for a, b in zip(times, times[1:])], "gigabytes": kilobytes / 1e6}))
"""


def timed(function: Callable[[], Any]) -> float:
    """Return seconds."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def shell(*words: str) -> float:
    """Return seconds of a command."""
    command = [sys.executable, "-m", "jobs", *words]
    return timed(lambda: subprocess.run(command, check=True, capture_output=True))


def read_bytes(
    array: zarr.Array[Any], status: zarr.Array[Any], recorder: int, day: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read with zarr alone what the answer is made of."""
    cells = slice(day * PER_DAY, (day + 1) * PER_DAY)
    return np.asarray(array[recorder, cells]), np.asarray(status[recorder, cells])


def query_figures(lake: Path) -> list[Figure]:
    """Return what a recorder's day takes."""
    run = embedding_run(lake, "vectors", n_windows=N_WINDOWS, n_features=N_OF_QUERY, n_recorders=N_RECORDERS, n_base=3)
    url = run.output.url
    store, array, status = open_any(url), open_array(url, "embedding"), open_array(url, "embedding_status")
    facts, vectors, bare = [], [], []
    for i in range(ROUNDS):
        day = datetime.date(2021, 5, 3 + i)
        wanted = Wanted((f"recorder {i}",), dates=(day, day))
        facts.append(timed(partial(find, store, wanted)))
        bare.append(timed(partial(read_bytes, array, status, i, 2 + i)))
        vectors.append(timed(partial(find, store, wanted, features=True)))
    words = ["query", url, "--recorder", "recorder 4", "--date", "2021-05-06"]
    csv = median(shell(*words) for _ in range(3))
    parquet = median(shell(*words, "--features", "--out", str(lake / "day.parquet"), "--force") for _ in range(3))
    day_ms, read_ms, full_ms = (1000 * median(seconds) for seconds in (facts, bare, vectors))
    read = f"zarr reads it in {read_ms:.0f} ms"
    return [
        Figure("recorder-day, table of windows", day_ms, "ms", "100 ms", 100 / day_ms),
        Figure("recorder-day, with its vectors", full_ms, "ms", read, read_ms / full_ms),
        Figure("recorder-day from the shell, CSV", csv, "s", "3 s", 3 / csv),
        Figure("recorder-day from the shell, vectors, Parquet", parquet, "s", "3 s", 3 / parquet),
    ]


def search(url: str, normalise: str, index: str, n: int) -> tuple[list[float], float]:
    """Return the seconds of opening and of n searches in a process of its own, and its largest resident size in GB."""
    words = [sys.executable, "-c", SEARCH, url, normalise, index, str(n)]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found["seconds"], found["gigabytes"]


def limited(name: str, value: float, unit: str, limit: float) -> Figure:
    """Return a figure with its upper bound."""
    return Figure(name, value, unit, f"{limit:g} {unit}: {'pass' if value <= limit else 'miss'}", limit / value)


def search_figures(lake: Path) -> list[Figure]:
    """Return what searches take, without the index and through it, and what the index takes."""
    make = partial(embedding_run, lake, "vectors", n_features=N_OF_SEARCH, n_recorders=N_RECORDERS, dtype="float16")
    url = make(n_windows=N_WINDOWS - N_GROWN).output.url
    search(url, "none", "index", 1)
    before = {path: path.stat().st_mtime_ns for path in (lake / CODES).rglob("*.codes")}
    make(n_windows=N_WINDOWS)
    (_, grown), _ = search(url, "none", "index", 1)
    kept = sum(path.exists() and path.stat().st_mtime_ns == when for path, when in before.items())
    coded = f"{len(before) - kept} of {len(before)} days coded again"
    figures = [Figure(f"20 nearest, as stored, {N_GROWN} windows later", grown, "s", coded)]
    for normalise, name in (("none", "as stored"), ("whiten", "whitened")):
        if normalise == "whiten":
            (opened, _), _ = search(url, normalise, "plain", 1)
            figures.append(Figure("whitening of all windows, once", opened, "s"))
        shutil.rmtree(lake / CODES)
        (_, plain), plain_gb = search(url, normalise, "plain", 1)
        (_, first), _ = search(url, normalise, "index", 1)
        (opened, *warm), gigabytes = search(url, normalise, "index", ROUNDS)
        words = ("similar", url, "--recorder", "recorder 4", "--time", "2021-05-01T05:00:00", "--normalise", normalise)
        typed = median(shell(*words) for _ in range(3))
        usual, beside = median(warm), f"{plain:.3g} s without"
        figures += [
            Figure(f"20 nearest, {name}, all compared", plain, "s", f"{plain_gb:.2f} GB"),
            Figure(f"20 nearest, {name}, all compared and the index built", first, "s", beside, plain / first),
            limited(f"20 nearest, {name}, opened store, slowest of {ROUNDS}", max(warm), "s", LIMITS["warm"]),
            Figure(f"20 nearest, {name}, opened store, median", usual, "s", beside, plain / usual),
            Figure(f"opening, {name}", opened, "s", f"{gigabytes:.2f} GB, the index's pages among them"),
            limited(f"20 nearest, {name}, from the shell", typed, "s", LIMITS["shell"]),
            Figure(f"searches after which the index has paid, {name}", (first - plain) / (plain - usual), ""),
        ]
    return [*figures, limited("index", size_of(lake / CODES) / 1e9, "GB", LIMITS["index"])]


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(parts: Sequence[str]) -> None:
    """Measure and report, all or the parts that are named: query, search."""
    figures: list[Figure] = []
    for name, measure in (("query", query_figures), ("search", search_figures)):
        if not parts or name in parts:
            lake = FOLDER / f"{name}-lake"
            shutil.rmtree(lake, ignore_errors=True)
            figures += measure(lake)
            shutil.rmtree(lake)
    report("query", figures)


if __name__ == "__main__":
    main(sys.argv[1:])
