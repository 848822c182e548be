"""Fixtures of reviews."""

from pathlib import Path

import pytest
from asking import SOUNDS


@pytest.fixture
def study(manifest: Path) -> Path:
    """Return the manifest of a finished study that has a table of sounds."""
    (manifest.parent / "sounds.csv").write_text(SOUNDS)
    return manifest
