"""The pages of the demo study and of real recordings, from sound to Chromium, from a folder, without a network."""

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from atlases import read_cluster, scripted
from playwright.sync_api import Page, expect

import jobs.workflows.quickstart
from jobs.catalog.command import run_catalog
from jobs.common.run import Options
from jobs.demo.config import SMALL, SMALL_SHA256
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from jobs.workflows.quickstart import quickstart
from lake.recordings import read_recordings

REPOSITORY = Path(__file__).parents[3]
AUDIO = Path(os.environ.get("DAWNCHORUS_AUDIO", REPOSITORY.parent / "shared/audio/dev"))
"""Real recordings, which the repository does not hold."""
DEMO = Path(os.environ.get("DAWNCHORUS_DEMO", REPOSITORY / "data/demo")) / "atlas/atlas"
"""The page that `make demo` leaves."""
PLAYING = "player.now && player.now.audio.currentTime > 0.05"
LOADED = "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
Opened = Callable[[Path], Page]


def template() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "manifests/demo.toml").read_text())


def page_text(atlas: Path, cluster: int) -> str:
    """Return what a cluster's table of labels says."""
    tables = read_cluster(atlas, cluster).tables
    return " ".join(cell for table in tables if table[0][0] == "Label" for row in table for cell in row)


def drive(page: Page, atlas: Path, tmp_path: Path) -> None:
    """Go through a page as a person does: every cluster, picture and sound; a name that stays and comes out."""

    def see_all() -> None:
        page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
        page.wait_for_function(LOADED)
        links = page.evaluate("[...document.querySelectorAll('a')].map((link) => link.getAttribute('href'))")
        known = set(page.evaluate("[...document.querySelectorAll('[id]')].map((one) => '#' + one.id)"))
        known |= {f"#cluster-{cluster}" for cluster, _ in data["clusters"]}
        assert {link for link in links if link.startswith("#")} <= known
        assert all((atlas / link).is_file() for link in links if not link.startswith("#")), "sounds to save"

    data = scripted(atlas / "data.js")
    filled = [cluster for cluster, n in data["clusters"] if n]
    expect(page.locator(".card")).to_have_count(len(data["clusters"]))
    see_all()
    for name in page.locator("#map-layout option").all_inner_texts():
        page.locator("#map-layout").select_option(name)
        expect(page.locator("#map-told")).to_contain_text(f"{name}: ")
    for sheet in sorted((atlas / "map").iterdir()):
        assert (
            page.evaluate(f"(async () => {{ const i = new Image(); i.src = 'map/{sheet.name}'; await i.decode(); }})()")
            is None
        )
    n_played = 0
    for cluster in filled:
        page.keyboard.press("j")
        expect(page.locator("#cluster h1")).to_contain_text(f"Cluster {cluster}")
        see_all()
        assert page.locator(".sound .play").count() == len(list((atlas / "clips").glob(f"{cluster}-*.ogg")))
        if page.locator(".sound .play").count():
            page.keyboard.press("p")
            page.wait_for_function(PLAYING)
            n_played += 1
    assert n_played == len(filled)
    page.keyboard.press("n")
    page.keyboard.type("robin")
    page.reload()
    expect(page.locator("#cluster h1")).to_contain_text("robin")
    page.keyboard.press("Escape")
    with page.expect_download() as download:
        page.locator("#names-download").click()
    download.value.save_as(tmp_path / "names.csv")
    found = (tmp_path / "names.csv").read_text(encoding="utf-8-sig")
    assert re.fullmatch(rf"cluster,name,notes,clustering_id\n{filled[-1]},robin,,[0-9a-f]{{16}}\n", found)


