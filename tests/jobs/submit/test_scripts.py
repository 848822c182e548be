"""Scripts of single steps: what they ask for, what they run, and what becomes of exit codes and signals."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.submit.plan import Step
from jobs.submit.schedulers import SCHEDULERS, clock, submit_script
from jobs.submit.scripts import Place, script
from jobs.submit.sites import read_site

KINDS = ("whole", "shares", "finalise", "dask", "train", "spread")
SITES = ("slurm", "pbs", "sophia", "polaris", "thetagpu", "local")


def step(kind: str, **changes: Any) -> Step:
    values: dict[str, Any] = {
        "name": "a run's", "run": "a run's", "kind": kind, "image": Path("/images/dino.sif"), "sha256": "ab" * 32,
        "nodes": 1,        "gpus": 0, "cpus": 4, "processes": 2, "threads": 2, "tasks": 1, "hours": 1.0, "attempts": 1,
        "memory_gb": None,         "needs": (),
    }  # fmt: skip
    return Step(**{**values, **changes})


def text(made: Step, site: str, folder: Path, **changes: Any) -> str:
    place = Place(folder, Path("/study/m.toml"), [("/study", False), ("/study/lake", True)], read_site(site))
    return script(made, place)


def run(made: Step, folder: Path, behaviour: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script with an apptainer that behaves as these lines of shell say."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "apptainer").write_text(f"#!/bin/bash\n{behaviour}\n")
    (tools / "apptainer").chmod(0o755)
    path = folder / f"{made.name}.sh"
    path.write_text(text(made, "local", folder).replace("#!/bin/bash -l", "#!/bin/bash"))
    values = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "TMPDIR": str(folder), **environment}
    return subprocess.run(["bash", str(path)], env=values, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_script_is_bash(kind: str, site: str, tmp_path: Path) -> None:
    made = step(kind, nodes=2, tasks=3 if kind == "shares" else 1, gpus=8, memory_gb=64.0)
    found = text(made, site, tmp_path)
    assert subprocess.run(["bash", "-n"], input=found, text=True, check=False).returncode == 0
    lines = found.splitlines()
    prefix = {"slurm": "#SBATCH", "thetagpu": "#COBALT", "local": "# written"}.get(site, "#PBS")
    assert lines[0] == "#!/bin/bash -l"
    assert lines[1].startswith(prefix), "the scheduler's lines are the first, without a gap"
    assert "--cleanenv --containall" in found
    assert "--bind /study:/study:ro" in found
    assert "--bind /study/lake:/study/lake " in found
    assert f"--env DAWNCHORUS_IMAGE_SHA256={'ab' * 32}" in found


def test_what_slurm_is_asked_for(tmp_path: Path) -> None:
    lines = text(step("train", nodes=4, gpus=8, cpus=64, hours=6, memory_gb=512.0), "slurm", tmp_path).splitlines()
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")}
    wanted = {"--nodes=4", "--gpus-per-node=8", "--cpus-per-task=64", "--time=06:00:00", "--mem=488282M", "--requeue"}
    assert wanted <= asked
    assert any(line.startswith("attend srun --nodes=4 --ntasks-per-node=1 ") for line in lines)
    assert any("torchrun --nnodes " in line for line in lines)
    assert any('--rdzv-endpoint "$head:$port"' in line for line in lines)


def test_what_pbs_is_asked_for(tmp_path: Path) -> None:
    made = step("shares", tasks=16, hours=2.5, cpus=16, memory_gb=100.5)
    lines = text(made, "pbs", tmp_path).splitlines()
    for line in ("-l select=1:ncpus=16:ngpus=0:mem=101gb", "-l walltime=02:30:00", "-J 0-15", "-r y", "-j oe"):
        assert f"#PBS {line}" in lines
    assert not any(line.startswith("#PBS -J") for line in text(step("shares"), "pbs", tmp_path).splitlines())


def test_hours_as_a_clock() -> None:
    assert [clock(hours) for hours in (6, 0.5, 1 / 60, 0.001, 71.99)] == [
        "06:00:00", "00:30:00", "00:01:00", "00:01:00", "72:00:00",
    ]  # fmt: skip


# Exit codes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "ends", "told"),
    [
        (0, 0, "done"),
        (5, 0, "done, but more recordings were set aside than max_quarantined allows; what follows goes on"),
        (3, 3, "failed with exit code 3; what was written is whole: mend the cause and submit again"),
        (75, 75, "not finished, and no job follows that would go on with it: submit again"),
    ],
)
def test_exit_codes(code: int, ends: int, told: str, tmp_path: Path) -> None:
    done = run(step("whole"), tmp_path, f"exit {code}")
    assert done.returncode == ends
    assert done.stderr.endswith(f"a run's: {told}\n")
    assert not list(tmp_path.glob("dawnchorus.*")), "the scratch folder is removed"


def test_the_next_of_a_chain_goes_on(tmp_path: Path) -> None:
    made = step("train", attempts=3)
    told = f'folder=$(echo {tmp_path}/codes/*); echo 75 >"$folder/0"; echo 75 >"$folder/1"; exit 1'
    first = run(made, tmp_path, told, DAWNCHORUS_ATTEMPT="1")
    assert first.returncode == 0
    assert first.stderr.endswith("not finished; the next of 3 jobs goes on with it\n")
    shutil.rmtree(tmp_path / "codes")
    last = run(made, tmp_path, told, DAWNCHORUS_ATTEMPT="3")
    assert last.returncode == 75


@pytest.mark.parametrize(
    ("state", "array", "asked"),
    [
        ("RUNNING", {}, "7"),
        ("RUNNING", {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, "7_3"),
        ("CANCELLED", {}, None),
        ("COMPLETING", {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, None),
    ],
)
def test_who_comes_again_on_slurm(state: str, array: dict[str, str], asked: str | None, tmp_path: Path) -> None:
    """The last task of an array has the array's own number; and who was cancelled stays away."""
    tools, notes = tmp_path / "tools", tmp_path / "notes"
    tools.mkdir()
    lines = ["#!/bin/bash", f'if [ "$1" = show ]; then echo JobState={state}; exit; fi', f'echo "$*" >>{notes}; exit 1']
    for name, behaviour in (("scontrol", lines), ("apptainer", ["#!/bin/bash", "exit 75"])):
        (tools / name).write_text("\n".join(behaviour) + "\n")
        (tools / name).chmod(0o755)
    path = tmp_path / "step.sh"
    path.write_text(text(step("whole"), "slurm", tmp_path).replace("#!/bin/bash -l", "#!/bin/bash"))
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "TMPDIR": str(tmp_path), "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", str(path)], env=environment | array, capture_output=True, text=True, check=False)
    assert done.returncode == 75
    assert (notes.read_text().split() if notes.exists() else None) == (asked and ["requeue", asked])
    told = "not taken back into the queue" if asked else "not finished, and cancelled: submit again"
    assert told in done.stderr


