"""The pictures of the docs: pages of the demo study in Chromium, and a window as a notebook draws it.

make pictures, or python -m benchmarks.pictures data/demo. What the demo does not have, the attention of its network and
a batch to review, is made in build/pictures; the demo is not changed.
"""

import io
import json
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import matplotlib as mpl
from PIL import Image
from playwright.sync_api import Locator, Page, ViewportSize, sync_playwright

import dawnchorus

DOCS = Path(__file__).parent.parent / "docs"
BESIDE = Path("build/pictures")
TALL: ViewportSize = {"width": 1280, "height": 1500}
SIZE: ViewportSize = {"width": 1280, "height": 900}
REVIEW: ViewportSize = {"width": 1100, "height": 720}
ATTENTION_PX = 420
WINDOW = ("00004862", "2021-06-22T09:50:00")
SOUNDS = "sound,scientific_name,key,aliases\nwhistle,,,\nhoot,,,\nwarble,,,\n"
MANIFEST = """lake = "."
recordings = {{ table = "{demo}/recordings.csv", root = "{demo}/study/audio" }}
[runs.mels]
job = "spectrograms"
inputs = {{ spectrograms = ["{demo}/spectrograms/mels.zarr"] }}
config = {{ {cube} }}
[runs.vectors]
job = "embed"
inputs = {{ spectrograms = "mels", model = "{demo}/models/dino" }}
config = {{ attention = true }}
[runs.clusters]
job = "cluster"
inputs = {{ embeddings = "vectors" }}
config = {{ n_clusters = 30, batch_size = 256 }}
[runs.atlas]
job = "atlas"
inputs = {{ clusters = "clusters", spectrograms = "mels" }}
"""


def main() -> None:
    """Take all pictures that the docs show of pages."""
    study = Path(sys.argv[1])
    show(study)
    make_beside(study.resolve())
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    looks = [(study / "atlas/atlas", atlas), (BESIDE / "atlas/atlas", attention), (BESIDE / "review", review)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for folder, look in looks:
            page = browser.new_context(offline=True, viewport=REVIEW).new_page()
            page.goto((folder / "index.html").resolve().as_uri())
            look(page)
        browser.close()


def show(study: Path) -> None:
    """Draw a window as ``dawnchorus.open(lake).show`` does."""
    mpl.use("agg")
    drawn = io.BytesIO()
    dawnchorus.open(study).show(WINDOW).figure.savefig(drawn, format="png", dpi=100)
    Image.open(drawn).convert("RGB").save(DOCS / "show.webp", quality=80, method=6)


def make_beside(demo: Path) -> None:
    """Make a page with the attention of the demo's network, and a batch to review, where they are not there yet."""
    cube = tomllib.loads((demo / "manifest.toml").read_text(encoding="utf-8"))["runs"]["mels"]["config"]
    manifest = BESIDE / "manifest.toml"
    BESIDE.mkdir(parents=True, exist_ok=True)
    settings = ", ".join(f"{key} = {json.dumps(value)}" for key, value in cube.items())
    manifest.write_text(MANIFEST.format(demo=demo, cube=settings), encoding="utf-8")
    (BESIDE / "sounds.csv").write_text(SOUNDS, encoding="utf-8")
    type_line("run", str(manifest))
    if not (BESIDE / "review").exists():
        type_line("review", str(manifest), "--sound", "whistle", "--out", str(BESIDE / "review"))


def type_line(*words: str) -> None:
    """Run a command of dawnchorus; raises subprocess.CalledProcessError if it does not end well."""
    subprocess.run([sys.executable, "-m", "jobs", *words], check=True)


def atlas(page: Page) -> None:
    """Look at the overview, a cluster, the list of its windows, and one picture."""
    page.set_viewport_size(TALL)
    take(page, "atlas-overview")
    page.locator(".card").first.click()
    take(page, "atlas-cluster")
    page.set_viewport_size(SIZE)
    take(page.locator("#members"), "atlas-windows")
    page.locator("#cluster .enlarge").first.click()
    take(page, "atlas-enlarged")


def attention(page: Page) -> None:
    """Look at the exemplars of a cluster through what the network attends to."""
    page.set_viewport_size(SIZE)
    page.locator(".card").first.click()
    switch = page.locator("#attention-on")
    switch.check()
    switch.evaluate("box => scrollTo(0, box.getBoundingClientRect().top + scrollY - 80)")
    take(page, "atlas-attention", ATTENTION_PX)


def review(page: Page) -> None:
    """Answer some windows of a page."""
    page.fill("#reviewer-field", "Ana")
    page.press("#reviewer-field", "Enter")
    for key in ("y", "n", "n", "u", "y", "n"):
        page.keyboard.press(key)
        page.wait_for_timeout(500)  # the next window is shown once the answer is kept
    take(page, "review-window")
    page.keyboard.press("g")
    take(page, "review-grid")


def take(seen: Page | Locator, name: str, height_px: int = TALL["height"]) -> None:
    """Write what is seen of a page, or one of its parts, from its top."""
    time.sleep(1)
    picture = Image.open(io.BytesIO(seen.screenshot()))
    picture.crop((0, 0, picture.width, min(picture.height, height_px))).save(
        DOCS / f"{name}.webp", quality=80, method=6
    )


if __name__ == "__main__":
    main()
