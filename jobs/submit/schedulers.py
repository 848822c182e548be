"""The schedulers: how a job is queued, what it asks for, how it knows itself, comes again and waits for others."""

import math
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.submit.plan import Step
from jobs.submit.profile import Site
from lake.errors import InputError

NEXT_IN_CHAIN = r"""
again() {
    if [ "${DAWNCHORUS_ATTEMPT:-1}" -lt "$attempts" ]; then
        say "not finished; the next of $attempts jobs goes on with it"; rc=0
    else
        say "not finished, and no job follows that would go on with it: submit again"
    fi
}
""".strip()
REQUEUE = r"""
# The number of an array's last task is that of the array too: a task says which one it is, or all come again. A job
# that somebody cancelled is told to stop like one whose time is over, and does not come again.
again() {
    local me=$SLURM_JOB_ID
    if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then me=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
    if ! scontrol show job "$me" | grep -qE 'JobState=(RUNNING|PREEMPTED)'; then
        say "not finished, and cancelled: submit again"
        return
    fi
    if [ "${SLURM_RESTART_COUNT:-0}" -lt 50 ]; then
        say "not finished: back into the queue"
        if scontrol requeue "$me"; then sleep 300; fi
    fi
    say "not finished, and not taken back into the queue: submit again"
}
""".strip()


@dataclass(frozen=True)
class Scheduler:
    """One scheduler.

    Attributes
    ----------
    command
        Program that queues a script; without it on the PATH this is no login node.
    directives
        Lines at the top of a step's script.
    hand_over
        Shell that queues a script and keeps the job's number, given a step, its attempt and the numbers it waits for.
    job_id, array_index, rank, nodes_file
        Shell words for a job's number and its place in an array, the variable with the number of a process of
        ``launch``, and the file that lists the hosts.
    launch
        What starts one process on each node.
    again
        Shell function for a job that has to go on later.
    """

    command: str
    directives: Callable[[Step, Site, Path], list[str]]
    hand_over: Callable[[Step, int, Sequence[str]], str]
    job_id: str
    array_index: str
    rank: str
    nodes_file: str
    launch: str
    again: str


def clock(hours: float) -> str:
    """Return hours as ``HH:MM:SS``, at least a minute."""
    minutes = max(1, math.ceil(hours * 60 - 1e-9))
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


def _plain(path: Path, scheduler: str) -> Path:
    """Return a path for a directive of a scheduler whose rules for quoting are not known.

    Raises
    ------
    InputError
        If the path has characters that could be taken for something else.
    """
    if re.fullmatch(r"[\w./+=@-]+", str(path), re.ASCII) is None:
        raise InputError(
            f"--out {str(path)!r}: expected letters of English, digits and ./_+=@- alone, which {scheduler} takes as"
            " they are in the name of a log. Give --out another folder; recordings and lake may stay where they are."
        )
    return path


def _slurm_log(folder: Path, name: str) -> str:
    """Return the value of ``--output``: quoted as sbatch reads it, the folder without its ``%`` sequences.

    Raises
    ------
    InputError
        If the folder has a backslash, which switches off all sequences, or characters that end the line.
    """
    text = str(folder)
    if "\\" in text or not text.isprintable():
        raise InputError(
            f"--out {text!r}: a backslash or a control character in it, which Slurm does not take in the name of a"
            " log. Give --out another folder; recordings and lake may stay where they are."
        )
    path = f"{text.replace('%', '%%')}/{name}"
    quoted = path.replace('"', '\\"')
    return path if re.fullmatch(r"[\w./%+=@:,-]+", path) else f'"{quoted}"'


def _slurm(step: Step, site: Site, folder: Path) -> list[str]:
    log = _slurm_log(folder, "%x-%A_%a.log" if step.tasks > 1 else "%x-%j.log")
    lines = [
        f"--job-name={step.name}", f"--output={log}", "--open-mode=append", f"--time={clock(step.hours)}",
        f"--nodes={step.nodes}", "--ntasks-per-node=1", f"--cpus-per-task={step.cpus}",
        f"--signal=B:TERM@{site.warn_s}", "--requeue" if site.requeue else "--no-requeue",
    ]  # fmt: skip
    lines += [f"--partition={site.queue}"] if site.queue else []
    lines += [f"--account={site.account}"] if site.account else []
    lines += [f"--gpus-per-node={step.gpus}"] if step.gpus else []
    lines += [f"--mem={math.ceil(step.memory_gb * 1e9 / 2**20)}M"] if step.memory_gb else []
    lines += [f"--array=0-{step.tasks - 1}"] if step.tasks > 1 else []
    return [f"#SBATCH {line}" for line in [*lines, *site.directives]]


