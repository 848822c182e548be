from pathlib import Path

import pytest

from jobs.common.processes import ALONE, FIRST_PORT, Place, first_host, place
from lake.errors import InputError

SLURM_BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "41"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ALONE),
        (SLURM_BATCH, ALONE),
        ({**SLURM_BATCH, "SLURM_STEP_NUM_TASKS": "1"}, ALONE),
        (
            {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "n0", "MASTER_PORT": "1234"},
            Place(3, 8, 1, "n0", 1234, "torchrun"),
        ),
        (
            {
                "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "1002003",
                "SLURM_STEP_NODELIST": "gpu[007-008]", "SLURM_JOB_NODELIST": "gpu[006-008]",
            },
            Place(5, 8, 1, "gpu007", FIRST_PORT + 3, "Slurm"),
        ),
        (
            {
                "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
            },
            Place(1, 2, 1, "127.0.0.1", FIRST_PORT, "Open MPI"),
        ),
        (
            {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0", "MASTER_ADDR": "head"},
            Place(2, 4, 0, "head", FIRST_PORT, "MPICH"),
        ),
    ],
)  # fmt: skip
def test_launchers_are_recognised(environment: dict[str, str], expected: Place) -> None:
    assert place(environment) == expected


@pytest.mark.parametrize(
    ("launcher", "ranks", "job", "nodes"),
    [
        (
            "PALS",
            {"PALS_RANKID": "6", "PMI_RANK": "6", "PMI_SIZE": "8", "PALS_LOCAL_RANKID": "2"},
            "PBS_JOBID",
            "PBS_NODEFILE",
        ),
        (
            "Open MPI",
            {"OMPI_COMM_WORLD_RANK": "6", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "2"},
            "COBALT_JOBID",
            "COBALT_NODEFILE",
        ),
    ],
)
def test_pbs_and_cobalt_name_the_first_host(
    launcher: str, ranks: dict[str, str], job: str, nodes: str, tmp_path: Path
) -> None:
    (tmp_path / "hosts").write_text("x3001\nx3002\n")
    found = place({**ranks, job: "77.pbs-01", nodes: str(tmp_path / "hosts")})
    assert found == Place(6, 8, 2, "x3001", FIRST_PORT + 77, launcher)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node1", "node1"), ("a,b", "a"), ("node[07-09,12],login", "node07"), ("n[3]", "n3"),
        ("rack1n[01-02]-ib,x", "rack1n01-ib"),
    ],
)  # fmt: skip
def test_slurms_list_of_hosts(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PMI_RANK": "1", "PMI_SIZE": "4"}, "MPICH started this as one of 4 processes, .* Set MASTER_ADDR to the"),
        ({"RANK": "4", "WORLD_SIZE": "4"}, r"RANK=4: expected less than WORLD_SIZE=4\. Look at the launcher's"),
        ({"RANK": "one", "WORLD_SIZE": "4"}, "RANK='one': expected a whole number"),
    ],
)
def test_what_a_launcher_left_out_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        place(environment)


def test_a_list_of_no_hosts_is_refused() -> None:
    with pytest.raises(InputError, match=r"such as node\[01-04\], found ''"):
        first_host("")
