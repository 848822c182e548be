"""Scripts of single steps: what they ask for, what they run, and what becomes of exit codes and signals."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import standins

from jobs.submit.plan import Step
from jobs.submit.schedulers import SCHEDULERS, clock, submit_script
from jobs.submit.scripts import Place, script
from jobs.submit.sites import read_site, site_names
from lake.errors import InputError

KINDS = ("whole", "shares", "finalise", "dask", "train", "spread")
SITES = site_names()


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


def run(
    made: Step, folder: Path, behaviour: str, *, site: str = "local", srun: str = "", scontrol: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a step's script with an apptainer, and commands of Slurm, that behave as these lines of shell say."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name, lines in {"apptainer": behaviour, "srun": srun, "scontrol": scontrol}.items():
        (tools / name).write_text(f"#!/bin/bash\n{lines}\n")
        (tools / name).chmod(0o755)
    path = folder / f"{made.name}.sh"
    path.write_text(text(made, site, folder).replace("#!/bin/bash -l", "#!/bin/bash"))
    values = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "TMPDIR": str(folder), **more}
    return subprocess.run(["bash", str(path)], env=values, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_script_is_bash(kind: str, site: str, tmp_path: Path) -> None:
    made = step(kind, nodes=2, tasks=3 if kind == "shares" else 1, gpus=8, memory_gb=64.0)
    found = text(made, site, tmp_path)
    assert subprocess.run(["bash", "-n"], input=found, text=True, check=False).returncode == 0
    lines = found.splitlines()
    prefixes = {"slurm": "#SBATCH", "pbs": "#PBS", "cobalt": "#COBALT", "local": "# written"}
    prefix = prefixes.get(read_site(site).scheduler, "#")
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
    assert any('run --ranks "$n_processes" --node "$i/$n_nodes" --meet "$meeting"' in line for line in lines)


@pytest.mark.parametrize(("kind", "nodes"), [("train", 1), ("train", 2), ("spread", 1)])
def test_a_process_reads_with_the_threads_that_it_has(kind: str, nodes: int, tmp_path: Path) -> None:
    found = text(step(kind, nodes=nodes, gpus=8, cpus=64, threads=8), "slurm", tmp_path)
    assert "--env OMP_NUM_THREADS=8" in found
    (line,) = [line for line in found.splitlines() if "run --ranks" in line]
    assert "--workers 8 " in line


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
        (3, 3, "failed with exit code 3; what was written is whole: fix the cause and submit again"),
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
    first = run(made, tmp_path, "exit 75", DAWNCHORUS_ATTEMPT="1")
    assert first.returncode == 0
    assert first.stderr.endswith("not finished; the next of 3 jobs goes on with it\n")
    shutil.rmtree(tmp_path / "codes")
    last = run(made, tmp_path, "exit 75", DAWNCHORUS_ATTEMPT="3")
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
def test_the_gravest_of_the_nodes_codes_counts(codes: str, ends: int, tmp_path: Path) -> None:
    """The launchers of MPI and Slurm say less: only that some process failed."""
    srun = f'shift 2; i=0; for code in {codes}; do SLURM_PROCID=$i CODE=$code "$@"; i=$((i+1)); done; exit 1'
    folder = tmp_path / "a b%j,c"
    folder.mkdir()
    done = run(
        step("train", nodes=2), folder, "exit $CODE", site="slurm", srun=srun, scontrol="exit 1", SLURM_JOB_ID="7"
    )
    assert done.returncode == ends, done.stderr
    assert not list(folder.glob(".meeting*")), "removed, so that no later job can meet there"
    assert not list(tmp_path.glob("dawnchorus.*"))


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


# Paths and names -------------------------------------------------------------------------------------------

HOSTILE = [
    "my study", "a,b", "site:1", "50%j", "100%", "%%x", "it's", 'a "b"', "$HOME", "`id`", "$(id)", "Bäume", "-rf", "#x",
    "a;b", "a&b", "tab\there", "new\nline", "*", "~", "a=b", "!x", "{nodes}",
]  # fmt: skip


def paths_of(folder: Path, site: str, kind: str = "whole") -> str:
    made = step(kind, name="k", run="-r f", image=folder / "images" / "dino.sif")
    place = Place(folder / "out", folder / "m.toml", [(str(folder), False)], read_site(site))
    return script(made, place)


@pytest.mark.parametrize("name", HOSTILE)
def test_paths_reach_the_container_as_they_are(name: str, tmp_path: Path) -> None:
    """The words that a real shell makes of the script, and what Apptainer makes of those that it takes apart."""
    folder = tmp_path / name
    (folder / "out").mkdir(parents=True)
    tool = tmp_path / "tool"
    tool.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    tool.chmod(0o755)
    made = paths_of(folder, "local").replace("apptainer=apptainer", f"apptainer={tool}").replace("bash -l", "bash")
    path = tmp_path / "k.sh"
    path.write_text(made)
    done = subprocess.run(["bash", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    words = json.loads(done.stdout)
    assert words[-5:] == ["--workers", "2", "--", str(folder / "m.toml"), "-r f"]
    assert words[words.index("--pwd") + 1] == str(folder / "out")
    assert str(folder / "images" / "dino.sif") in words
    bound = [standins.source(word, words[i + 1]) for i, word in enumerate(words) if word in {"--bind", "--mount"}]
    assert bound == [str(folder), str(folder / "out")]


@pytest.mark.parametrize("name", HOSTILE)
def test_slurm_is_given_one_option_a_line(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    if not name.isprintable():
        with pytest.raises(InputError, match=r"--out .*: a backslash or a control character in it"):
            paths_of(folder, "slurm")
        return
    lines = [line.removeprefix("#SBATCH ") for line in paths_of(folder, "slurm").splitlines() if "#SBATCH" in line]
    words = [shlex.split(line) for line in lines]
    assert [len(each) for each in words] == [1] * len(words)
    (log,) = [each[0] for each in words if each[0].startswith("--output=")]
    assert re.sub("%%", "%", log.removesuffix("/%x-%j.log")) == f"--output={folder / 'out'}"
    assert not re.search(r"(?<!%)(%%)*%(?!%)", log.removesuffix("/%x-%j.log")), "no sequence of Slurm's in the folder"


@pytest.mark.parametrize("site", ["pbs", "polaris", "thetagpu"])
@pytest.mark.parametrize("name", [*HOSTILE, "back\\slash"])
def test_other_schedulers_are_given_plain_paths_or_none(name: str, site: str, tmp_path: Path) -> None:
    if name in {"-rf", "a=b"}:
        assert f"{tmp_path / name}/out" in paths_of(tmp_path / name, site)
        return
    with pytest.raises(InputError, match=r"--out .*: expected letters of English, digits and") as caught:
        paths_of(tmp_path / name, site)
    assert repr(str(tmp_path / name / "out")) in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_backslash_switches_off_slurms_sequences(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a backslash or a control character in it"):
        paths_of(tmp_path / "a\\b", "slurm")


@pytest.mark.parametrize(
    ("value", "word"),
    [("ib0", "A=ib0"), ("a b", "'A=a b'"), ("x=1,y=2", "'\"A=x=1,y=2\"'"), ('"', '\'"A="""\'')],
)
def test_variables_of_a_profile_reach_the_container(value: str, word: str, tmp_path: Path) -> None:
    profile = read_site("local").model_copy(update={"env": {"A": value}})
    assert f"--env {word} " in script(step("whole"), Place(tmp_path, tmp_path / "m.toml", [], profile))


