"""Stand-ins for commands of clusters: they set what the real ones document, run at once, and keep a record.

``sbatch``, ``qsub`` (PBS and Cobalt), ``mpirun``, ``mpiexec``, ``srun`` and ``apptainer``. Scripts run as they
are; a job whose dependency failed or is not there is refused, as the real ones do. What a stand-in does not know
it refuses.
"""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from commands import ROOT

RECORD = "STANDIN_RECORD"
"""Folder of the record: ``<job>.json`` for each job, ``words-<command>-<n>`` for each call."""
COMMANDS = ("sbatch", "qsub", "mpirun", "mpiexec", "srun", "apptainer", "singularity", "scontrol")


def install(folder: Path, kind: str) -> dict[str, str]:
    """Put the stand-ins into a folder and return the environment to use them; ``kind`` is the scheduler."""
    tools, record = folder / "tools", folder / "record"
    for made in (tools, record):
        made.mkdir(parents=True)
    scripts = {name: f'exec {sys.executable} {__file__} {name} {kind} "$@"' for name in COMMANDS}
    scripts["dawnchorus"] = f'PYTHONPATH={ROOT} exec {sys.executable} -m jobs "$@"'
    scripts["dask"] = f'PYTHONPATH={ROOT} exec {Path(sys.executable).with_name("dask")} "$@"'
    for name, text in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, RECORD: str(record), "PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": "1"}


def jobs(folder: Path) -> list[dict[str, object]]:
    """Return the record of the jobs in the order they were handed over."""
    found = [json.loads(path.read_text()) for path in (folder / "record").glob("*.json")]
    return sorted(found, key=lambda job: int(str(job["number"])))


def main(words: list[str]) -> int:
    """Be the command that is named first, of the scheduler that is named second."""
    name, kind, *rest = words
    if name in {"apptainer", "singularity"}:
        return inside(rest)
    if name in {"mpirun", "mpiexec", "srun"}:
        return launch(name, rest)
    if name == "scontrol":
        return 1
    return {"slurm": sbatch, "pbs": pbs, "cobalt": cobalt}[kind](rest)


def inside(words: list[str]) -> int:
    """Become a command outside of any image, with the environment that ``--cleanenv`` would leave."""
    if words.pop(0) != "exec":
        return 255
    environment = {"PATH": os.environ["PATH"], RECORD: os.environ[RECORD], "APPTAINER_CONTAINER": "/gone.sif"}
    folder = "."
    while words[0].startswith("--"):
        word = words.pop(0)
        if word == "--env":
            environment |= variables(words.pop(0))
        elif word in {"--bind", "--mount"}:
            if not Path(bound := source(word, words.pop(0))).exists():
                sys.stderr.write(f"apptainer: mount source {bound} doesn't exist\n")
                return 255
        elif word in {"--pwd", "--workdir"}:
            value = words.pop(0)
            folder = value if word == "--pwd" else folder
        elif word not in {"--cleanenv", "--containall", "--nv"}:
            return 255
    image = words.pop(0)
    if not Path(image).is_file():
        sys.stderr.write(f"apptainer: {image}: no such image\n")
        return 255
    os.chdir(folder)
    return os.execvpe(words[0], words, environment)  # noqa: S606 (as the real one does)


def variables(value: str) -> dict[str, str]:
    """Return what ``--env`` sets: with more than one equals sign its value is a line of CSV."""
    fields = next(csv.reader([value])) if value.count("=") > 1 or value.startswith('"') else [value]
    return {name: text for name, _, text in (field.partition("=") for field in fields)}


def source(option: str, value: str) -> str:
    """Return the folder that is bound; ``--bind`` splits at commas and colons, ``--mount`` reads a line of CSV."""
    if option == "--bind":
        return value.split(",", maxsplit=1)[0].split(":", maxsplit=1)[0]
    return dict(field.partition("=")[::2] for field in next(csv.reader([value])))["source"]


def launch(name: str, words: list[str]) -> int:
    """Start one process a node, all at once, with the numbers that the launcher gives them."""
    flags = {"-hostfile": 1, "--hostfile": 1, "-npernode": 1, "--ppn": 1, "-x": 1, "-n": 1}
    n = 1
    while words[0].startswith("-"):
        word = words.pop(0)
        if word.startswith("--nodes="):
            n = int(word.split("=")[1])
        elif word in flags:
            value = words.pop(0)
            n = int(value) if word == "-n" else n
            if "hostfile" in word and len(Path(value).read_text().split()) < n:
                return 213
    ranks = {"mpirun": "OMPI_COMM_WORLD_RANK", "mpiexec": "PMI_RANK", "srun": "SLURM_PROCID"}
    nodes = [subprocess.Popen(words, env={**os.environ, ranks[name]: str(i)}) for i in range(n)]
    return max(node.wait() for node in nodes)


