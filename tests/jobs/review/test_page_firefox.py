"""The page in Firefox, from a folder with the network off; skipped where Firefox cannot be driven."""

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from reviews import make_page

SCRIPT = Path(__file__).with_name("firefox.mjs")
PUPPETEER = "node_modules/puppeteer-core/lib/esm/puppeteer/puppeteer-core.js"


@pytest.mark.slow
def test_firefox_keeps_and_shows_the_same(whole: Path, tmp_path: Path) -> None:
    node, firefox = shutil.which("node"), shutil.which("firefox-esr") or shutil.which("firefox")
    puppeteer = Path(os.environ.get("DAWNCHORUS_PUPPETEER", ".")) / PUPPETEER
    if node is None or firefox is None or not puppeteer.is_file():
        pytest.skip(
            "needs node, Firefox and puppeteer-core; DAWNCHORUS_PUPPETEER names the folder that it was installed in"
        )
    make_page(tmp_path / "page", whole)
    for name in ("profile", "tables"):
        (tmp_path / name).mkdir()
    url = (tmp_path / "page/index.html").as_uri()
    folders = [str(tmp_path / "profile"), str(tmp_path / "tables")]
    words = [node, str(SCRIPT), str(puppeteer.resolve()), firefox, url, *folders]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "afterUndo": "Window 10 of 12", "sound": [4, 4], "afterReload": "Window 10 of 12",
        "afterKill": "Window 11 of 12",
        "picture": 26, "second": "Window 1 of 12", "tiles": 12, "refusal": "", "wrong": [],
    }  # fmt: skip
    (table,) = (tmp_path / "tables").iterdir()
    with table.open(newline="", encoding="utf-8") as file:
        verdicts = [row["verdict"] for row in csv.DictReader(file)]
    assert verdicts == ["yes", "no", "unsure", "yes", "yes", "no", "unsure", "yes", "yes", "yes"]
