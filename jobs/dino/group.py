"""Processes that train together: joined by gloo, and by NCCL for what lies on CUDA devices."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
from torch import distributed

from jobs.common.processes import Place
from lake.errors import TryAgainError

Value = TypeVar("Value")

PATIENCE: Final = timedelta(minutes=30)
"""After so long without an answer the others are taken for dead; a death is mostly noticed at once."""

SIGNS_OF_A_LOST_PROCESS: Final = ("connection closed", "connection reset", "gloo", "nccl", "tcpstore", "timed out")


@contextmanager
def joined(place: Place, device: torch.device) -> Iterator[None]:
    """Belong to the processes of a launcher while the block runs; nothing happens in a process of its own.

    Raises
    ------
    TryAgainError
        If another of the processes is gone.
    """
    if place.n_ranks == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    torchrun = place.launcher == "torchrun"  # its agent holds the store already
    where: dict[str, Any] = {"init_method": "env://" if torchrun else f"tcp://{place.address}:{place.port}"}
    try:
        distributed.init_process_group(backend, rank=place.rank, world_size=place.n_ranks, timeout=PATIENCE, **where)
        yield
    except RuntimeError as error:
        if not any(sign in str(error).lower() for sign in SIGNS_OF_A_LOST_PROCESS):
            raise
        first = str(error).strip().splitlines()[0]
        raise TryAgainError(
            f"process {place.rank} of {place.n_ranks} ({place.launcher}) lost another one that trained with it"
            f" ({first[:200]}). See that one's own message. Type the same command again: it goes on from the newest"
            " checkpoint, with as many processes as there are then."
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def n_ranks() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if _is_joined() else 1


def rank() -> int:
    """Return this process's number among them."""
    return distributed.get_rank() if _is_joined() else 0


def of_first(value: Value) -> Value:
    """Return the value that process 0 has."""
    if not _is_joined():
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]


def of_all(value: Value) -> list[Value]:
    """Return the values of all processes in their order, to all of them."""
    if not _is_joined():
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def any_of(flags: list[bool]) -> list[bool]:
    """Return for each flag whether any process has raised it."""
    if not _is_joined():
        return flags
    raised = torch.tensor(flags, dtype=torch.int32)
    distributed.all_reduce(raised, op=distributed.ReduceOp.MAX)
    return [bool(each) for each in raised.tolist()]


def _is_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
