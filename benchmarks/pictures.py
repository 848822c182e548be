"""The pictures of ``docs/review.md``: a page of the demo study in Chromium, as a person sees it.

python -m benchmarks.pictures data/demo/review/BATCH
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, sync_playwright

DOCS = Path(__file__).parent.parent / "docs"
SIZE: ViewportSize = {"width": 1100, "height": 720}


def main() -> None:
    """Answer some windows of a page, and take pictures of it."""
    folder = Path(sys.argv[1])
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_context(offline=True, viewport=SIZE).new_page()
        page.goto((folder / "index.html").resolve().as_uri())
        page.fill("#reviewer-field", "Ana")
        page.press("#reviewer-field", "Enter")
        for key in ("y", "n", "n", "u", "y", "n"):
            page.keyboard.press(key)
        take(page, "review-window")
        page.keyboard.press("g")
        page.wait_for_timeout(500)
        take(page, "review-grid")
        browser.close()


def take(page: Page, name: str) -> None:
    """Write what is seen."""
    page.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.save(DOCS / f"{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
