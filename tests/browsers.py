"""Browsers for tests of pages: where they are, and what goes wrong in a page."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Request

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
Opened = Callable[[Path], Page]


def chromium_path() -> str:
    """Return where Chromium is; without one the test is skipped."""
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        pytest.skip(f"no {', '.join(CHROMIUMS)} on the path; install Chromium to test the page as people see it")
    return found


def listen(page: Page, wrong: list[str]) -> Page:
    """Note all that goes wrong in a page, and every request that leaves its folder."""
    page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.extend(_lost(request)))
    page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    return page


def _lost(request: Request) -> list[str]:
    """Return what was not loaded; what the page itself, or a reload, broke off is loaded again."""
    return [] if request.failure == "net::ERR_ABORTED" else [f"not loaded: {request.url} {request.failure}"]


SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (360, 1280, 2560)


def faults_of(page: Page) -> list[str]:
    """Return what axe-core finds in a page, in light and dark and at three widths, and where text runs off the side."""
    found: list[str] = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            for fault in Axe().run(page, options={"preload": False}).response["violations"]:
                found += [f"{scheme}, {width} px: {fault['id']} {node['target']}" for node in fault["nodes"]]
            over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            found += [f"{width} px: {over} px too wide"] if over > 0 else []
    return list(dict.fromkeys(found))
