"""A finished chain of runs, made once and copied for every test that wants one; a command line; a browser."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsers import FLAGS, Opened, chromium_path, listen
from chains import run_chain, write_chain
from commands import Cli, Ended
from manifesttexts import Write
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from soundfiles import Study, usual_study

from jobs.cli.main import main


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[str]]:
    """Return a study whose chain of runs is done, to be left as it is, and what was said."""
    study = usual_study(tmp_path_factory.mktemp("finished"))
    return study, run_chain(write_chain(study))


@pytest.fixture
def chain(finished: tuple[Study, list[str]], tmp_path: Path) -> Study:
    """Return a copy of the finished study."""
    shutil.copytree(finished[0].folder, tmp_path, dirs_exist_ok=True)
    return Study(tmp_path, [dict(row) for row in finished[0].rows])


@pytest.fixture
def manifest(chain: Study) -> Path:
    """Return the manifest of a copy of the finished study."""
    return chain.folder / "study-lake.toml"


@pytest.fixture
def whole(finished: tuple[Study, list[str]]) -> Path:
    """Return the manifest of the finished study itself, for what only reads."""
    return finished[0].folder / "study-lake.toml"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that types a command in this process."""

    def typed(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["dawnchorus", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        return Ended(caught.value.code, *capfd.readouterr())

    return typed


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a manifest and returns its path."""

    def written(text: str) -> Path:
        path = tmp_path / "study.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
    yield browser
    browser.close()


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Opened]:
    """Open a page from its folder, without a network; what goes wrong in the page fails the test."""
    context = chromium.new_context(offline=True, bypass_csp=True, viewport={"width": 1280, "height": 900})
    wrong: list[str] = []

    def open_page(folder: Path) -> Page:
        page = listen(context.new_page(), wrong)
        page.goto((folder / "index.html").as_uri())
        return page

    yield open_page
    context.close()
    assert wrong == []
