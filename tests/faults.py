"""Faults at chosen moments of a run: at the n-th shard, ledger line, index file or commit, before, amid or after it.

A process is armed with moments; a fault happens once, and leaves a mark in a folder, so that processes that are
started again do not meet it again.
"""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import fsspec.config

from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from lake.layout import Lake
from lake.storage import Storage

STEPS = ("shard", "ledger", "index", "commit")
WHENS = ("before", "torn", "after")
SHARDED = ("spectrogram", "score")
"""Arrays whose shards are a step."""
PRELOADED = ["jobs.runner.execute", "jobs.spectrograms.command", "jobs.spectrograms.core", "distributed"]
"""What takes long to import, and must not depend on the environment."""


@dataclass(frozen=True)
class Moment:
    """A moment of a process: ``when`` with regard to its ``number``-th durable ``step``, and who is killed then.

    ``who`` is ``driver``, ``worker`` or ``both``.
    """

    who: str
    step: str
    number: int
    when: str

    @property
    def mark(self) -> str:
        return f"{self.who}-{self.step}-{self.number}-{self.when}"


class Arming(Storage):
    """A storage that arms the worker process it arrives in."""

    moments: tuple[Moment, ...] = ()
    marks: str = ""
    driver: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.url, self.moments, self.marks, self.driver)


def run_until_killed(manifest: str, moments: Sequence[Moment], workers: int, marks: str) -> None:
    """Run a manifest in this process, which is the driver, and meet the moments."""
    output = Lake.output

    def arming_output(self: Lake, kind: str, run: str) -> Storage:
        storage = Arming(output(self, kind, run).url)
        storage.moments = tuple(moment for moment in moments if moment.who != "driver")
        storage.marks, storage.driver = marks, os.getpid()
        return storage

    Lake.output = arming_output  # type: ignore[method-assign] # the point of it
    arm([moment for moment in moments if moment.who == "driver"], marks, os.getpid())
    execute_runs(read_manifest(Path(manifest)), [], Options(workers=workers), lambda _: None)


def run_and_pause(manifest: str, moment: Moment, folder: str) -> None:
    """Run a manifest in this process; at a moment leave ``there`` in a folder and wait until ``go`` is in it."""

    def pause(_: Moment) -> None:
        (Path(folder) / "there").touch()
        while not (Path(folder) / "go").exists():
            time.sleep(0.02)

    watch_steps([moment], pause)
    execute_runs(read_manifest(Path(manifest)), [], Options(), lambda _: None)


@contextmanager
def paused_child(manifest: str, moment: Moment, folder: Path) -> Iterator[BaseProcess]:
    """Have a process run a manifest and wait at a moment until the block ends; then it goes on to its end."""
    folder.mkdir()
    child = started(run_and_pause, manifest, moment, str(folder))
    try:
        stop = time.monotonic() + 120
        while not (folder / "there").exists() and child.is_alive() and time.monotonic() < stop:
            time.sleep(0.02)
        assert (folder / "there").exists(), "the moment came"
        yield child
    finally:
        (folder / "go").touch()
        child.join(240)


def in_child(target: Callable[..., None], *args: object) -> int:
    """Call a function in a process of its own; return the exit code of that."""
    child = started(target, *args)
    child.join(240)
    assert child.exitcode is not None
    return child.exitcode


def started(target: Callable[..., None], *args: object) -> BaseProcess:
    """Start a process that calls a function, with this one's environment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    child = context.Process(target=_with_environment, args=(dict(os.environ), target, args))
    child.start()
    return child


def _with_environment(environment: dict[str, str], target: Callable[..., None], args: Sequence[object]) -> None:
    os.environ.update(environment)
    fsspec.config.set_conf_env(fsspec.config.conf)
    target(*args)


def arm(moments: Sequence[Moment], marks: str, driver: int) -> None:
    """Have this process killed, and the driver with it where both are to be, at the first moment that comes."""

    def kill(moment: Moment) -> None:
        try:
            os.close(os.open(Path(marks) / moment.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        if moment.who == "both":
            os.kill(driver, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(10)

    watch_steps(moments, kill)


def watch_steps(moments: Sequence[Moment], then: Callable[[Moment], None]) -> Callable[[], None]:
    """Call a function at moments of this process; return what ends it."""
    append, write = Storage.append, Storage.write
    counts: Counter[str] = Counter()

    def meet(step: str, when: str) -> bool:
        met = [moment for moment in moments if (moment.step, moment.number, moment.when) == (step, counts[step], when)]
        for moment in met:
            then(moment)
        return bool(met)

    def stepping_append(self: Storage, key: str, data: bytes) -> None:
        counts["ledger"] += 1
        meet("ledger", "before")
        if any((m.step, m.number, m.when) == ("ledger", counts["ledger"], "torn") for m in moments):
            append(self, key, data[: len(data) // 2])
            meet("ledger", "torn")
            data = data[len(data) // 2 :]
        append(self, key, data)
        meet("ledger", "after")

    def stepping_write(self: Storage, key: str, data: bytes | memoryview) -> None:
        step = step_of(self, key)
        counts[step] += 1
        meet(step, "before")
        if any((m.step, m.number, m.when) == (step, counts[step], "torn") for m in moments) and self.is_local:
            aside = Path(self.path(key)).with_name(".cut.aside")
            aside.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(data[: len(data) // 2])
        meet(step, "torn")
        write(self, key, data)
        meet(step, "after")

    Storage.append, Storage.write = stepping_append, stepping_write  # type: ignore[method-assign] # the point of it

    def end() -> None:
        Storage.append, Storage.write = append, write  # type: ignore[method-assign] # as it was

    return end


def step_of(storage: Storage, key: str) -> str:
    """Return which kind of step it is to write a key: one of :data:`STEPS`, or ``record``."""
    if not storage.root.endswith(".zarr"):
        return "ledger" if key.endswith(".json") and key.count("/") == 2 else "record"
    if key == "zarr.json":
        return "commit"
    array, _, name = key.partition("/")
    return "shard" if array in SHARDED and name != "zarr.json" else "index"


_armed: list[bool] = []


def _arrive(url: str, moments: tuple[Moment, ...], marks: str, driver: int) -> Storage:
    """Make the storage again; in the driver's own scheduler, on its way to a worker, as it was."""
    if os.getpid() == driver:
        storage = Arming(url)
        storage.moments, storage.marks, storage.driver = moments, marks, driver
        return storage
    if not _armed:
        _armed.append(True)
        arm(moments, marks, driver)
    return Storage(url)
