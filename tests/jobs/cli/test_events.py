"""`dawnchorus events`: a study through to its events, and what is refused."""

from pathlib import Path

import pandas as pd
import pytest
from commands import Cli
from detectors import FEW, heard, vectors_with_sounds
from stores import finish, make_cube, make_embeddings, random_codes

from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest

MANIFEST = """lake = "."
[runs.mels]
job = "spectrograms"
config = { window_s = 6.0, hop_s = 600.0, n_mels = 8, n_frames = 16, shard_windows = 72 }
[runs.vectors]
job = "embed"
inputs = { spectrograms = "mels" }
config = { features = "logmel" }
[runs.heads]
job = "learn"
inputs = { embeddings = "vectors" }
config = { n_unlabelled = 50, n_bootstrap = 50, n_few = 5 }
[runs.found]
job = "detect"
inputs = { embeddings = "vectors", heads = "heads" }
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert (FEW.n_unlabelled, FEW.n_bootstrap, FEW.n_few) == (50, 50, 5)
    lake = tmp_path_factory.mktemp("study")
    values, has = vectors_with_sounds(n_days=2)
    cube = make_cube(lake, random_codes(n_days=2, n_per_day=144))
    finish(cube)
    finish(make_embeddings(lake, values, cube=cube))
    heard(lake, values, has)
    (lake / "study.toml").write_text(MANIFEST)
    execute_runs(read_manifest(lake / "study.toml"), ["heads", "found"], Options(), lambda _: None)
    return lake / "study.toml"


def test_a_table_and_files(manifest: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "events.csv"
    ended = cli("events", str(manifest), "found", "--threshold", "0.5", "--sound", "wren", "--out", str(out))
    assert (ended.code, ended.error) == (0, "")
    table = pd.read_csv(out)
    assert set(table["sound"]) == {"wren"}
    assert ended.out == f"{out}: {len(table)} events in 1 files\n"
    shown = cli("events", str(manifest), "found", "--threshold", "0.5", "--sound", "wren")
    assert len(shown.out.splitlines()) == 1 + len(table)
    for to in ("raven", "audacity"):
        ended = cli("events", str(manifest), "found", "--to", to, "--out", str(tmp_path / to))
        assert ended.code == 0
        assert len(list((tmp_path / to).rglob("*.txt"))) == 2


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["vectors"], 3, "expected a run that writes detections, found 'embed'"),
        (["found", "--threshold", "most"], 2, "expected best-f1, precision, or a probability"),
        (["found", "--to", "excel"], 2, "expected one of csv, raven, audacity"),
        (["found", "--to", "raven"], 2, "name a folder with --out"),
        (["found", "--sound", "wrem"], 3, "sound 'wrem' is not in the store"),
    ],
)
def test_what_is_refused(manifest: Path, cli: Cli, words: list[str], code: int, told: str) -> None:
    ended = cli("events", str(manifest), *words)
    assert ended.code == code
    assert told in ended.error
