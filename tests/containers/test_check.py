"""What ``apptainer test`` does in each image, outside of any."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("image", ["spectrograms", "dino", "cluster"])
def test_the_tiny_job_of_an_image_runs(image: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    words = [sys.executable, str(ROOT / "containers" / "check.py"), image]
    told = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
