"""The atlas of as many windows as the paper had: how long it takes, its memory, its page, and its map in motion."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import Page

from benchmarks.report import Figure
from jobs.atlas.command import execute
from jobs.atlas.config import Config
from jobs.common.run import Options, Run

N_WINDOWS, N_FEATURES, N_CLUSTERS = 230_259, 384, 100
N_RECORDERS, N_DAYS, CELLS_PER_DAY = 10, 16, 1440
SIZE = (8, 16)
"""Mel bands and frames; reading and drawing large windows is what the other study measures."""
MANY_DOTS = 100_000
FRAME_MS = """(n) => new Promise((resolve) => {
    const found = [];
    const step = (before) => requestAnimationFrame((now) => {
        if (before !== null) found.push(now - before);
        if (found.length === n) return resolve(found);
        if (found.length % 2) zoomAt(found.length % 4 === 1 ? 3 : 1 / 3, 300, 200);
        else moveBy(found.length % 4 ? 30 : -30, 20);
        step(now);
    });
    step(null);
})"""
PAINT_MS = (
    "(n) => Array.from({ length: n }, () => { const t = performance.now(); paint(); return performance.now() - t; })"
)
MORE_DOTS = """(n) => {
    const map = state.map, times = Math.ceil(n / map.cluster.length);
    const more = (list, each) => Array(times).fill(list).flat().slice(0, each * n);
    for (const key of ['cluster', 'recorder', 'hour', 'day']) map[key] = more(map[key], 1);
    for (const one of map.layouts) one.places = more(one.places, 2).map((place) => place + Math.random() * 300);
    drawMap();
}"""


def study(lake: Path) -> Run[Config]:
    """Write 230,259 windows of 10 recorders and 16 days, a minute apart: a small cube, 384 features, 100 clusters."""
    import stores  # noqa: PLC0415 (the tests' builders, on the path of who calls this)

    random = np.random.default_rng(0)
    shape = (N_RECORDERS, N_DAYS * CELLS_PER_DAY)
    there = (np.arange(shape[0] * shape[1]) < N_WINDOWS).reshape(shape)
    hour = np.arange(shape[1]) // 60 % 24
    wanted = (4 * hour + random.integers(0, 40, shape)) % N_CLUSTERS  # each has hours of its own
    labels = np.where(there, wanted, -1)
    codes = random.integers(60, 120, (*shape, *SIZE), dtype=np.uint8)
    codes[~there] = 0
    cube = stores.make_cube(
        lake, codes, recorders=[f"recorder {i}" for i in range(N_RECORDERS)], hop_s=60.0, shard_windows=CELLS_PER_DAY
    )
    del codes
    centres = random.normal(size=(N_CLUSTERS, N_FEATURES)).astype(np.float32)
    vectors = random.standard_normal((*shape, N_FEATURES), dtype=np.float32)
    for i in range(N_RECORDERS):
        vectors[i] += centres[labels[i]]
    vectors[~there] = np.nan
    embeddings = stores.make_embeddings(lake, vectors, cube=cube)
    del vectors
    clusters = stores.make_clusters(lake, labels, n_exemplars=6, embeddings=embeddings)
    return stores.make_run(lake, "atlas", "atlas", Config(), inputs={"clusters": clusters, "spectrograms": cube})


def made(run: Run[Config]) -> tuple[float, int, int]:
    """Make the atlas in a process of its own; return seconds, peak memory and the folder's size in bytes."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_made, run).result()


def _made(run: Run[Config]) -> tuple[float, int, int]:
    began = time.monotonic()
    outcome = execute(run, Options(workers=2))
    took_s = time.monotonic() - began
    # Not ru_maxrss, which begins with what the parent had.
    kilobytes = int(Path("/proc/self/status").read_text(encoding="ascii").split("VmHWM:")[1].split()[0])
    return took_s, kilobytes * 1024, outcome.counts["bytes"]


def figures(run: Run[Config]) -> list[Figure]:
    """Make the atlas of a large study and return what that took."""
    took_s, peak_bytes, n_bytes = made(run)
    first = sum((Path(run.output.url) / name).stat().st_size for name in ("index.html", "data.js"))
    listed = sum(path.stat().st_size for path in (Path(run.output.url) / "members").iterdir())
    return [
        Figure(f"atlas of {N_WINDOWS:,} windows, to make it, two threads", took_s, "s"),
        Figure("its peak memory", peak_bytes / 1e9, "GB"),
        Figure("its folder", n_bytes / 1e6, "MB"),
        Figure("of it what is read before anything is seen", first / 1e6, "MB"),
        Figure("of it the lists of all windows", listed / 1e6, "MB"),
    ]


LOAD_MS = """async (id) => {
    members.loaded.delete(id);
    const began = performance.now();
    await membersOf(id);
    return performance.now() - began;
}"""
CHOOSE_MS = """(n) => Array.from({ length: n }, () => {
    const began = performance.now(), from = '22', to = '4', order = 'hour';
    chosenRows(members.at.all, { recorder: '', site: '', from, to, since: '', until: '', order });
    return performance.now() - began;
})"""


def listing(page: Page) -> list[Figure]:
    """Return how long the windows of an open page's largest cluster take to be loaded, filtered and sorted."""
    number, n = page.evaluate("state.data.clusters[0]")
    page.evaluate(f"location.hash = '#cluster-{number}'")
    page.wait_for_function("document.querySelector('#members-list table')")
    return [
        Figure(f"the {n:,} windows of its largest cluster, to load them", page.evaluate(LOAD_MS, number), "ms"),
        Figure("to filter and sort them", median(page.evaluate(CHOOSE_MS, 9)), "ms"),
    ]


def motion(page: Page) -> list[Figure]:
    """Return how long the map of an open page takes to be drawn while it is enlarged and moved."""
    n = page.evaluate("state.map.cluster.length")
    frames, drawn = median(page.evaluate(FRAME_MS, 40)), median(page.evaluate(PAINT_MS, 20))
    page.evaluate(MORE_DOTS, MANY_DOTS)
    many_frames, many = median(page.evaluate(FRAME_MS, 40)), median(page.evaluate(PAINT_MS, 20))
    return [
        Figure(f"its map of {n:,} windows in motion, a frame", frames, "ms", "16.7 ms are 60 a second"),
        Figure("of it to draw", drawn, "ms"),
        Figure(f"a map of {MANY_DOTS:,} dots in motion, a frame", many_frames, "ms"),
        Figure("of it to draw", many, "ms"),
    ]
