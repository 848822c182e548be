"""A file system that does what networks do now and then; it is asked in a decoder's process."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

LOCAL = LocalFileSystem()


class FaultyFileSystem(fsspec.AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """The files of this machine as a remote system; one whose name ends in a fault, as ``a-hang.wav``, has it.

    ``hang``: nothing comes. ``lost``: the connection breaks. ``odd``: an error that is none of the system's.
    ``full``: no room for the copy. ``exit``: the process is gone. It has it no more beside a file ``a-hang.mended``.
    """

    protocol = "faulty"
    root_marker = "/"

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        """List a folder."""
        have_fault(path)
        return LOCAL.ls(self._strip_protocol(path), detail=detail)

    def info(self, path: str, **_: Any) -> Any:
        """Return what is known of a file."""
        return LOCAL.info(self._strip_protocol(path))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> Any:
        """Return bytes."""
        have_fault(path)
        return LOCAL.cat_file(self._strip_protocol(path), start, end)

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        """Copy a file."""
        have_fault(rpath)
        LOCAL.get_file(self._strip_protocol(rpath), lpath)


def have_fault(path: str) -> None:
    """Do what the name of a file says."""
    fault = Path(path).stem.rpartition("-")[2]
    if Path(path).with_suffix(".mended").exists():
        return
    if fault == "hang":
        time.sleep(1000)
    if fault == "exit":
        os._exit(7)
    if fault == "lost":
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    if fault == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if fault == "odd":
        raise LookupError("no credentials")
