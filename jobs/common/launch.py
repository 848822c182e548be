"""The processes of a run that work together, started on this machine without opening a port.

They find each other through a file that only this user can reach, and talk over loopback where all of them are on
one machine. Launchers of others, such as torchrun, listen on all interfaces.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from jobs.common.processes import LAUNCHERS, MEETING, NODES, OWN
from jobs.common.signals import signals
from jobs.common.terminal import complain
from lake.errors import BY_GRAVITY, InputError

GRACE_S: Final = 60.0
"""Seconds that the other processes may go on after one failed; they mostly notice at once."""
KILL_S: Final = 30.0
"""Seconds that a process may take to end when it was asked to."""
POLL_S: Final = 0.1
STOP_SIGNALS: Final = signals("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")
_BOOT: Final = (
    "import sys, runpy; sys.path[:] = {path!r}; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
)


@dataclass
class _Rank:
    """One process, and whether it was ended here because another one had failed."""

    number: int
    process: "subprocess.Popen[bytes]"
    ended_here: bool = False

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    @property
    def failed(self) -> bool:
        return self.process.poll() not in {None, 0}


def launch(
    module: str,
    words: Sequence[str],
    n_local: int,
    *,
    node: tuple[int, int] = (0, 1),
    meeting: Path | None = None,
    together: bool = True,
) -> int:
    """Start processes of a module, wait for them, and return the gravest of their exit codes.

    SIGTERM, SIGINT, SIGUSR1 and SIGHUP reach each of them as SIGTERM, so that a training writes a checkpoint. They end
    with this process, however it ends.

    Parameters
    ----------
    module, words
        What each of them runs, as ``python -m module words…``.
    n_local
        How many, on this machine.
    node
        ``(i, n)``: this machine is the i-th of n, with as many processes on each.
    meeting
        A folder that all machines see and only this user can enter, empty at the start; needed if n > 1.
    together
        Whether they need each other: where one fails the others are ended.

    Raises
    ------
    InputError
        If there are several machines without a folder to meet in, or others can enter it.
    """
    with ExitStack() as stack:
        if meeting is None and node[1] > 1:
            raise InputError(f"--node {node[0]}/{node[1]}: expected --meet FOLDER, on a disk that all nodes share.")
        folder = _own(meeting) if meeting else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        told = stack.enter_context(_signals())
        command = [sys.executable, "-c", _BOOT.format(path=sys.path, module=module), *words]
        common = {**os.environ, MEETING: str(folder / "store"), NODES: str(node[1])}
        ranks = []
        for i in range(n_local):
            values = (node[0] * n_local + i, n_local * node[1], i)
            ranks.append(_start(command, common | dict(zip(LAUNCHERS[OWN], map(str, values), strict=True)), values[0]))
        _wait(ranks, told, together=together)
    return gravest([_code(rank, is_told=bool(told)) for rank in ranks])


def run_child(command: Sequence[str]) -> int:
    """Run another program, and return its exit code; 75 if this process was asked to stop meanwhile.

    SIGTERM, SIGINT, SIGUSR1 and SIGHUP reach it and what it started as SIGTERM, and it is waited for: what it does then
    (a checkpoint, a claim that is given back) is done when this returns.
    """
    with _signals() as told:
        child = _start(command, os.environ, 0)
        is_passed_on = False
        while child.lives or (told and _has_group(child)):
            if told and not is_passed_on:
                is_passed_on = True
                with suppress(ProcessLookupError):
                    os.killpg(child.process.pid, signal.SIGTERM)
            time.sleep(POLL_S)
    return 75 if told else _code(child, is_told=False)


def _has_group(child: _Rank) -> bool:
    """Return whether a process, or one that it started, still runs."""
    try:
        os.killpg(child.process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def gravest(codes: Sequence[int]) -> int:
    """Return the gravest of exit codes: killed, bug, store, input, usage, try again, too many set aside, done."""
    return max(codes, key=lambda code: (BY_GRAVITY.index(code) if code in BY_GRAVITY else len(BY_GRAVITY), code))


def _own(folder: Path) -> Path:
    found = folder.stat() if folder.is_dir() else None
    if found is None or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise InputError(f"--meet {folder}: expected a folder of yours that nobody else can enter (mode 700).")
    return folder


def _start(command: Sequence[str], environment: Mapping[str, str], number: int) -> _Rank:
    process = subprocess.Popen(  # noqa: S603 (our own command)
        command,
        env=environment,
        start_new_session=True,  # signals of a terminal come once, through this process
        preexec_fn=_end_with_parent,  # noqa: PLW1509 (no thread runs in this process)
    )
    return _Rank(number, process)


def _end_with_parent() -> None:
    """Ask the kernel, on Linux, to send this process SIGTERM when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _wait(ranks: Sequence[_Rank], told: list[int], *, together: bool) -> None:
    is_passed_on = False
    failed_s: float | None = None
    while any(rank.lives for rank in ranks):
        if told and not is_passed_on:
            is_passed_on = True
            for rank in ranks:
                _send(rank, signal.SIGTERM)
        if together and failed_s is None and any(rank.failed for rank in ranks):
            failed_s = time.monotonic()
        if failed_s is not None and time.monotonic() - failed_s > GRACE_S:
            _end(ranks)
        time.sleep(POLL_S)


def _end(ranks: Sequence[_Rank]) -> None:
    """End processes that wait for one that failed."""
    living = [rank for rank in ranks if rank.lives]
    for number, seconds in ((number, KILL_S) for number in signals("SIGTERM", "SIGKILL")):
        for rank in living:
            rank.ended_here = True
            _send(rank, number)
        until_s = time.monotonic() + seconds
        while any(rank.lives for rank in living) and time.monotonic() < until_s:
            time.sleep(POLL_S)


def _send(rank: _Rank, number: int) -> None:
    if rank.lives:
        rank.process.send_signal(number)


def _code(rank: _Rank, *, is_told: bool) -> int:
    """Return the exit code of a process that has ended, with 75 for one that was asked to end."""
    code = rank.process.returncode
    if code >= 0:
        return code
    if rank.ended_here or (is_told and -code == signal.SIGTERM):
        return 75
    complain(f"dawnchorus: process {rank.number} was ended by {signal.Signals(-code).name}.")
    return 128 - code


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the signals that ask this process to stop while the block runs."""
    told: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    wanted = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # `nohup` ignores one
    before = {number: signal.signal(number, note) for number in wanted}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
