"""What a browser that is killed keeps; and a page of a thousand windows, from its folder to the lake and back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from browsers import FLAGS, chromium_path, listen
from commands import Cli
from playwright.sync_api import Error, Page, Playwright, expect
from reviews import SOUNDS_CSV, as_spreadsheet, be, downloaded, kept, make_page, press
from soundfiles import Study, sound

from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from lake.verdicts import last_decisions, read_verdicts

START_MS = 30_000
"""A browser that is started again after a crash may take a while on a busy machine."""


@contextmanager
def browsing(playwright: Playwright, profile: Path, page_folder: Path, wrong: list[str]) -> Iterator[Page]:
    """Open a page in a browser that keeps its profile; it may be killed meanwhile."""
    context = playwright.chromium.launch_persistent_context(
        profile, executable_path=chromium_path(), args=list(FLAGS), offline=True, bypass_csp=True
    )
    page = listen(context.pages[0], wrong)
    page.goto((page_folder / "index.html").as_uri())
    expect(page.locator("#progress-words")).not_to_be_empty(timeout=START_MS)
    yield page
    try:
        context.close()
    except Error:
        assert not _processes(profile), "only a browser that was killed may be gone"


def kill(profile: Path) -> None:
    """End all processes of a browser at once, as a crash or a flat battery does."""
    for process in _processes(profile):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + START_MS / 1000
    while _processes(profile):  # the kernel takes a moment on a busy machine
        assert time.monotonic() < deadline, "a killed browser lives on"
        time.sleep(0.05)


def _processes(profile: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if f"--user-data-dir={profile}" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_decision_outlives_a_browser_that_is_killed(playwright: Playwright, whole: Path, tmp_path: Path) -> None:
    make_page(tmp_path / "page", whole)
    wrong: list[str] = []
    for n in (2, 4, 6):
        with browsing(playwright, tmp_path / "profile", tmp_path / "page", wrong) as page:
            if n == 2:
                be(page, "Ana")
            expect(page.locator("#progress-words")).to_contain_text(f"{n - 2} of 12", timeout=START_MS)
            press(page, "yn")
            expect(page.locator("#place")).to_have_text(f"Window {n + 1} of 12")
            kill(tmp_path / "profile")
    assert wrong == []


@pytest.mark.slow
def test_a_thousand_windows(playwright: Playwright, cli: Cli, tmp_path: Path) -> None:
    study = Study(tmp_path)
    for i in range(9):
        study.add("a", 250 * i, np.tile(sound(25, i), (10, 1)))
    manifest = study.write()
    (manifest.parent / "sounds.csv").write_text(SOUNDS_CSV)
    execute_runs(read_manifest(manifest), (), Options(workers=2), lambda _: None)
    batch = kept(manifest, 1000)
    assert make_page(tmp_path / "page", manifest, n=1000, batch_id=batch).n_windows == 1000
    wrong: list[str] = []
    with browsing(playwright, tmp_path / "profile", tmp_path / "page", wrong) as page:
        be(page, "Ana")
        press(page, ("yynuy" * 20)[:100])
        expect(page.locator("#progress-words")).to_contain_text("100 of 1000")
        page.reload()
        expect(page.locator("#place")).to_have_text("Window 101 of 1000")
        press(page, "zy")
        page.wait_for_timeout(1000)
        kill(tmp_path / "profile")
    with browsing(playwright, tmp_path / "profile", tmp_path / "page", wrong) as page:
        expect(page.locator("#place")).to_have_text("Window 101 of 1000")
        be(page, "Bo")
        press(page, "nnnnn")
        assert len(downloaded(page, tmp_path / "bo.csv")) == 5
        be(page, "Ana")
        assert len(downloaded(page, tmp_path / "ana.csv")) == 100
    assert wrong == []
    lake = read_manifest(manifest).runs["mels"].lake
    assert cli("verdicts", "add", manifest, tmp_path / "ana.csv", tmp_path / "bo.csv").code == 0
    direct = last_decisions(read_verdicts(lake))
    assert direct.groupby("reviewer")["verdict"].value_counts().to_dict() == {
        ("Ana", "yes"): 60, ("Ana", "no"): 20, ("Ana", "unsure"): 20, ("Bo", "no"): 5,
    }  # fmt: skip
    for path in (tmp_path / "lake/verdicts").iterdir():
        path.unlink()
    for encoding in ("utf-8-sig", "cp1252"):
        saved = [as_spreadsheet(tmp_path / f"{name}.csv", tmp_path / f"{name}-{encoding}.csv", encoding)
                 for name in ("ana", "bo")]  # fmt: skip
        assert cli("verdicts", "add", manifest, *saved).code == 0
        assert last_decisions(read_verdicts(lake)).equals(direct)
