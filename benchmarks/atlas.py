"""The atlas of a study with 100 clusters of 1024 × 1024, and of one with 230,259 windows: size, time, first paint."""

import shutil
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
import zarr
from playwright.sync_api import Browser, sync_playwright

from benchmarks import atlas_large
from benchmarks.report import Figure, report
from jobs.atlas.command import execute
from jobs.atlas.config import Config
from jobs.common.run import Options, Recordings, Run
from lake.recordings import make_recordings, write_recordings

N_CLUSTERS, N_PER_CLUSTER, SIZE = 100, 13, 1024
HOP_S, WINDOW_S, RATE_HZ = 60.0, 6.0, 48_000
N_LOADS = 5
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def main() -> None:
    """Make the study and its atlas, open it in Chromium from its folder."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    with tempfile.TemporaryDirectory(prefix="bench-atlas-") as name:
        run = study(Path(name))
        began = time.monotonic()
        outcome = execute(run, Options(workers=2))
        took_s = time.monotonic() - began
        folder = Path(run.output.url)
        sizes = {part: _mb(folder / part) for part in ("images", "clips", "map", "clusters")}
        figures = [
            Figure("atlas of 100 clusters, whole folder", outcome.counts["bytes"] / 1e6, "MB", "150 MB wanted at most"),
            *(Figure(f"of it {part}", size, "MB") for part, size in sizes.items()),
            Figure("to make it, two threads", took_s, "s", f"{outcome.counts['pictures']} pictures with sound"),
            *paints(folder),
        ]
    with tempfile.TemporaryDirectory(prefix="bench-atlas-") as name:
        run = atlas_large.study(Path(name))
        figures += [*atlas_large.figures(run), *paints(Path(run.output.url), is_large=True)]
    report("atlas", figures)


def study(lake: Path) -> Run[Config]:
    """Write a cube of noise with a tone in it, vectors, a clustering and an hour of noise for each shown window."""
    import stores  # noqa: PLC0415 (the tests' builders, on the path since main)

    random = np.random.default_rng(0)
    n = N_CLUSTERS * N_PER_CLUSTER
    codes = np.zeros((1, 1440, SIZE, SIZE), dtype=np.uint8)
    noise = random.normal(90, 6, (16, SIZE, SIZE))
    for i in range(n):
        window = noise[i % 16].copy()
        row = int(random.integers(100, 900))
        window[row : row + 30, 200:700] += 60
        codes[0, i] = window.clip(1, 255)
    labels = np.full((1, 1440), -1)
    labels[0, :n] = np.arange(n) % N_CLUSTERS
    cube = stores.make_cube(lake, codes, recorders=["one"], hop_s=HOP_S, window_s=WINDOW_S, shard_windows=60)
    del codes
    vectors = np.full((1, 1440, 64), np.nan, dtype=np.float32)
    centres = random.normal(size=(N_CLUSTERS, 64))
    vectors[0, :n] = centres[labels[0, :n]] + random.normal(0, 0.5, (n, 64))
    embeddings = stores.make_embeddings(lake, vectors, cube=cube)
    clusters = stores.make_clusters(lake, labels, n_exemplars=6, embeddings=embeddings)
    recordings = _sound(lake, cube)
    stores.settle_again(cube)
    inputs = {"clusters": clusters, "spectrograms": cube}
    return replace(stores.make_run(lake, "atlas", "atlas", Config(), inputs=inputs), recordings=recordings)


def paints(folder: Path, *, is_large: bool = False) -> list[Figure]:
    """Return when Chromium paints first, with the network off, in seconds after it was asked; and the map's motion."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        return []
    what = f"of {atlas_large.N_WINDOWS:,} windows" if is_large else "of 100 clusters"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        wanted = "2 s wanted at most"
        figures = [
            Figure(f"first paint of {page} {what}, from file://", _first_paint(browser, folder, fragment), "s", wanted)
            for page, fragment in (("the overview", ""), ("a cluster's page", "#cluster-7"))
        ]
        if is_large:
            page = browser.new_context(
                offline=True, bypass_csp=True, viewport={"width": 1280, "height": 900}
            ).new_page()
            page.goto((folder / "index.html").as_uri())
            page.locator("#map-canvas").scroll_into_view_if_needed()
            figures += [*atlas_large.motion(page), *atlas_large.listing(page)]
        browser.close()
    return figures


def _first_paint(browser: Browser, folder: Path, fragment: str) -> float:
    """Return the median over loads, each with an empty cache, seconds."""
    found = []
    for _ in range(N_LOADS):
        context = browser.new_context(offline=True, bypass_csp=True)
        page = context.new_page()
        page.goto((folder / "index.html").as_uri() + fragment)
        found.append(float(page.wait_for_function(PAINTED).json_value()))
        context.close()
    return median(found) / 1000


def _sound(lake: Path, cube: Run) -> Recordings:
    """Write 23 hours as one file of 10 minutes' noise a recording, all of which are the same file."""
    root, n = lake / "audio", 600 * RATE_HZ
    root.mkdir()
    noise = np.random.default_rng(1).normal(0, 0.02, n).astype(np.float32)
    soundfile.write(root / "0.flac", noise, RATE_HZ)
    for i in range(1, 144):
        (root / f"{i}.flac").hardlink_to(root / "0.flac")
    facts = {
        "recorder": "one", "reading": "libsndfile", "problems": "", "sample_rate_hz": RATE_HZ, "n_samples": n,
        "duration_s": 600.0, "n_channels": 1, "sha256": "0" * 64, "format": "FLAC",
    }  # fmt: skip
    write_recordings(make_recordings([{"path": f"{i}.flac", **facts} for i in range(144)]), lake / "recordings.csv")
    group = zarr.open_group(cube.output.url, mode="r+")
    start = group["recording_start_ms"]
    assert isinstance(start, zarr.Array)
    _grow(group, [f"{i}.flac" for i in range(144)], int(np.asarray(start[...])[0]), n)
    return Recordings(lake / "recordings.csv", root)


def _grow(group: zarr.Group, paths: list[str], start_ms: int, n_samples: int) -> None:
    """Give a cube's recordings table other rows."""
    n = len(paths)
    values = {
        "recording_path": np.asarray(paths, dtype=object),
        "recording_sha256": np.asarray(["0" * 64] * n, dtype=object),
        "recording_recorder": np.asarray(["one"] * n, dtype=object),
        "recording_start_ms": start_ms + np.arange(n) * 600_000,
        "recording_n_samples": np.full(n, n_samples),
        "recording_sample_rate_hz": np.full(n, RATE_HZ),
    }
    for name, value in values.items():
        array = group[name]
        assert isinstance(array, zarr.Array)
        array.resize((n,))
        array[...] = value
    with warnings.catch_warnings():
        # Consolidated metadata are no part of Zarr's format 3 yet; the stores have them all the same.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(group.store)


def _mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
