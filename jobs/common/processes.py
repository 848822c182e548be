"""Which process of how many this one is, as the launcher that started it says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lake.errors import InputError

LOOPBACK: Final = "127.0.0.1"
FIRST_PORT: Final = 29_400
N_PORTS: Final = 1000


@dataclass(frozen=True)
class Place:
    """The place of a process among those that one launcher started to work together.

    Attributes
    ----------
    rank, n_ranks
        Its number, counted from 0, and the number of all.
    local_rank
        Its number among those of this host, which is the device that it takes.
    address, port
        Where process 0 listens.
    launcher
        ``torchrun``, ``Slurm``, ``PALS``, ``Open MPI``, ``MPICH``; empty for a process of its own.
    """

    rank: int = 0
    n_ranks: int = 1
    local_rank: int = 0
    address: str = LOOPBACK
    port: int = FIRST_PORT
    launcher: str = ""


ALONE: Final = Place()

LAUNCHERS: Final = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "Slurm": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
    "PALS": ("PALS_RANKID", "PMI_SIZE", "PALS_LOCAL_RANKID"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "MPICH": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
}
"""Rank, number of ranks and rank on the host, by launcher, the surest first. PBS and Cobalt start processes with
one of the last three. ``SLURM_NTASKS`` is not looked at: a batch script has it as well, outside any ``srun``."""

NODE_FILES: Final = ("PBS_NODEFILE", "COBALT_NODEFILE")
JOB_IDS: Final = ("SLURM_JOB_ID", "PBS_JOBID", "COBALT_JOBID")


def place(environment: Mapping[str, str]) -> Place:
    """Return the place of a process with such environment variables.

    Parameters
    ----------
    environment
        As in ``os.environ``. Where the launcher does not say where process 0 listens, it is the first host of
        the scheduler's list; the port is ``MASTER_PORT``, or one that follows from the job's number.

    Raises
    ------
    InputError
        If the variables contradict each other, or processes run on several hosts and nothing names the first.
    """
    for launcher, names in LAUNCHERS.items():
        if names[0] not in environment or names[1] not in environment:
            continue
        rank, n_ranks = (_number(environment, name) for name in names[:2])
        if n_ranks <= 1:
            return ALONE
        if rank >= n_ranks:
            raise InputError(
                f"{names[0]}={rank}: expected less than {names[1]}={n_ranks}. Look at the launcher's command."
            )
        local = _number(environment, names[2]) if names[2] in environment else rank
        return Place(rank, n_ranks, local, _address(environment, launcher), _port(environment), launcher)
    return ALONE


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not text.isdecimal():
        raise InputError(f"{name}={text!r}: expected a whole number, as the launcher sets it.")
    return int(text)


def _address(environment: Mapping[str, str], launcher: str) -> str:
    if environment.get("MASTER_ADDR"):
        return environment["MASTER_ADDR"]
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
    if launcher == "Slurm" and nodes:
        return first_host(nodes)
    for name in NODE_FILES:
        path = Path(environment.get(name, ""))
        if path.is_file() and (hosts := path.read_text(encoding="utf-8").split()):
            return hosts[0]
    sizes = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "PALS_LOCAL_SIZE")
    total = LAUNCHERS[launcher][1]
    if any(environment.get(name) == environment[total] for name in sizes):
        return LOOPBACK
    raise InputError(
        f"{launcher} started this as one of {environment[total]} processes, but nothing says on which host process 0 "
        f"is. Set MASTER_ADDR to the first host's name for all of them ({LOOPBACK} if they are all on this one)."
    )


def _port(environment: Mapping[str, str]) -> int:
    if environment.get("MASTER_PORT"):
        return _number(environment, "MASTER_PORT")
    job = next((environment[name] for name in JOB_IDS if environment.get(name)), "0")
    digits = re.match(r"\d*", job)
    return FIRST_PORT + int((digits[0] if digits else "") or 0) % N_PORTS


def first_host(nodes: str) -> str:
    """Return the first host of Slurm's short form of a list, such as ``node[07-09,12],login``."""
    found = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    if found is None:
        raise InputError(f"expected Slurm's list of hosts, such as node[01-04], found {nodes!r}. Set MASTER_ADDR.")
    return "".join(part or "" for part in found.groups())