def directives(script: Path, prefix: str) -> dict[str, str]:
    """Return the options at the top of a script; Cobalt and PBS stop at the first other line."""
    lines = script.read_text().splitlines()
    assert lines[0].startswith("#!")
    found = {}
    for line in lines[1:]:
        if not line.startswith(f"#{prefix} "):
            break
        flag, _, value = line.removeprefix(f"#{prefix} ").partition("=" if prefix == "SBATCH" else " ")
        value = value.strip('"').replace('\\"', '"').replace("%%", "%")  # as sbatch reads what is quoted
        found[flag if flag not in found else f"{flag} {value.split('=')[0]}"] = value
    return found


def hand_over(script: Path, options: dict[str, str], needs: list[str], runs: list[dict[str, str]], log: Path) -> int:
    """Run a job, or each task of an array, and record it."""
    record = Path(os.environ[RECORD])
    number = 1 + len(list(record.glob("*.json")))
    codes = []
    for need in needs:
        done = record / f"{re.sub(r'[^0-9].*', '', need)}.json"
        if not done.exists() or any(json.loads(done.read_text())["codes"]):
            sys.stderr.write(f"{need}: not there, or failed\n")
            return 1
    for own in runs:
        environment = {**os.environ, **{key: value.replace("NUMBER", str(number)) for key, value in own.items()}}
        with log.open("a") as file:
            done_run = subprocess.run(
                ["/bin/bash", str(script.resolve())],
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        codes.append(done_run.returncode)
    facts = {"number": number, "script": script.name, "options": options, "needs": needs, "codes": codes}
    (record / f"{number}.json").write_text(json.dumps(facts))
    return number


def sbatch(words: list[str]) -> int:
    """Be Slurm: ``sbatch --parsable [--dependency=afterok:1:2] SCRIPT``."""
    script, needs = Path(words[-1]), []
    for word in words[:-1]:
        if word.startswith("--dependency=afterok:"):
            needs = word.split(":")[1:]
        elif word not in {"--parsable", "--kill-on-invalid-dep=yes"}:
            return 1
    options = directives(script, "SBATCH")
    tasks = range(int(options["--array"].split("-")[1]) + 1) if "--array" in options else [None]
    runs = [{"SLURM_JOB_ID": "NUMBER", **({} if i is None else {"SLURM_ARRAY_TASK_ID": str(i)})} for i in tasks]
    number = hand_over(script, options, needs, runs, Path(options["--output"]))
    sys.stdout.write(f"{number};ci\n")
    return 0


def pbs(words: list[str]) -> int:
    """Be PBS: ``qsub -v NAME=VALUE [-W depend=afterok:…] SCRIPT``; sets what its reference guide lists."""
    script, needs, own = Path(words[-1]), [], {}
    for flag, value in zip(words[:-1:2], words[1:-1:2], strict=True):
        if flag == "-v":
            own = dict([value.split("=", 1)])
        elif flag == "-W" and value.startswith("depend=afterok:"):
            needs = value.split(":")[1:]
        else:
            return 2
    options = directives(script, "PBS")
    nodes = int(re.findall(r"select=(\d+)", " ".join([*options, *options.values()]))[0])
    nodes_file = Path(os.environ[RECORD]) / f"nodes-{script.stem}"
    nodes_file.write_text("".join(f"node{i:02d}\n" for i in range(nodes)))
    own = {**own, "PBS_JOBID": "NUMBER.pbs", "PBS_NODEFILE": str(nodes_file), "PBS_ENVIRONMENT": "PBS_BATCH"}
    runs = [own]
    if "-J" in options:
        first, last = map(int, options["-J"].split("-"))
        if last <= first:
            return 2
        runs = [{**own, "PBS_ARRAY_INDEX": str(i), "PBS_JOBID": f"NUMBER[{i}].pbs"} for i in range(first, last + 1)]
    number = hand_over(script, options, needs, runs, Path(options["-o"]) / f"{script.stem}.log")
    sys.stdout.write(f"{number}{'[]' if '-J' in options else ''}.pbs\n")
    return 0


def cobalt(words: list[str]) -> int:
    """Be Cobalt: ``qsub --env NAME=VALUE [--dependencies 1:2] SCRIPT``; jobs see their number and a file of nodes."""
    script, needs, own = Path(words[-1]), [], {}
    for flag, value in zip(words[:-1:2], words[1:-1:2], strict=True):
        if flag == "--env":
            own = dict([value.split("=", 1)])
        elif flag == "--dependencies":
            needs = value.split(":")
        else:
            return 2
    if not os.access(script, os.X_OK):
        return 1
    options = directives(script, "COBALT")
    nodes_file = Path(os.environ[RECORD]) / f"nodes-{script.stem}"
    nodes_file.write_text("".join(f"thetagpu{i:02d}\n" for i in range(1, int(options["-n"]) + 1)))
    own = {**own, "COBALT_JOBID": "NUMBER", "COBALT_NODEFILE": str(nodes_file), "COBALT_JOBSIZE": options["-n"]}
    number = hand_over(script, options, needs, [own], Path(f"{options['-O']}.output"))
    sys.stdout.write(f'Job routed to queue "{options["-q"]}".\n{number}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
