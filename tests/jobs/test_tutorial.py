"""Every line of the tutorial, typed in order by somebody who has its recordings."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from browsers import Opened
from commands import Cli
from playwright.sync_api import Page, expect

import jobs.workflows.quickstart
from jobs.demo.config import SMALL, SMALL_SHA256
from jobs.workflows.proposals import KINDS

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
PAGE = Path("data/meadow/atlas/atlas")
QUICK = {"n_patches = 60000": "n_patches = 500", "n_atoms = 64": "n_atoms = 8", "n_rounds = 15": "n_rounds = 2"}
"""For the study of a test; what is tested are the lines."""


def name_in_the_page(page: Page, path: Path) -> None:
    """Follow steps 5 and 6: click a card, hear a sound, name the cluster, and download the names."""
    page.locator(".card").first.click()
    page.wait_for_function("location.hash.startsWith('#cluster')")
    page.keyboard.press("p")
    for key in ("j", "k"):
        page.keyboard.press(key)
    page.keyboard.press("n")
    page.keyboard.type("Wren")
    page.keyboard.press("Tab")
    page.keyboard.type("sings at dawn")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download names.csv").click()
    assert download.value.suggested_filename == "names.csv"
    download.value.save_as(path)


@pytest.mark.slow
def test_every_line_runs(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs.workflows.quickstart, "DEMO", SMALL)
    monkeypatch.setattr(jobs.workflows.quickstart, "STUDY_SHA256", SMALL_SHA256)
    said: dict[str, str] = {}
    for line in LINES:
        first, *words = shlex.split(line)
        if first == "mv":
            page = opened(tmp_path / PAGE)
            name_in_the_page(page, tmp_path / "downloaded.csv")
            assert words[0].endswith("/names.csv")
            shutil.move(tmp_path / "downloaded.csv", words[1])
            continue
        assert first == "dawnchorus"
        ended = cli(*words)
        assert ended.code == 0, (line, ended.error)
        said[line] = ended.out
        if words[0] == "init":
            manifest = Path("data/meadow/manifest.toml")
            text = manifest.read_text()
            assert tomllib.loads(text)["runs"]["mels"]["config"]["f_max_hz"] == 11_000
            for slow, quick in QUICK.items():
                assert slow in text
                text = text.replace(slow, quick)
            manifest.write_text(text)
    assert "Wren" in Path("data/meadow/windows.csv").read_text()
    page = opened(tmp_path / PAGE)  # another browser context than the one that typed it knows the name from the files
    page.evaluate("localStorage.clear()")
    page.reload()
    expect(page.locator(".card .name").filter(has_text="Wren")).to_have_count(1)
    assert next(out for line, out in said.items() if " query " in line).count("\n") > 1
    status = next(out for line, out in said.items() if " status " in line)
    assert {line.split()[2] for line in status.splitlines() if line} == {"done"}


def test_its_pictures_are_there_and_its_table_is_that_of_the_kinds() -> None:
    assert all((DOCS / picture).is_file() for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT))
    rows = dict(re.findall(r"^\| `(\w+)`.*?\| ([\d.]+) s \|", TEXT, re.MULTILINE))
    assert {kind: float(seconds) for kind, seconds in rows.items()} == {
        name: one.window_s for name, one in KINDS.items()
    }
