import pytest

from jobs.common.processes import ALONE, Place, opens_ports, place
from lake.errors import InputError

SLURM_BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "41"}
OWN = {"DAWNCHORUS_RANK": "3", "DAWNCHORUS_RANKS": "4", "DAWNCHORUS_LOCAL_RANK": "1", "DAWNCHORUS_MEETING": "/x/store"}
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "n0", "MASTER_PORT": "1234"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ALONE),
        (SLURM_BATCH, ALONE),
        ({**SLURM_BATCH, "SLURM_STEP_NUM_TASKS": "1"}, ALONE),
        ({**OWN, "DAWNCHORUS_NODES": "2"}, Place(3, 4, 1, "dawnchorus", "/x/store")),
        ({**OWN, "DAWNCHORUS_NODES": "1"}, Place(3, 4, 1, "dawnchorus", "/x/store", one_host=True)),
        ({**SLURM_BATCH, "SLURM_STEP_NUM_TASKS": "8", **OWN}, Place(3, 4, 1, "dawnchorus", "/x/store")),
        (TORCHRUN, Place(3, 8, 1, "torchrun")),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "8"}, Place(3, 8, 1, "torchrun", one_host=True)),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "4", "DAWNCHORUS_MEETING": "/x"}, Place(3, 8, 1, "torchrun")),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}, Place(5, 8, 1, "Slurm")),
        (
            {"PALS_RANKID": "6", "PMI_RANK": "6", "PMI_SIZE": "8", "PALS_LOCAL_RANKID": "2"},
            Place(6, 8, 2, "PALS"),
        ),
        (
            {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
            Place(1, 2, 1, "Open MPI"),
        ),
        ({"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0"}, Place(2, 4, 0, "MPICH")),
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, Place(2, 4, 2, "MPICH")),
    ],
)
def test_launchers_are_recognised(environment: dict[str, str], expected: Place) -> None:
    assert place(environment) == expected


@pytest.mark.parametrize(
    ("environment", "opens"),
    [
        ({}, False), (OWN, False), (TORCHRUN, True), ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, False),
        ({"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "WORLD_SIZE": "1"}, True),
    ],
)  # fmt: skip
def test_torchrun_is_known_to_open_ports(environment: dict[str, str], opens: bool) -> None:
    assert opens_ports(environment) == opens


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "4", "WORLD_SIZE": "4"}, r"RANK=4: expected less than WORLD_SIZE=4\. Look at the launcher's"),
        ({"RANK": "one", "WORLD_SIZE": "4"}, "RANK='one': expected a whole number"),
        ({**OWN, "DAWNCHORUS_RANK": "-1"}, "DAWNCHORUS_RANK='-1': expected a whole number"),
    ],
)
def test_what_contradicts_itself_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        place(environment)
