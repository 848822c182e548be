"""A chain of runs on the small study of sound files: its manifest, and what tests ask of it."""

from pathlib import Path
from typing import Any

from soundfiles import Study

from jobs.common.run import Options, Run
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from jobs.runner.state import states
from lake.receipts import read_receipts

CHAIN = """
[runs.scores]
job = "evaluate"
inputs = { mine = "clusters" }
[runs.clusters]
job = "cluster"
inputs = { embeddings = "vectors" }
config = { n_clusters = 3, seed = 7 }
[runs.vectors]
job = "embed"
inputs = { spectrograms = "mels" }
config = { features = "logmel" }
"""
LABELS = """recorder,start_utc,end_utc,label
a,2021-07-14T23:59:00Z,2021-07-14T23:59:30Z,wren
a,2021-07-14T23:59:55Z,2021-07-15T00:00:30Z,robin
"""


def write_chain(study: Study) -> Path:
    """Write the tables and the manifest of the chain; return its path."""
    manifest = study.write()
    manifest.write_text(f'labels = "labels.csv"\n{manifest.read_text()}{CHAIN}')
    (study.folder / "labels.csv").write_text(LABELS)
    return manifest


def run_chain(manifest: Path, *names: str, **options: Any) -> list[str]:
    """Execute runs and return the lines that were said."""
    said: list[str] = []
    execute_runs(read_manifest(manifest), names, Options(**options), said.append)
    return said


def standing(manifest: Path) -> dict[str, tuple[str, str]]:
    """Return state and detail of every run."""
    return {state.name: (state.state, state.detail) for state in states(read_manifest(manifest))}


def runs(manifest: Path) -> dict[str, Run]:
    """Return the runs of a manifest by name."""
    return dict(read_manifest(manifest).runs)


def receipts(manifest: Path, name: str) -> list[dict[str, Any]]:
    """Return the receipts of a run, oldest first."""
    return read_receipts(runs(manifest)[name].lake, name)


def n_windows(manifest: Path, name: str) -> int:
    """Return how many windows the ledger of a run lists."""
    return int(runs(manifest)[name].ledger.summary()["n_windows"])


def store(manifest: Path, name: str) -> str:
    """Return where the output of a run is."""
    return runs(manifest)[name].output.url
