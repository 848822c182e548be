"""The page of 1,000 windows of 1024 × 1024 with sound at 48 kHz: its size, and how long a key takes to the next one."""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

from benchmarks import atlas
from benchmarks.report import Figure, report
from jobs.review.page import write_page
from jobs.review.windows import Windows
from lake.read import grid_of, open_cube, recorder_names

N_WINDOWS, N_KEYS = 1000, 100
TIMED = """async () => {
    const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const before = review.at, began = performance.now();
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'y', code: 'KeyY', bubbles: true }));
    while (review.at === before) await new Promise((done) => setTimeout(done));
    const image = document.querySelector('#picture img');
    if (!image.complete) await image.decode();
    await painted();
    return performance.now() - began;
}"""


def main() -> None:
    """Make the page, open it in Chromium from its folder, and answer 100 windows."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from browsers import FLAGS, chromium_path  # noqa: PLC0415 (the tests' own, on the path since the line above)

    with tempfile.TemporaryDirectory(prefix="bench-review-page-") as name:
        run = atlas.study(Path(name))
        cube_run = run.inputs["spectrograms"]
        cube = open_cube(cube_run.output.url)
        windows = Windows(replace(cube_run, recordings=run.recordings), cube, grid_of(cube), recorder_names(cube))
        began = time.monotonic()
        done = write_page(
            Path(name) / "page", batch_id="random-0123456789abcdef", sounds=["tone"], rows=_rows(windows),
            windows=windows, known=["tone"], workers=2,
        )  # fmt: skip
        took_s = time.monotonic() - began
        sound_kbits = (
            _bytes(Path(name) / "page/sounds") * 8 / 1000 / done.n_with_sound / (windows.grid.window_ms / 1000)
        )
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
            page = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
            page.goto((Path(name) / "page/index.html").as_uri())
            page.locator("#reviewer-field").fill("bench")
            page.keyboard.press("Enter")
            took_ms = []
            for _ in range(N_KEYS):
                page.wait_for_timeout(300)
                took_ms.append(float(page.evaluate(TIMED)))
            browser.close()
        report(
            "review_page",
            [
                Figure("page of 1,000 windows with neighbours and sound", done.n_bytes / 1e6, "MB", "80 MB at most"),
                Figure("sound", sound_kbits, "kbit/s", "56 kbit/s at least"),
                Figure("to make it, two threads", took_s, "s", f"{done.n_with_sound} windows with sound"),
                Figure("key to next window, median of 100", median(took_ms), "ms", "50 ms at most"),
                Figure("key to next window, longest of 100", max(took_ms), "ms"),
            ],
        )


def _rows(windows: Windows) -> pd.DataFrame:
    cells = windows.usable(0)[:N_WINDOWS]
    times = windows.grid.origin_ms + np.random.default_rng(0).permutation(cells) * windows.grid.hop_ms
    return pd.DataFrame(
        {
            "draw": range(len(cells)),
            "recorder": windows.recorders[0],
            "time_utc": pd.Series(times, dtype="datetime64[ms]"),
            "duration_s": windows.grid.window_ms / 1000,
        }
    )


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


if __name__ == "__main__":
    main()
