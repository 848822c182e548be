"""Disk space and files that a run will take, compared with what is free."""

import os
from dataclasses import dataclass
from pathlib import Path

from jobs.common.memory import size
from lake.errors import TryAgainError
from lake.storage import Storage


@dataclass(frozen=True)
class Space:
    """The most that a run will write.

    Attributes
    ----------
    n_bytes, n_files
        Bytes, and files.
    fewer_files
        How the run could do with fewer files, in words; empty where it cannot.
    """

    n_bytes: int
    n_files: int
    fewer_files: str = ""


def refuse_full(output: Storage, space: Space) -> None:
    """Refuse to begin where the disk, or this user's part of it, cannot hold what will be written.

    Raises
    ------
    TryAgainError
        If fewer bytes or files are free than will be written.
    """
    free = output.free_bytes()
    if free is not None and free < space.n_bytes:
        raise TryAgainError(
            f"{output.url}: up to {size(space.n_bytes)} will be written, {size(free)} are free. "
            "Free some space, or put the lake elsewhere."
        )
    n_free = free_files(output)
    if n_free is not None and n_free < space.n_files:
        ways = ", ".join(["Remove some", *([space.fewer_files] if space.fewer_files else [])])
        raise TryAgainError(
            f"{output.url}: {space.n_files} files will be written, {n_free} more can be made there. "
            f"{ways}, or put the lake elsewhere."
        )


def described(output: Storage, space: Space) -> str:
    """Return a line that says what will be written, and whether there is room for it."""
    free = output.free_bytes()
    short = ", too few: the run will be refused" if free is not None and free < space.n_bytes else ""
    there = "" if free is None else f"; {size(free)} are free{short}"
    return f"disk: up to {size(space.n_bytes)} in {space.n_files} files{there}"


def free_files(output: Storage) -> int | None:
    """Return how many files this user can still make; ``None`` where nobody counts them."""
    if not output.is_local:
        return None
    folder = Path(output.root)
    while not folder.exists():
        folder = folder.parent
    found = os.statvfs(folder)
    return found.f_favail if found.f_files else None
