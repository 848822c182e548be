"""Typing commands in tests."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Ended(NamedTuple):
    """How a command ended, and what it wrote to standard output and standard error."""

    code: int | str | None
    out: str
    error: str


Cli = Callable[..., Ended]


def command(*words: object) -> Ended:
    """Type a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)