@pytest.mark.parametrize(
    ("codes", "ends"),
    [("0 0", 0), ("0 75", 75), ("5 0", 0), ("75 3", 3), ("5 75", 75), ("0", 137), ("75", 137), ("4 137", 137)],
)
def test_the_gravest_of_the_processes_codes_counts(codes: str, ends: int, tmp_path: Path) -> None:
    """Torchrun itself ends with 1 whatever the process that failed ended with."""
    told = f'for code in {codes}; do echo $code >"$folder/$i"; i=$((i+1)); done'
    behaviour = f"folder=$(echo {tmp_path}/codes/*); i=0; {told}"
    assert run(step("train"), tmp_path, f"{behaviour}; exit 1").returncode == ends


def test_a_share_of_several_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    behaviour = f'echo "$*" >>{tmp_path}/words; case "$*" in *" 1/3 "*) exit 4 ;; esac'
    assert run(step("shares", tasks=3), tmp_path, behaviour).returncode == 4
    words = (tmp_path / "words").read_text()
    assert [f"--partition {i}/3 --workers 2" in words for i in range(3)] == [True] * 3


def test_what_takes_longer_than_its_hours_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "x.sh"
    made = step("whole")
    found = text(made, "local", tmp_path).replace("limit_s=3300", "limit_s=1").replace("bash -l", "bash")
    assert "limit_s=1 " in found
    path.write_text(found.replace("apptainer=apptainer", "apptainer=tool"))
    (tmp_path / "tool").write_text("#!/bin/bash\nexec sleep 30\n")
    (tmp_path / "tool").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", str(path)], env=environment, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "not done in the hours that its resources say, and it cannot go on where it stopped" in done.stderr


def test_the_schedulers_signal_reaches_what_runs(tmp_path: Path) -> None:
    """A training writes its checkpoint and ends with 75."""
    (tmp_path / "tool").write_text(
        f'#!/bin/bash\ntrap \'touch {tmp_path}/checkpoint; exit 75\' TERM\ntouch {tmp_path}/begun\n'
        "for _ in $(seq 100); do sleep 0.1; done\n"
    )  # fmt: skip
    (tmp_path / "tool").chmod(0o755)
    path = tmp_path / "x.sh"
    found = text(step("whole", attempts=2), "local", tmp_path).replace("apptainer=apptainer", "apptainer=tool")
    path.write_text(found.replace("bash -l", "bash"))
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    job = subprocess.Popen(["bash", str(path)], env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    _, told = job.communicate(timeout=20)
    assert (tmp_path / "checkpoint").exists()
    assert job.returncode == 0
    assert "told to stop" in told
    assert told.endswith("not finished; the next of 2 jobs goes on with it\n")


# Order -----------------------------------------------------------------------------------------------------


def test_each_job_waits_for_the_last_of_the_chain_before_it() -> None:
    steps = [step("train", name="dino", attempts=2), step("whole", name="clusters", needs=("dino",))]
    lines = submit_script(steps, SCHEDULERS["pbs"]).splitlines()
    assert [line for line in lines if line.startswith("id_")] == [
        "id_1=$(qsub -v DAWNCHORUS_ATTEMPT=1 dino.sh)",
        "id_2=$(qsub -v DAWNCHORUS_ATTEMPT=2 -W depend=afterok:$id_1 dino.sh)",
        "id_3=$(qsub -v DAWNCHORUS_ATTEMPT=1 -W depend=afterok:$id_2 clusters.sh)",
    ]
