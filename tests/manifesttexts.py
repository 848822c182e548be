"""A manifest with a run of nearly every job, for tests of what is read and of what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.runner.manifest import read_manifest
from lake.errors import InputError

WHOLE = """
lake = "lake"
labels = "truth.csv"
recordings = { table = "tables/recordings.csv", root = "audio", deployments = "deployments.csv" }

[runs.atlas]
job = "atlas"
inputs = { clusters = "clusters", spectrograms = "mels" }

[runs.scores]
job = "evaluate"
inputs = { mine = "clusters" }

[runs.clusters]
job = "cluster"
inputs = { embeddings = "vectors" }
config = { n_clusters = 5 }

[runs.vectors]
job = "embed"
inputs = { spectrograms = "mels", model = "dino" }

[runs.dino]
job = "dino"
inputs = { spectrograms = "mels" }
resources = { gpus = 8 }
image = { name = "dino", sha256 = "abababababababababababababababababababababababababababababababab" }

[runs.mels]
job = "spectrograms"
config = { window_s = 6.0, n_mels = 64 }
"""
MELS = '[runs.mels]\njob = "spectrograms"\n'
Write = Callable[[str], Path]
"""Writes the text of a manifest and returns its path."""


def problems(path: Path) -> list[str]:
    """Return the lines of the message, after the one that counts them."""
    with pytest.raises(InputError) as caught:
        read_manifest(path)
    assert caught.value.exit_code == 3
    first, *lines = str(caught.value).split("\n")
    assert first == f"{path}: {len(lines)} problem{'s' if len(lines) > 1 else ''}:"
    return [line.removeprefix("  ") for line in lines]
