"""A dictionary that is killed while it is learnt, or written, is the same once it is learnt again."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from soundfiles import usual_study

ROOT = Path(__file__).parents[3]
CHAIN = """
[runs.atoms]
job = "dictionary"
inputs = { spectrograms = "mels" }
config = { patch_sizes = [[4, 4], [8, 8]], n_patches = 20000, n_rounds = 8 }
[runs.vectors]
job = "embed"
inputs = { spectrograms = "mels", model = "atoms" }
"""
SEED = 4
WRITTEN = ("models", "embeddings", "ledgers/atoms", "ledgers/vectors", "receipts/atoms", "receipts/vectors")


def typed(manifest: Path, *runs: str) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "jobs", "run", str(manifest), *runs, "--workers", "1"]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def contents(lake: Path) -> dict[str, bytes]:
    folders = [lake / "models/atoms", lake / "embeddings/vectors.zarr"]
    return {str(p.relative_to(lake)): p.read_bytes() for f in folders for p in sorted(f.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_killed_at_any_moment_it_is_the_same_afterwards(tmp_path: Path) -> None:
    manifest = usual_study(tmp_path).write()
    manifest.write_text(manifest.read_text() + CHAIN)
    assert typed(manifest, "mels").wait() == 0
    began = time.monotonic()
    assert typed(manifest, "atoms", "vectors").wait() == 0
    whole, took_s = contents(tmp_path / "lake"), time.monotonic() - began
    moments = random.Random(SEED)
    n_killed = 0
    for _ in range(4):
        for folder in (
            "models",
            "embeddings",
            "ledgers/atoms",
            "ledgers/vectors",
            "receipts/atoms",
            "receipts/vectors",
        ):
            subprocess.run(["rm", "-rf", str(tmp_path / "lake" / folder)], check=True)
        process = typed(manifest, "atoms", "vectors")
        time.sleep(moments.uniform(0.4, 1) * took_s)
        process.send_signal(signal.SIGKILL)
        n_killed += process.wait() == -signal.SIGKILL
        assert typed(manifest, "atoms", "vectors").wait() == 0
        assert contents(tmp_path / "lake") == whole
    assert n_killed >= 2
