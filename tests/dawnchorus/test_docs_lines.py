"""Command lines of README and docs, typed in the folder of the small demo; tests/docslines.py says which."""

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from docslines import DEMO, all_lines

from jobs.cli.main import main

PAGES = sorted({line.page for line in all_lines() if not line.not_run})

SLOW = {"exports.md": [pytest.mark.slow]}
"""Pages whose lines take longer than the others together."""


@pytest.fixture(scope="module")
def folder(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the demo whose sounds have scientific names, and one cluster a name."""
    folder = tmp_path_factory.mktemp("lines")
    shutil.copytree(demo_folder, folder, dirs_exist_ok=True)
    sounds = pd.read_csv(folder / DEMO / "sounds.csv")["sound"]
    names = [f"Genus {sound.replace('_', '')}" for sound in sounds]
    pd.DataFrame({"sound": sounds, "scientific_name": names}).to_csv(folder / DEMO / "sounds.csv", index=False)
    (folder / DEMO / "clusters/clusters.names.csv").write_text("cluster,name,notes\n0,Wren,\n")
    return folder


@pytest.mark.parametrize("page", [pytest.param(name, marks=SLOW[name]) if name in SLOW else name for name in PAGES])
def test_the_lines_of_a_page_run(
    page: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    failed = []
    for line in all_lines():
        if line.page == page and not line.not_run:
            force = ["--force"] if "--out" in line.words or "--audio" in line.words or "--bundle" in line.words else []
            monkeypatch.setattr(sys, "argv", ["dawnchorus", *line.typed, *force])
            with pytest.raises(SystemExit) as caught:
                main()
            if caught.value.code:
                failed.append(f"{page}:{line.number}: {' '.join(line.typed)}: {capfd.readouterr().err}")
    assert not failed, "\n".join(failed)
