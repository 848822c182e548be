"""What a light installation imports: no torch, and nothing that only POSIX has."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIGHT = [
    "dawnchorus", "jobs.cli.main", "jobs.workflows.begin", "jobs.catalog.command", "jobs.runner.state",
    "jobs.submit.command",
    "jobs.review.ask", "jobs.review.page", "jobs.review.command", "jobs.review.deliver", "jobs.common.audio.cutting",
    "jobs.runner.dryrun", "jobs.runner.execute", "jobs.runner.reproduce", "jobs.common.machines", "jobs.runner.ranks",
    "lake.query.find", "lake.query.select", "lake.query.similar", "lake.query.trace", "lake.exports.formats",
    "lake.query.carrying", "lake.query.naming", "lake.verdicts",
    "lake.query.events",
]  # fmt: skip
"""Modules behind query, export, similar, trace, review, status, submit, catalog and init."""
PROGRAM = """
import builtins, importlib, os, signal, sys
import dask, distributed, fsspec, jinja2, numpy, pandas, PIL.Image, psutil, pydantic
import rich, soundfile, typer, xarray, zarr
import asyncio, multiprocessing.resource_tracker, subprocess, tempfile, typer.core

POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty"}
LACKING = {"av", "matplotlib", "numba", "pyarrow", "scipy", "sklearn", "timm", "torch", "torchaudio"}
for name in [*LACKING, *POSIX - {"posix"}]:
    sys.modules.pop(name, None)
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM", "setitimer", "pthread_sigmask"):
    delattr(signal, name)
for name in "fork getuid geteuid killpg register_at_fork sched_getaffinity setsid mkfifo statvfs".split():
    delattr(os, name)
imported = builtins.__import__

def refuse(name, globals=None, locals=None, fromlist=(), level=0):
    asked_by = (globals or {}).get("__name__", "").partition(".")[0]
    top = name.partition(".")[0]
    if top in LACKING or (top in POSIX and asked_by in {"dawnchorus", "jobs", "lake"}):
        raise ModuleNotFoundError(f"{globals['__name__']} imports {name}", name=name)
    return imported(name, globals, locals, fromlist, level)

builtins.__import__ = refuse
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def imported(*modules: str) -> str:
    """Import modules where torch and POSIX are missing; return the last line of what went wrong."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *modules], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return (done.stderr.splitlines() or [""])[-1] if done.returncode else ""


def test_light_commands_need_neither_torch_nor_posix() -> None:
    assert imported(*LIGHT) == ""


@pytest.mark.parametrize("module", ["jobs.dino.command", "jobs.demo.study"])
def test_what_needs_them_is_seen(module: str) -> None:
    assert "ModuleNotFoundError" in imported(module)
