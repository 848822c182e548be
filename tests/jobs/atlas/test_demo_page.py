"""The small demo study, from its recordings to its page in Chromium."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from playwright.sync_api import Page, expect

import jobs.quickstart
from jobs.demo.config import SMALL, SMALL_SHA256
from jobs.quickstart import quickstart

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_demos_page_opens_plays_and_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[[Path], Page]
) -> None:
    manifest = tomllib.loads((REPOSITORY / "manifests/demo.toml").read_text())
    manifest["runs"]["dino"]["config"] |= {"steps": 3, "batch_size": 8}
    for name in ("clusters", "clusters-untrained", "clusters-logmel"):
        manifest["runs"][name]["config"] |= {"n_clusters": 5}
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/demo.toml").write_text(tomli_w.dumps(manifest))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs.quickstart, "DEMO", SMALL)
    monkeypatch.setattr(jobs.quickstart, "STUDY_SHA256", SMALL_SHA256)
    quickstart(None, audio=None, zones={}, workers=1, say=lambda _: None)
    page = opened(tmp_path / "data/demo/atlas/atlas")
    expect(page.locator(".card")).to_have_count(5)
    expect(page.locator("#map-told")).to_contain_text("t-SNE")
    for _ in range(5):
        page.keyboard.press("j")
        expect(page.locator("#cluster .play").first).to_be_visible()
        expect(page.locator("table.labels")).to_be_visible()
        assert page.locator("#heat path").count() == 2, "sunrise and sunset"
        page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
        page.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        page.keyboard.press("p")
        page.wait_for_function("state.playing && state.playing.audio.currentTime > 0.05")
    page.keyboard.press("n")
    page.keyboard.type("robin")
    page.reload()
    expect(page.locator("#cluster h1")).to_contain_text("robin")
