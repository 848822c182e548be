"""Read this process's rank and the number of ranks from its launcher's environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lake.errors import InputError

OWN: Final = "dawnchorus"
"""Name of the launcher in :mod:`jobs.common.launch`."""
MEETING: Final = "DAWNCHORUS_MEETING"
"""Environment variable with the path of the file through which the processes find each other."""
NODES: Final = "DAWNCHORUS_NODES"
"""Environment variable with the number of machines that they are on."""


@dataclass(frozen=True)
class Place:
    """The place of a process among those that one launcher started to work together.

    Attributes
    ----------
    rank, n_ranks
        Its number, counted from 0, and the number of all.
    local_rank
        Its number among those of this host, which is the device that it takes.
    launcher
        ``dawnchorus``, ``torchrun``, ``Slurm``, ``PALS``, ``Open MPI``, ``MPICH``; empty for a process of its own.
    meeting
        Path of the file through which the processes find each other, where the launcher made one.
    one_host
        Whether the launcher says that all of them are on this host.
    """

    rank: int = 0
    n_ranks: int = 1
    local_rank: int = 0
    launcher: str = ""
    meeting: str = ""
    one_host: bool = False


ALONE: Final = Place()

LAUNCHERS: Final = {
    OWN: ("DAWNCHORUS_RANK", "DAWNCHORUS_RANKS", "DAWNCHORUS_LOCAL_RANK"),
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "Slurm": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
    "PALS": ("PALS_RANKID", "PMI_SIZE", "PALS_LOCAL_RANKID"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "MPICH": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
}
"""Rank, number of ranks and rank on the host, by launcher, the surest first. PBS and Cobalt start processes with
one of the last three. ``SLURM_NTASKS`` is not looked at: a batch script has it as well, outside any ``srun``."""


def place(environment: Mapping[str, str]) -> Place:
    """Return the place of a process with such environment variables.

    Parameters
    ----------
    environment
        As in ``os.environ``.

    Raises
    ------
    InputError
        If the variables contradict each other.
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
        meeting = environment.get(MEETING, "") if launcher == OWN else ""
        return Place(rank, n_ranks, local, launcher, meeting, _is_one_host(environment, launcher))
    return ALONE


def opens_ports(environment: Mapping[str, str]) -> bool:
    """Return whether torchrun started the process, or its variables are set as torchrun sets them."""
    return "TORCHELASTIC_RUN_ID" in environment or place(environment).launcher == "torchrun"


def _is_one_host(environment: Mapping[str, str], launcher: str) -> bool:
    if launcher == OWN:
        return environment.get(NODES) == "1"
    return launcher == "torchrun" and environment.get("LOCAL_WORLD_SIZE") == environment["WORLD_SIZE"]


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not text.isdecimal():
        raise InputError(f"{name}={text!r}: expected a whole number, as the launcher sets it.")
    return int(text)