@pytest.mark.slow
def test_the_page_of_a_small_demo_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    manifest = template()
    manifest["runs"]["dino"]["config"] |= {"steps": 3, "batch_size": 8}  # pages do not mind
    manifest["runs"]["vectors"]["config"] = {"attention": True}
    clusters = {"inputs": {"embeddings": "vectors"}, "config": {"n_clusters": 5, "batch_size": 256}}  # with attention
    manifest["runs"]["clusters"] |= clusters
    wanted = ("mels", "dino", "vectors", "clusters", "atlas", "heads", "detections", "counts")
    for name in ("heads", "detections"):
        manifest["runs"][name]["inputs"]["embeddings"] = "vectors"
    manifest["runs"] = {name: run for name, run in manifest["runs"].items() if name in wanted}
    (tmp_path / "demo.toml").write_text(tomli_w.dumps(manifest))
    monkeypatch.setattr(jobs.workflows.quickstart, "TEMPLATE", tmp_path / "demo.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs.workflows.quickstart, "DEMO", SMALL)
    monkeypatch.setattr(jobs.workflows.quickstart, "STUDY_SHA256", SMALL_SHA256)
    quickstart(Path("data/demo"), workers=1, say=lambda _: None)
    atlas = tmp_path / "data/demo/atlas/atlas"
    page = opened(atlas)
    drive(page, atlas, tmp_path)
    page.keyboard.press("j")
    expect(page.locator("table.labels")).to_be_visible()
    assert page.locator("#heat path").count() == 2, "sunrise and sunset"
    page.locator("#attention-on").check()
    expect(page.locator("img.attention").first).to_be_visible()


@pytest.mark.slow
@pytest.mark.skipif(not DEMO.is_dir(), reason=f"no {DEMO}; type `make demo`, or name its folder in DAWNCHORUS_DEMO")
def test_the_demo_studys_page(tmp_path: Path, opened: Opened) -> None:
    page = opened(DEMO)
    drive(page, DEMO, tmp_path)
    page.keyboard.press("j")
    expect(page.locator("table.labels")).to_be_visible()
    assert page.locator("#heat path").count() == 2, "sunrise and sunset"


@pytest.mark.slow
@pytest.mark.skipif(not AUDIO.is_dir(), reason=f"no recordings in {AUDIO}; name a folder of them in DAWNCHORUS_AUDIO")
def test_the_page_of_real_recordings(tmp_path: Path, opened: Opened) -> None:
    parts = [AUDIO / "soundscape/SM4_S4A03895", AUDIO / "clips"]  # a day of one recorder, and clips without a time
    audio = [part for part in parts if part.is_dir()] or [AUDIO]
    facts = run_catalog(audio, tmp_path / "recordings.csv", zones={"": "UTC"}, workers=1)
    paths = [Path(path) for path in read_recordings(tmp_path / "recordings.csv")["path"]]
    rows = [f"0,3,,{path.parent.name},0.9,{path.as_posix()}\n" for path in paths]
    head = "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
    (tmp_path / "birdnet.csv").write_text(head + "".join(rows))
    runs = template()["runs"]
    mels = {"job": "spectrograms", "config": {**runs["mels"]["config"], "untimed": "sequence"}}
    vectors = {"job": "embed", "inputs": {"spectrograms": "mels"}, "config": {"features": "logmel"}}
    config = {"n_clusters": 12, "batch_size": 128}
    clusters = {"job": "cluster", "inputs": {"embeddings": "vectors"}, "config": config}
    manifest = {
        "lake": ".", "labels": "birdnet.csv", "max_quarantined": 1.0,
        "recordings": {"table": "recordings.csv", "root": str(facts["root"])},
        "runs": {"mels": mels, "vectors": vectors, "clusters": clusters, "atlas": runs["atlas"]},
    }  # fmt: skip
    (tmp_path / "manifest.toml").write_text(tomli_w.dumps(manifest))
    execute_runs(read_manifest(tmp_path / "manifest.toml"), [], Options(workers=1), lambda _: None)
    atlas = tmp_path / "atlas/atlas"
    page = opened(atlas)
    drive(page, atlas, tmp_path)
    assert any("×" in text for text in (page_text(atlas, cluster) for cluster in range(12)))