def _pbs(step: Step, site: Site, folder: Path) -> list[str]:
    select = site.select.format(nodes=step.nodes, gpus=step.gpus, cpus=step.cpus)
    select += f":mem={math.ceil(step.memory_gb)}gb" if step.memory_gb else ""
    # PBS puts the number of the job, or of the task, into the name of the log where a folder is given.
    lines = [
        f"-N {step.name}",
        f"-l {select}",
        f"-l walltime={clock(step.hours)}",
        "-j oe",
        f"-o {_plain(folder, 'PBS')}/",
    ]
    lines += [f"-q {site.queue}"] if site.queue else []
    lines += [f"-A {site.account}"] if site.account else []
    lines += [f"-J 0-{step.tasks - 1}"] if step.tasks > 1 else []
    lines += ["-r y"] if step.tasks > 1 and "-r y" not in site.directives else []
    return [f"#PBS {line}" for line in [*lines, *site.directives]]


def _cobalt(step: Step, site: Site, folder: Path) -> list[str]:
    nodes = step.tasks if step.kind == "shares" else step.nodes
    lines = [f"-n {nodes}", f"-t {clock(step.hours)}", f"-O {_plain(folder, 'Cobalt') / step.name}"]
    lines += [f"-q {site.queue}"] if site.queue else []
    lines += [f"-A {site.account}"] if site.account else []
    return [f"#COBALT {line}" for line in [*lines, *site.directives]]


def _sbatch(step: Step, _attempt: int, needs: Sequence[str]) -> str:
    after = f" --kill-on-invalid-dep=yes --dependency=afterok:{':'.join(needs)}" if needs else ""
    return f"$(sbatch --parsable{after} {shlex.quote(step.name)}.sh | cut -d ';' -f 1)"


def _qsub(step: Step, attempt: int, needs: Sequence[str]) -> str:
    after = f" -W depend=afterok:{':'.join(needs)}" if needs else ""
    return f"$(qsub -v DAWNCHORUS_ATTEMPT={attempt}{after} {shlex.quote(step.name)}.sh)"


def _cobalt_qsub(step: Step, attempt: int, needs: Sequence[str]) -> str:
    after = f" --dependencies {':'.join(needs)}" if needs else ""
    return f"$(qsub --env DAWNCHORUS_ATTEMPT={attempt}{after} {shlex.quote(step.name)}.sh | tail -n 1)"


def _bash(step: Step, attempt: int, _needs: Sequence[str]) -> str:
    log = shlex.quote(f"{step.name}.log")
    return f"$(DAWNCHORUS_ATTEMPT={attempt} bash {shlex.quote(step.name)}.sh 2>&1 | tee -a {log} >&2 && echo $$)"


SCHEDULERS = {
    "slurm": Scheduler(
        "sbatch", _slurm, _sbatch, '"${SLURM_JOB_ID:-0}"', '"${SLURM_ARRAY_TASK_ID:?}"', "SLURM_PROCID", "",
        "srun --nodes={nodes} --ntasks-per-node=1", REQUEUE,
    ),
    "pbs": Scheduler(
        "qsub", _pbs, _qsub, '"${PBS_JOBID:-0}"', '"${PBS_ARRAY_INDEX:?}"', "PMI_RANK", "${PBS_NODEFILE:-}",
        "mpiexec -n {nodes} --ppn 1", NEXT_IN_CHAIN,
    ),
    "cobalt": Scheduler(
        "qsub", _cobalt, _cobalt_qsub, '"${COBALT_JOBID:-0}"', "", "OMPI_COMM_WORLD_RANK", "${COBALT_NODEFILE:-}",
        'mpirun -hostfile "$nodes_file" -n {nodes} -npernode 1 -x PATH', NEXT_IN_CHAIN,
    ),
    "local": Scheduler("bash", lambda *_: [], _bash, '"$$"', "", "", "", "", NEXT_IN_CHAIN),
}  # fmt: skip
"""By the name that profiles have; a new one needs an entry here, and a profile in ``sites/``."""


def submit_script(steps: Sequence[Step], scheduler: Scheduler, *, stop_at_failure: str = "set -euo pipefail") -> str:
    """Return the script that queues all steps in their order, each after those it needs."""
    lines = ["#!/bin/bash", "# Queues every job of this folder, each after those it needs.", stop_at_failure]
    lines += ['cd "$(dirname "$0")"', ": >jobs.txt"]
    numbers: dict[str, str] = {}
    count = 0
    for step in steps:
        needs = [numbers[name] for name in step.needs]
        for attempt in range(1, step.attempts + 1):
            count += 1
            name = f"id_{count}"
            lines.append(f"{name}={scheduler.hand_over(step, attempt, needs)}")
            lines.append(f'echo {shlex.quote(step.name)} "${name}" | tee -a jobs.txt')
            needs = [f"${name}"]
        numbers[step.name] = f"${name}"
    return "\n".join(lines) + "\n"