# What listens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", SITES)
def test_on_one_node_every_site_types_what_the_local_one_types(site: str, tmp_path: Path) -> None:
    """So a test of the sockets that the local scripts open, in `tests/jobs/test_sockets.py`, is one of all."""
    for kind in KINDS:
        bodies = {
            name: [line.replace("singularity", "apptainer") for line in text(step(kind), name, tmp_path).splitlines()]
            for name in (site, "local")
        }
        typed = {
            name: [line for line in lines if "inside" in line or "where=" in line] for name, lines in bodies.items()
        }
        assert typed[site] == typed["local"]
        assert not any("torchrun" in line or "torch.distributed" in line for line in bodies[site])


def test_several_nodes_talk_over_the_interface_of_the_profile(tmp_path: Path) -> None:
    profile = read_site("slurm").model_copy(update={"interface": "ib0"})
    place = Place(tmp_path, tmp_path / "m.toml", [], profile)
    train = script(step("train", nodes=2), place)
    assert "--env GLOO_SOCKET_IFNAME=ib0" in train
    assert "--env NCCL_SOCKET_IFNAME==ib0" in train
    assert "where=(--interface ib0 --dashboard-address 127.0.0.1:0 --no-dashboard)" in script(
        step("dask", nodes=2), place
    )
    for kind in KINDS:
        assert "ib0" not in script(step(kind), place)
