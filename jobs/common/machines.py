"""The processes that partitions are worked on in: a Dask cluster of this machine, or one that is there already.

Whoever reaches an open port of Dask can run what he likes as the one who opened it. So all traffic is TLS with a
key that only the run's processes have, on this machine too, and the dashboard listens on loopback only.
"""

import json
import logging
import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path

import dask.config
from distributed import Client, LocalCluster, Security

from jobs.common.memory import Memory
from jobs.common.schedulers import Scheduler
from jobs.common.signals import signals
from lake.errors import InputError, TryAgainError

CERTIFICATE, KEY, SCHEDULER_FILE = "certificate.pem", "key.pem", "scheduler.json"
LOOPBACK = "127.0.0.1"
CONNECT_S = 30.0
FILE_WAIT_S = 60.0
"""Seconds to wait for the file of a scheduler, which may have been started at the same moment."""
WORKER_MEMORY = {
    # Results are small and nothing is kept between partitions: there is nothing to spill, and a pause helps nobody.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


@contextmanager
def local_client(workers: int, memory: Memory | None = None) -> Iterator[Client]:
    """Start a Dask cluster on this machine, whose client is the current one until it ends.

    Parameters
    ----------
    workers
        Processes, one thread each.
    memory
        With it, a worker that takes more than its share is ended, and its partition tried again.

    Raises
    ------
    TryAgainError
        If the processes do not start.
    """
    limit = 0 if memory is None else memory.usable_bytes // workers
    security = Security.temporary()
    with _quiet(), dask.config.set(WORKER_MEMORY), ExitStack() as held:
        try:
            _start_tracker()
            cluster = held.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    security=security,
                    memory_limit=limit,
                    protocol="tls://",
                    host=LOOPBACK,
                    dashboard_address=f"{LOOPBACK}:0",
                    silence_logs=logging.CRITICAL,
                    scheduler_kwargs={"allowed_failures": 0},
                    preload=[__name__],
                )
            )
            client = held.enter_context(Client(cluster, security=security))
        except (RuntimeError, OSError, ValueError) as error:
            raise TryAgainError(
                f"the {workers} worker processes did not start ({_first_cause(error)}). Look whether memory, /dev/shm "
                "and the folder of temporary files are full; then type the same command again. With --workers 1 no "
                "other process is needed."
            ) from error
        yield client


def _start_tracker() -> None:
    """Start the process that multiprocessing keeps its books with, so that a hang-up does not end it before us."""
    if threading.current_thread() is not threading.main_thread():
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in signals("SIGHUP")}
    try:
        resource_tracker.ensure_running()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def connected(scheduler: Scheduler) -> Iterator[Client]:
    """Connect to a scheduler, whose client is the current one until the end.

    Raises
    ------
    InputError
        If it is not encrypted, or the key is not there, not complete or open to others.
    TryAgainError
        If its file does not appear, or it does not answer.
    """
    address = scheduler.address or _address_in(scheduler.file)
    security = _security(scheduler, address)
    with _quiet():
        try:
            client = Client(address, security=security, timeout=CONNECT_S, name="dawnchorus")
        except (OSError, TimeoutError) as error:
            raise TryAgainError(
                f"{address}: no Dask scheduler answers that has the same key ({_first_line(error)}). Look "
                "whether it runs, is reached from here and was started with the same certificate; then type the same "
                "command again."
            ) from error
        with client:
            yield client


def dask_setup(_: object) -> None:
    """Leave an interruption to the driver; Dask calls this in each worker of :func:`local_client`, as a preload."""
    for number in signals("SIGINT", "SIGHUP"):
        signal.signal(number, signal.SIG_IGN)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a new key, and the certificate that it signs itself, into a folder that only this user reads.

    Parameters
    ----------
    folder
        Made if it is not there.

    Returns
    -------
    tuple
        Paths of the certificate, which is its own authority, and of the key. It is valid for a year.

    Raises
    ------
    InputError
        If one of them is there already.
    """
    certificate, key = folder / CERTIFICATE, folder / KEY
    there = [str(path) for path in (certificate, key) if path.exists()]
    if there:
        raise InputError(f"{', '.join(there)}: there already. Use it (--tls {folder}), or name another folder.")
    made = Security.temporary().get_tls_config_for_role("scheduler")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, text in ((key, made["key"]), (certificate, made["cert"])):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
    return certificate, key


def how_to_start(folder: Path) -> str:
    """Return the commands that start a scheduler and workers with the key in a folder, and a run on them."""
    place = folder.resolve()
    certificate, key, file = (str(place / name) for name in (CERTIFICATE, KEY, SCHEDULER_FILE))
    common = ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key, "--scheduler-file", file]
    common += ["--host", LOOPBACK, "--dashboard-address", f"{LOOPBACK}:0"]
    others = f"as many as wanted; on other machines with --interface NAME in place of --host {LOOPBACK} in both lines"
    return "\n".join([
        f"{place}: a key and its certificate, for a year; whoever reads the key can run what he likes as you.",
        shlex.join(["dask", "scheduler", "--protocol", "tls", "--port", "0", *common]),
        f"{shlex.join(['dask', 'worker', *common, '--nthreads', '1'])}        # {others}",
        shlex.join(["dawnchorus", "run", "MANIFEST", "--scheduler-file", file, "--tls", str(place)]),
    ])  # fmt: skip


def _security(scheduler: Scheduler, address: str) -> Security | None:
    if not address.startswith("tls://"):
        if scheduler.insecure and scheduler.tls is None:
            return None
        raise InputError(
            f"{address}: expected a scheduler that speaks TLS (tls://…); whoever reaches an open one can run what he "
            "likes as you. Make a key with `dawnchorus certificate FOLDER`, which says how to start scheduler and "
            "workers with it; or add --insecure if nobody else reaches that network."
        )
    if scheduler.tls is None:
        found = Security(require_encryption=True)
        if not all(found.get_tls_config_for_role("client").get(name) for name in ("ca_file", "cert", "key")):
            raise InputError(
                f"{address}: expected the certificate and key that it was started with, found none. Add --tls FOLDER "
                "(made by `dawnchorus certificate FOLDER`), or set distributed.comm.tls in Dask's configuration."
            )
        return found
    certificate, key = scheduler.tls / CERTIFICATE, scheduler.tls / KEY
    for path in (certificate, key):
        if not path.is_file():
            raise InputError(
                f"--tls {scheduler.tls}: no {path.name} there; `dawnchorus certificate FOLDER` makes both."
            )
    if key.stat().st_mode & 0o077:
        raise InputError(f"{key}: others can read this key. Type `chmod 600 {key}`; if they may have, make a new one.")
    return Security(
        require_encryption=True, tls_ca_file=str(certificate), tls_client_cert=str(certificate), tls_client_key=str(key)
    )


def _address_in(file: Path | None) -> str:
    """Return the address in the file that a scheduler wrote, after waiting for it."""
    if file is None:
        raise InputError("a scheduler is known by its address or by its file; found neither.")
    until_s = time.monotonic() + FILE_WAIT_S
    while not file.is_file() and time.monotonic() < until_s:
        time.sleep(0.2)
    if not file.is_file():
        raise TryAgainError(
            f"--scheduler-file {file}: not there after {FILE_WAIT_S:g} s. "
            f"Start `dask scheduler --scheduler-file {file} …`, then type the same command again."
        )
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["address"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--scheduler-file {file}: expected the file that `dask scheduler --scheduler-file` writes, with an "
            f"address ({type(error).__name__}: {error})."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's messages to developers off the terminal; users get messages of this program."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado", "asyncio")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
