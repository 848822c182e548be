"""The errors that a user can meet, each with the exit code of the command that raises it."""

import errno
from pathlib import Path
from typing import Final


class DawnchorusError(Exception):
    """Base of every error that carries a message for the user.

    A message names the thing, what was expected, what was found and what to do next.
    """

    exit_code = 1


class InputError(DawnchorusError, ValueError):
    """A recording, manifest, table or image is wrong; the user can fix it."""

    exit_code = 3


class UsageError(InputError):
    """A word on the command line is not what it should be."""

    exit_code = 2


class StoreFormatError(InputError):
    """A store has another format version or schema than this release reads."""


class IdentityError(InputError):
    """A run's name is taken by a run with another configuration."""


class StoreError(DawnchorusError):
    """A store is incomplete, damaged, or differs from its ledger."""

    exit_code = 4


class QuarantineError(DawnchorusError):
    """The run finished, but set aside more recordings than it may."""

    exit_code = 5


class TryAgainError(DawnchorusError):
    """The run cannot go on now: another process owns it, or the disk is full."""

    exit_code = 75


BY_GRAVITY: Final = (0, 5, 75, 2, 3, 4, 1)
"""Exit codes, the gravest last; any other one, as of a process that was killed, is graver still."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_WRONG_PATH = {errno.ENOENT, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EEXIST}
_SHORT = {
    errno.EFBIG: "Raise the limit on the size of files (`ulimit -f`), or write to a disk that takes larger ones",
    errno.EMFILE: "Raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "Close other programs",
    errno.ENOMEM: "Take fewer --workers, or a machine that has more memory",
    errno.EAGAIN: "Raise the limit on processes (`ulimit -u`), or take fewer --workers",
}
_BY_CLASS = {
    FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES, NotADirectoryError: errno.ENOTDIR,
    IsADirectoryError: errno.EISDIR, FileExistsError: errno.EEXIST, TimeoutError: errno.ETIMEDOUT,
    ConnectionError: errno.ECONNRESET,
}  # fmt: skip
"""Errors that libraries raise without a number."""


def of_system(error: OSError, path: Path | str | None = None) -> DawnchorusError | None:
    """Return the error that says what to do about one of the operating system.

    Parameters
    ----------
    error
        What the system said.
    path
        The file that could not be written, where the error does not name it.

    Returns
    -------
    DawnchorusError or None
        :class:`InputError` where a path is wrong, :class:`TryAgainError` where something is short, locked or out of
        order; ``None`` for an error that has no number, which a library raised for a reason of its own.
    """
    number = error.errno or next((number for kind, number in _BY_CLASS.items() if isinstance(error, kind)), None)
    if number is None:
        return None
    said = error.strerror or " ".join(str(error).split()) or type(error).__name__
    what = path or error.filename or error.filename2
    where = f"{what}: " if what else ""
    again = "What was written before is whole. {} and type the same command again: it continues where it stopped."
    if number in _FULL:
        return TryAgainError(f"{where}the disk (or your quota) is full ({said}). {again.format('Free some space')}")
    if number in _REFUSED:
        what = "cannot be written" if path else "cannot be written, or read"
        return TryAgainError(f"{where}{what} ({said}). {again.format('Make the folder writable')}")
    if number in _WRONG_PATH:
        return InputError(
            f"{where}{said}. Correct the path, in the manifest or on the command line, or restore the file."
        )
    if number in _SHORT:
        return TryAgainError(f"{where}{said}. {again.format(_SHORT[number] + ',')}")
    return TryAgainError(
        f"{where}the system cannot do this now ({said}). {again.format('Look at the disk or the network,')}"
    )
