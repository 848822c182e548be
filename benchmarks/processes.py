"""Costs of a command and all processes below it."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.memory import allocated_bytes

EVERY_S = 0.2


@dataclass(frozen=True)
class Cost:
    """Seconds, CPU-seconds of processes that were waited for, peak memory of the tree, exit code, bytes written."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    code: int
    n_bytes: int = 0

    def __add__(self, later: "Cost") -> "Cost":
        """Return the cost of both, one after the other, with the later exit code."""
        peak = max(self.peak_bytes, later.peak_bytes)
        n_bytes = self.n_bytes + later.n_bytes
        return Cost(self.seconds + later.seconds, self.cpu_s + later.cpu_s, peak, later.code, n_bytes)


def measured(words: list[str], folder: Path, log: Path, *, kill_after_s: float | None = None) -> Cost:
    """Run a command in a folder to its end and return its cost.

    Parameters
    ----------
    words, folder, log
        The command line, its working folder, and the file that its output is appended to.
    kill_after_s
        Seconds after which it and all processes below it are killed.
    """
    began, peak = time.perf_counter(), 0
    with log.open("ab") as out:
        process = subprocess.Popen(words, cwd=folder, stdout=out, stderr=out, start_new_session=True)
    watched = psutil.Process(process.pid)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        seconds = time.perf_counter() - began
        with suppress(psutil.NoSuchProcess):
            peak = max(peak, sum(allocated_bytes(one.pid) for one in [watched, *watched.children(recursive=True)]))
            if kill_after_s is not None and seconds > kill_after_s:
                for one in [watched, *watched.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        one.send_signal(signal.SIGKILL)
        time.sleep(EVERY_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, peak, process.returncode)
