"""Every line of the tutorial, typed in order by somebody who has its recordings."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from commands import Cli

import jobs.workflows.quickstart
from jobs.demo.config import SMALL, SMALL_SHA256
from jobs.workflows.proposals import KINDS
from lake.clustering import clustering_id_of
from lake.read import open_clusters

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
CLUSTERS = Path("data/meadow/clusters/clusters.zarr")
QUICK = {"n_patches = 60000": "n_patches = 500", "n_atoms = 64": "n_atoms = 8", "n_rounds = 15": "n_rounds = 2"}
"""For the study of a test; what is tested are the lines."""


def download(path: Path) -> None:
    """Write what the page gives: a name for cluster 0."""
    with open_clusters(str(CLUSTERS)) as clusters:
        path.write_text(f"cluster,name,notes,clustering_id\n0,Wren,sings at dawn,{clustering_id_of(clusters)}\n")


@pytest.mark.slow
def test_every_line_runs(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs.workflows.quickstart, "DEMO", SMALL)
    monkeypatch.setattr(jobs.workflows.quickstart, "STUDY_SHA256", SMALL_SHA256)
    said: dict[str, str] = {}
    for line in LINES:
        first, *words = shlex.split(line)
        if first == "mv":
            download(tmp_path / words[1])
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
    assert "Wren" in "".join(path.read_text() for path in Path("data/meadow/atlas/atlas").glob("*.js"))
    *_, query, status = said.values()
    assert query.count("\n") > 1
    assert {line.split()[2] for line in status.splitlines() if line} == {"done"}


def test_its_pictures_are_there_and_its_table_is_that_of_the_kinds() -> None:
    assert all((DOCS / picture).is_file() for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT))
    rows = dict(re.findall(r"^\| `(\w+)`.*?\| ([\d.]+) s \|", TEXT, re.MULTILINE))
    assert {kind: float(seconds) for kind, seconds in rows.items()} == {
        name: one.window_s for name, one in KINDS.items()
    }
