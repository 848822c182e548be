"""End a command: interruptions and the system's errors become one message and an exit code."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from jobs.common.signals import signals
from lake.errors import DawnchorusError, InputError, TryAgainError, of_system

STOPS = signals("SIGTERM", "SIGHUP")
GRACE_S = 5.0
"""Seconds after a signal in which another one does not cut short what is being put in order."""
REMOTE = {
    "aiohttp": ("ClientError",),
    "azure.core.exceptions": ("AzureError",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "gcsfs.retry": ("HttpError",),
    "google.auth.exceptions": ("GoogleAuthError",),
    "requests.exceptions": ("RequestException",),
}
"""Errors of the libraries behind object stores that are no :class:`OSError`, by module."""


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C that ends the command; it passes wherever Ctrl-C passes."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn whatever ends the block but is no bug into an error with a message.

    Raises
    ------
    DawnchorusError
        :class:`TryAgainError` after a signal, or where memory, disk, network or another service is short;
        :class:`InputError` where a path or an object store is not what it should be.
    """
    try:
        with _stopped_by_signals():
            yield
    except KeyboardInterrupt as stop:
        what = f"stopped by {stop}" if isinstance(stop, Stopped) else "interrupted"
        raise TryAgainError(
            f"{what}. What was written before is whole; the same command again continues where it stopped."
        ) from None
    except MemoryError as error:
        raise TryAgainError(
            f"memory is used up ({error or 'none is left'}). Take fewer --workers, raise the limit (`ulimit -v`), or "
            "take a machine that has more; then type the same command again."
        ) from error
    except OSError as error:
        told = of_system(error)
        if told is None:
            raise
        raise told from error
    except remote_errors() as error:
        raise _of_service(error) from error


def remote_errors() -> tuple[type[Exception], ...]:
    """Return the classes of :data:`REMOTE` whose modules are loaded."""
    return tuple(
        getattr(sys.modules[name], kind) for name, kinds in REMOTE.items() if name in sys.modules for kind in kinds
    )


def open_standard_streams() -> None:
    """Open what the caller closed (``>&-``) to nowhere, so that no file of ours takes its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115 (a stream)


def _of_service(error: Exception) -> DawnchorusError:
    text = " ".join(str(error).split()) or type(error).__name__
    if "credential" in text.lower() or "token" in text.lower():
        return InputError(
            f"the object store asks who you are: {text}. Give its credentials in the environment "
            "(for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or in its library's own configuration."
        )
    return TryAgainError(
        f"the object store did not do what it was asked: {text}. Look at its address and whether it is reached from "
        "here; then type the same command again."
    )


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raise :class:`Stopped` on the signals that end a process, where nobody has chosen otherwise (``nohup``)."""
    received_s = -GRACE_S

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal received_s
        if time.monotonic() - received_s >= GRACE_S:
            received_s = time.monotonic()
            raise Stopped(signal.Signals(number).name)

    taken = [number for number in STOPS if signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in taken:
            signal.signal(number, stop)
    except ValueError:  # not the main thread
        taken = []
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
