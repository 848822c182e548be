"""Processes that train together: joined by gloo, and by NCCL for what lies on CUDA devices.

They find each other through a file, and talk over loopback where all of them are on one host. What they send each
other is JSON or tensors: whoever reached their ports could not have anything run.
"""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, distributed

from jobs.common.meeting import agree
from jobs.common.processes import Place
from lake.errors import InputError, TryAgainError

Value = TypeVar("Value")

PATIENCE: Final = timedelta(minutes=30)
"""After so long without an answer the others are taken for dead; a death is mostly noticed at once."""

SIGNS_OF_A_LOST_PROCESS: Final = (
    "connection closed", "connection reset", "gloo", "nccl", "tcpstore", "timed out", "timeout",
)  # fmt: skip
_STRANGER: Final = "Start all of them with the same release; on a shared network somebody else may have sent it."
MOST_BYTES: Final = 2**28
"""More than a process has to say at once; a larger message is not taken."""


@contextmanager
def joined(place: Place, device: torch.device, folder: Path | None = None) -> Iterator[None]:
    """Belong to the processes of a launcher while the block runs; nothing happens in a process of its own.

    Parameters
    ----------
    place
        This process among them.
    device
        Where it computes.
    folder
        Where processes meet whose launcher made no file for that: the same for all, on a disk that they share.

    Raises
    ------
    TryAgainError
        If another of the processes is gone.
    InputError
        If they cannot meet in the folder.
    """
    if place.n_ranks == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        where = _meet(place, folder)
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
        if place.rank == 0 and folder is not None and not place.meeting:
            shutil.rmtree(folder, ignore_errors=True)


def _meet(place: Place, folder: Path | None) -> dict[str, Any]:
    """Return how the processes find each other, in the words of ``init_process_group``."""
    if place.launcher == "torchrun":  # its agent holds a store already
        if place.one_host:
            _stay_inside()
        return {"init_method": "env://"}
    if place.meeting:
        path, is_one_host = Path(place.meeting), place.one_host
    elif folder is not None:
        path, is_one_host = agree(folder, place.rank, place.n_ranks, PATIENCE.total_seconds())
    else:
        raise InputError(f"{place.launcher} started {place.n_ranks} processes; expected a folder for them to meet in.")
    if is_one_host:
        _stay_inside()
    try:
        store = distributed.FileStore(str(path), place.n_ranks)  # type: ignore[attr-defined]  # public; torch lists none
    except RuntimeError as error:
        raise InputError(
            f"{path}: cannot be locked ({str(error).strip().splitlines()[0][:200]}). Processes of one training meet"
            " through a file, on a disk that all of them share and that locks files (Lustre: mounted with flock)."
        ) from error
    store.set_timeout(PATIENCE)
    return {"store": store}


def _stay_inside() -> None:
    """Have gloo and NCCL listen on loopback alone."""
    loopback = next(name for _, name in socket.if_nameindex() if name in {"lo", "lo0"})
    os.environ |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": f"={loopback}"}  # "lo" alone is a prefix


def n_ranks() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if _is_joined() else 1


def rank() -> int:
    """Return this process's number among them."""
    return distributed.get_rank() if _is_joined() else 0


def of_first(value: Value) -> Value:
    """Return the value that process 0 has, as JSON holds it."""
    if not _is_joined():
        return value
    mine = [value] if rank() == 0 else []
    found: Value = _of_json(_bytes_of_all(json.dumps(mine).encode())[0], 0)[0]
    return found


def of_all(value: Value) -> list[Value]:
    """Return the values of all processes in their order, as JSON holds them, to all of them."""
    if not _is_joined():
        return [value]
    return [_of_json(data, i)[0] for i, data in enumerate(_bytes_of_all(json.dumps([value]).encode()))]


def tensors_of_all(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the tensors of all processes in their order, on the CPU; shapes may differ."""
    if not _is_joined():
        return [tensors]
    found = _bytes_of_all(save({name: each.cpu().contiguous() for name, each in tensors.items()}))
    try:
        return [load(data) for data in found]
    except SafetensorError as error:
        raise InputError(f"a process of this training sent no tensors ({error}). {_STRANGER}") from error


def gathered(tensor: Tensor) -> list[Tensor]:
    """Return the tensors of all processes in their order, on the device of this one's; all have its shape and type."""
    if not _is_joined():
        return [tensor]
    found = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(n_ranks())]
    distributed.all_gather(found, tensor.contiguous())
    return found


def any_of(flags: list[bool]) -> list[bool]:
    """Return for each flag whether any process has raised it."""
    if not _is_joined():
        return flags
    raised = torch.tensor(flags, dtype=torch.int32)
    distributed.all_reduce(raised, op=distributed.ReduceOp.MAX)
    return [bool(each) for each in raised.tolist()]


def _is_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _of_json(data: bytes, i: int) -> list[Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise InputError(f"process {i} of this training sent no JSON ({error}). {_STRANGER}") from error
    if not isinstance(found, list) or len(found) != 1:
        raise InputError(f"process {i} of this training sent another value than expected. {_STRANGER}")
    return found


def _bytes_of_all(mine: bytes) -> list[bytes]:
    """Return what each process sends, in their order, to all of them."""
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(n_ranks())]
    distributed.all_gather(sizes, torch.tensor([len(mine)], dtype=torch.int64))
    lengths = [int(size.item()) for size in sizes]
    if not all(0 <= length <= MOST_BYTES for length in lengths):
        raise InputError(f"processes of this training send {lengths} bytes, more than {MOST_BYTES}. {_STRANGER}")
    padded = torch.zeros(max(len(mine), *lengths), dtype=torch.uint8)
    padded[: len(mine)] = torch.frombuffer(bytearray(mine), dtype=torch.uint8)
    found = [torch.empty_like(padded) for _ in lengths]
    distributed.all_gather(found, padded)
    return [each[:length].numpy().tobytes() for each, length in zip(found, lengths, strict=True)]
