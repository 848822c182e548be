"""Every job against the contract of `jobs.common.job`: what it declares, what it offers, and what it says it takes."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import pytest
import timm
import torch
from commands import ROOT
from dask.utils import parse_bytes
from smalllake import MANIFEST, write_study

from jobs.common.config import JobConfig
from jobs.common.job import ANY_ROLE, Job
from jobs.common.run import Options, Outcome, Run
from jobs.review.command import add as bring_in
from jobs.review.deliver import Given
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import Manifest, read_manifest
from jobs.runner.registry import JOBS, PACKAGES, makers
from lake.constants import KINDS

FUNCTIONS = {
    "execute": {"run": Run, "options": Options, "return": Outcome},
    "describe": {"run": Run, "options": Options, "return": list[str]},
}
OF_SHARING = {"finalise": {"run": Run, "options": Options, "return": Outcome}}
"""Of jobs whose partitions several processes can share."""
OF_EXTENDING = {"progress_of": {"run": Run, "return": tuple[int, int]}}
"""Of jobs that extend a store."""
OF_THEIR_OWN = """
[runs.of-contrast]
job = "contrast"
inputs = { spectrograms = "mels" }
config = { steps = 2, batch_size = 8, view_frames = 8 }
[runs.of-adopt]
job = "adopt"
inputs = { spectrograms = "mels" }
files = { weights = "weights.pth" }
config = { arch = "vit_tiny_patch16_224", input_size = [8, 8], patch_size = [4, 4] }
[runs.of-dictionary]
job = "dictionary"
inputs = { spectrograms = "mels" }
config = { view_size = [8, 8], patch_sizes = [[4, 4]], n_atoms = 3, n_patches = 100 }
[runs.of-learn]
job = "learn"
inputs = { embeddings = "vectors" }
[runs.of-detect]
job = "detect"
inputs = { embeddings = "vectors", heads = "of-learn" }
"""
"""Runs of jobs that need more than their inputs, or other settings for so small a study."""
VERDICTS = "recorder,time_utc,sound,verdict,reviewer\n" + "".join(
    f"{recorder},2021-07-{time}Z,wren,{verdict},Ana\n"
    for recorder, day in (("north", "14T23:59"), ("south", "15T00:00"))
    for time, verdict in ((f"{day}:00", "yes"), (f"{day}:20", "no"))
)


def settings_of_others(text: str) -> str:
    """Return a run of each job that a manifest has none of, with default settings and all of its inputs."""
    first = {job: name for name, job in re.findall(r"\[runs\.([\w-]+)\]\s+job = \"(\w+)\"", text)[::-1]}
    lines = []
    for job in JOBS.values():
        if job.name not in first:
            inputs = {
                "mine" if one.role == ANY_ROLE else one.role: next(first[name] for name in makers(one) if name in first)
                for one in job.inputs
                if one.is_usual
            }
            listed = ", ".join(f'{role} = "{name}"' for role, name in inputs.items())
            lines.append(f'[runs.of-{job.name}]\njob = "{job.name}"\ninputs = {{ {listed} }}\n')
    return text + "".join(lines)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return the manifest of a small study that has a run of every job; nothing of it was executed."""
    path = write_study(tmp_path_factory.mktemp("study"))
    with torch.random.fork_rng(devices=[]):
        model = timm.create_model("vit_tiny_patch16_224", img_size=8, patch_size=4, num_classes=0)
    torch.save(model.state_dict(), path.parent / "weights.pth")
    path.write_text(settings_of_others(MANIFEST + OF_THEIR_OWN))
    return read_manifest(path)


@pytest.fixture(scope="module")
def said(study: Manifest) -> dict[str, list[str]]:
    """Return what each run said before it was executed; all are executed."""
    found = {}
    for name, run in study.runs.items():
        if "verdicts" in JOBS[run.job].reads:
            folder = study.path.parent
            (folder / "sounds.csv").write_text("sound\nwren\n")
            (folder / "verdicts.csv").write_text(VERDICTS)
            bring_in(study, [folder / "verdicts.csv"], Given())
        found[name] = JOBS[run.job].command().describe(run, Options(device="cpu"))
        execute_runs(study, [name], Options(device="cpu"), lambda _: None)
    return found


