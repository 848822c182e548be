"""Dask clusters for tests, started as a user starts them: real processes, real keys."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import psutil
from commands import ROOT

from jobs.common.machines import how_to_start, write_certificate
from jobs.common.schedulers import Scheduler


def slow_pid(_: int) -> int:
    """Return the process that works on a partition, after a moment."""
    time.sleep(0.05)
    return os.getpid()


class Cluster:
    """A scheduler and two workers, as a user starts them with the printed commands."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / "key"
        write_certificate(self.key)
        self.file = self.key / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        _, scheduler, worker, _ = how_to_start(self.key).splitlines()
        self.start(shlex.split(scheduler))
        for _ in range(2):
            self.start(shlex.split(worker, comments=True))

    def start(self, words: list[str]) -> None:
        """Start a process of it, such as one more worker."""
        with (self.key / "log").open("ab") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", *words], cwd=ROOT, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
            )  # fmt: skip
        self.processes.append(started)

    @property
    def scheduler(self) -> Scheduler:
        """How a run finds it."""
        return Scheduler(file=self.file, tls=self.key)

    def stop(self) -> None:
        """End its processes."""
        children = [child for p in self.processes if p.poll() is None for child in psutil.Process(p.pid).children()]
        for process in self.processes:
            process.kill()
            process.wait()
        for child in children:
            child.kill()
        psutil.wait_procs(children, timeout=10)
