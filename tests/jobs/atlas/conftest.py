"""Fixtures of the atlas job's tests."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from atlases import Study, build_study
from playwright.sync_api import Browser, Page, Request, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def _lost(request: Request) -> list[str]:
    """Return what was not loaded; what a reload of the page broke off is loaded again."""
    return [] if request.failure == "net::ERR_ABORTED" else [f"not loaded: {request.url} {request.failure}"]


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return build_study(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="session")
def atlas(study: Study) -> Path:
    return study.atlas()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no {', '.join(BROWSERS)} on the path; install Chromium to test the page as people see it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Callable[[Path], Page]]:
    """Open an atlas from its folder, without a network; what goes wrong in the page fails the test."""
    context = chromium.new_context(offline=True, bypass_csp=True, viewport={"width": 1280, "height": 900})
    wrong: list[str] = []

    def open_page(folder: Path) -> Page:
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.extend(_lost(request)))
        page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.goto((folder / "index.html").as_uri())
        return page

    yield open_page
    context.close()
    assert wrong == []