def functions_of(job: Job[Any]) -> dict[str, dict[str, Any]]:
    shares = OF_SHARING if "partition" in job.options else {}
    return FUNCTIONS | shares | (OF_EXTENDING if job.extends else {})


def runs_of(study: Manifest, job: str) -> Iterator[Run]:
    return (run for run in study.runs.values() if run.job == job)


def test_every_package_declares_one_job_of_its_own_name() -> None:
    assert len(JOBS) == len(PACKAGES)
    assert [job.package for job in JOBS.values()] == list(PACKAGES)
    assert [name for name, job in JOBS.items() if name != job.name] == []


@pytest.mark.parametrize("name", JOBS)
def test_a_declaration_is_complete(name: str) -> None:
    job = JOBS[name]
    assert issubclass(job.config, JobConfig)
    assert job.config.__module__ == f"{job.package}.config"
    assert job.algorithm == sys.modules[f"{job.package}.config"].__dict__["ALGORITHM"] >= 1
    assert job.writes in KINDS
    given = {other.gives for other in JOBS.values()}
    assert all(set(one.kinds) <= given and makers(one) for one in job.inputs)
    assert len({one.role for one in job.inputs}) == len(job.inputs)
    assert job.extends or job.processes != "share partitions"


@pytest.mark.parametrize("name", JOBS)
def test_a_command_module_has_the_functions_of_the_contract(name: str) -> None:
    job, command = JOBS[name], JOBS[name].command()
    for function, wanted in functions_of(job).items():
        found = getattr(command, function)
        hints = list(get_type_hints(found).items())
        assert [hint for key, hint in hints if key == "return"] == [wanted["return"]], function
        assert len(inspect.signature(found).parameters) == len(wanted) - 1
        assert get_origin(hints[0][1]) is Run
        (config,) = get_args(hints[0][1])
        assert config is job.config or isinstance(config, TypeVar), f"{function} takes Run[{config}]"
        assert [hint for _, hint in hints[1:-1]] == list(wanted.values())[1:-1]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_says_what_it_would_read_write_and_take(name: str, study: Manifest, said: dict[str, list[str]]) -> None:
    for run in runs_of(study, name):
        text = "\n".join(said[run.name])
        assert re.search(r"[1-9][\d,]* (of \d+ )?(windows|vectors)", text), text
        assert re.search(r"^(to write|network): ", text, re.MULTILINE), text
        assert "memory" in text
        assert "disk: " in text


@pytest.mark.parametrize("name", JOBS)
def test_an_output_takes_no_more_than_was_said(name: str, study: Manifest, said: dict[str, list[str]]) -> None:
    for run in runs_of(study, name):
        (line,) = [line for line in said[run.name] if line.startswith("disk: ")]
        found = re.match(r"disk: up to ([\d.]+ \w+) in (\d+) files", line)
        assert found, line
        written = [path for path in Path(run.output.root).rglob("*") if path.is_file()]
        assert len(written) <= int(found[2]), line
        assert sum(path.stat().st_size for path in written) <= parse_bytes(found[1]), line


@pytest.mark.parametrize("name", JOBS)
def test_a_description_writes_nothing(name: str, study: Manifest, said: dict[str, list[str]]) -> None:
    assert said
    for run in runs_of(study, name):
        before = {path: path.stat().st_mtime_ns for path in study.path.parent.rglob("*")}
        JOBS[name].command().describe(run, Options(device="cpu"))
        assert {path: path.stat().st_mtime_ns for path in study.path.parent.rglob("*")} == before


@pytest.mark.slow
def test_a_type_checker_finds_every_command_module_right(tmp_path: Path) -> None:
    lines = ["from jobs.common.job import Extending, Sharing, Whole"]
    for i, job in enumerate(JOBS.values()):
        shape = "Extending" if job.extends else "Sharing" if "partition" in job.options else "Whole"
        lines += [
            f"from {job.package} import command as command_{i}",
            f"from {job.package}.config import Config as C{i}",
        ]
        lines.append(f"checked_{i}: {shape}[C{i}] = command_{i}")
    (tmp_path / "checked.py").write_text("\n".join(lines) + "\n")
    words = [sys.executable, "-m", "mypy", "--no-incremental", str(tmp_path / "checked.py")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
