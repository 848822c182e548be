"""Compute how many partitions fit into memory at the same time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.common.terminal import complain
from lake.errors import InputError, UsageError

USABLE_SHARE = 0.8
"""Of the machine's memory, or of its control group's, where nobody says how much may be used."""


@dataclass(frozen=True)
class Memory:
    """The memory that partitions need, and what they may take.

    Attributes
    ----------
    task_bytes
        The most that one process needs while it works on a partition, its children and libraries included.
    allowed_bytes
        What all processes together may take, if the user says so.
    needed_by
        The input that needs the most, in words.
    """

    task_bytes: int
    allowed_bytes: int | None = None
    needed_by: str = ""

    @property
    def need(self) -> str:
        """The memory that a partition needs, in words."""
        return size(self.task_bytes) + (f" (the most for {self.needed_by})" if self.needed_by else "")

    @property
    def usable_bytes(self) -> int:
        """Return the memory to use on this machine: a share of what it, its control group or its resource limit has."""
        from distributed.system import memory_limit  # noqa: PLC0415 (see `jobs.common.schedulers`)

        return int(memory_limit() * USABLE_SHARE) if self.allowed_bytes is None else self.allowed_bytes

    @property
    def n_tasks(self) -> int:
        """Partitions that may be worked on at the same time on this machine."""
        return self.usable_bytes // self.task_bytes


def parse_size(text: str | None, option: str = "--max-memory") -> int | None:
    """Return the bytes of a size such as ``8GB`` or ``512 MiB``.

    Raises
    ------
    UsageError
        If it is no size, or not above zero.
    """
    if text is None:
        return None
    from dask.utils import parse_bytes  # noqa: PLC0415 (see `jobs.common.schedulers`)

    try:
        n_bytes = int(parse_bytes(text)) if not text.strip().isdecimal() else 0
    except ValueError:
        n_bytes = 0
    if n_bytes <= 0:
        raise UsageError(f"{option} {text!r}: expected a size with its unit, for example 8GB or 512MiB.")
    return n_bytes


def workers_within(workers: int, memory: Memory | None) -> int:
    """Return how many of the wanted workers fit into memory; a line on standard error says so if fewer.

    Raises
    ------
    InputError
        If not even one fits.
    """
    if memory is None:
        return workers
    refuse_little(memory)
    if memory.n_tasks < workers:
        complain(
            f"{workers} workers would need up to {size(workers * memory.task_bytes)} of memory, "
            f"{size(memory.usable_bytes)} may be used: only {memory.n_tasks} start. --max-memory allows more."
        )
    return min(workers, memory.n_tasks)


def refuse_little(memory: Memory) -> None:
    """Refuse memory in which not even one partition fits.

    Raises
    ------
    InputError
    """
    if memory.n_tasks == 0:
        raise InputError(
            f"one partition needs up to {memory.need} of memory, {size(memory.usable_bytes)} may be used. "
            "Raise --max-memory, take a machine that has more, or give the run a new name with a smaller shard_windows."
        )


def size(n_bytes: int) -> str:
    """Return a number of bytes for people to read, such as ``1.50 GiB``."""
    from dask.utils import format_bytes  # noqa: PLC0415 (see `jobs.common.schedulers`)

    return str(format_bytes(n_bytes))


def refuse_small_workers(workers: Mapping[str, Mapping[str, Any]], memory: Memory) -> None:
    """Refuse workers of a scheduler whose own limit is below what a partition needs.

    Parameters
    ----------
    workers
        As a scheduler reports them: ``memory_limit`` in bytes (0 is none) and ``nthreads`` by address.
    memory
        What a partition needs.

    Raises
    ------
    InputError
        If one has less than that for each of its threads.
    """
    small = {
        address: worker
        for address, worker in workers.items()
        if worker.get("memory_limit") and worker["memory_limit"] < memory.task_bytes * worker["nthreads"]
    }
    if small:
        address, worker = next(iter(small.items()))
        raise InputError(
            f"{len(small)} of the scheduler's {len(workers)} workers have too little memory: {address} has "
            f"{size(worker['memory_limit'])} for {worker['nthreads']} threads, and one partition needs up to "
            f"{memory.need}. Start workers with --nthreads 1 and a --memory-limit of that or more."
        )
