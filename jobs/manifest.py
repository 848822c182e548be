"""Manifests: the list of runs, as people write it in TOML."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.common.config import JobConfig, identity_config
from jobs.common.run import Recordings, Run
from jobs.registry import JOBS
from lake.errors import InputError
from lake.identity import config_id
from lake.layout import Lake


class RecordingsEntry(BaseModel):
    """Where the recordings are: the table, the folder its paths are relative to, and the span of the study."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)
    table: str
    root: str = "."
    deployments: str | None = None
    first_day: date | None = None
    last_day: date | None = None


class ImageEntry(BaseModel):
    """The container image that a run is to be made in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    name: str
    sha256: str | None = None


class RunEntry(BaseModel):
    """One run of a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    job: str
    inputs: dict[str, str] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    resources: dict[str, Any] = Field(default_factory=dict)
    image: ImageEntry | None = None


class ManifestEntry(BaseModel):
    """A whole manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    lake: str
    recordings: RecordingsEntry | None = None
    labels: str | None = None
    max_quarantined: float = Field(0.05, ge=0, le=1)
    runs: dict[str, RunEntry]


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read and found right.

    Attributes
    ----------
    path
        Its file.
    runs
        Its runs by name, each after the runs it reads.
    """

    path: Path
    runs: Mapping[str, Run]


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and resolve its runs.

    Relative paths in it are relative to the folder that it stands in.

    Raises
    ------
    InputError
        With every problem of the manifest at once.
    """
    entry = _parsed(path)
    configs, problems = _configs(entry)
    order, more = _order(entry)
    problems += more
    if problems:
        raise InputError(_told(path, problems))
    lake = Lake(_resolved(path, entry.lake))
    runs: dict[str, Run] = {}
    for name in order:
        wanted = entry.runs[name]
        job, config = JOBS[wanted.job], configs[name]
        inputs = {role: runs[source] for role, source in sorted(wanted.inputs.items())}
        ids = {role: run.config_id for role, run in inputs.items()}
        runs[name] = Run(
            lake=lake, name=name, job=wanted.job, kind=job.kind, config=config, algorithm=job.algorithm(),
            config_id=config_id(wanted.job, job.algorithm(), identity_config(config), ids), inputs=inputs,
            recordings=_recordings(path, entry.recordings), labels=_path(path, entry.labels),
            max_quarantined=entry.max_quarantined, resources=wanted.resources,
        )  # fmt: skip
    return Manifest(path, {name: runs[name] for name in order})


def _parsed(path: Path) -> ManifestEntry:
    try:
        return ManifestEntry.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        raise InputError(f"{path}: no such manifest. In {path.parent}: {', '.join(near) or 'no .toml file'}.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}.") from error
    except ValidationError as error:
        raise InputError(_told(path, explain(error, ManifestEntry, ()))) from error


def _configs(entry: ManifestEntry) -> tuple[dict[str, JobConfig], list[str]]:
    configs: dict[str, JobConfig] = {}
    problems: list[str] = []
    for name, run in entry.runs.items():
        if run.job not in JOBS:
            problems.append(f"runs.{name}.job = {run.job!r}: no such job{nearest(run.job, JOBS)}")
            continue
        model = JOBS[run.job].config_model()
        try:
            configs[name] = model.model_validate(run.config)
        except ValidationError as error:
            problems += explain(error, model, ("runs", name, "config"))
        problems += _input_problems(entry, name)
    return configs, problems


def _input_problems(entry: ManifestEntry, name: str) -> list[str]:
    run = entry.runs[name]
    problems: list[str] = []
    job = JOBS[run.job]
    problems += [
        f"runs.{name}.inputs: the job {run.job!r} needs {role} = the name of a {job.inputs[role]!r} run"
        for role in sorted(set(job.inputs) - set(run.inputs) - job.optional)
    ]
    if job.any_role and not run.inputs:
        problems.append(f"runs.{name}.inputs: the job {run.job!r} needs at least one {job.any_role!r} run")
    for role, source in run.inputs.items():
        wanted = job.inputs.get(role, job.any_role)
        if wanted is None:
            problems.append(
                f"runs.{name}.inputs.{role}: the job {run.job!r} has no such input{nearest(role, job.inputs)}"
            )
        elif source not in entry.runs:
            problems.append(
                f"runs.{name}.inputs.{role} = {source!r}: the manifest has no such run{nearest(source, entry.runs)}"
            )
        elif entry.runs[source].job != wanted:
            problems.append(
                f"runs.{name}.inputs.{role} = {source!r}: expected a {wanted!r} run, found {entry.runs[source].job!r}"
            )
    return problems


def _order(entry: ManifestEntry) -> tuple[list[str], list[str]]:
    """Return the runs, each after its inputs and otherwise as written, or the runs that wait for each other."""
    order: list[str] = []
    waiting = dict(entry.runs)
    while waiting:
        ready = [
            name
            for name, run in waiting.items()
            if all(source in order or source not in entry.runs for source in run.inputs.values())
        ]
        if not ready:
            return order, [f"runs {', '.join(sorted(waiting))}: each waits for another's output"]
        order.append(ready[0])
        del waiting[ready[0]]
    return order, []


def explain(error: ValidationError, model: type[BaseModel], prefix: Sequence[str]) -> list[str]:
    """Return one line for each problem that pydantic found: the key, what was expected, what was found."""
    lines = []
    for problem in error.errors():
        where = ".".join(map(str, [*prefix, *problem["loc"]]))
        if problem["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown key{nearest(str(problem['loc'][-1]), _keys(model, problem['loc'][:-1]))}")
        elif problem["type"] == "missing":
            lines.append(f"{where}: missing")
        else:
            found = "" if problem["type"] == "value_error" and not problem["loc"] else f", found {problem['input']!r}"
            lines.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}{found}")
    return lines


def _keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Return the keys that are right at a place of a model."""
    known: dict[str, type[BaseModel]] = {"recordings": RecordingsEntry, "image": ImageEntry, "runs": RunEntry}
    if model is ManifestEntry and location:
        model = known.get(str(location[-1]), known.get(str(location[0]), model))
    return list(model.model_fields)


def nearest(word: str, words: Mapping[str, Any] | Sequence[str]) -> str:
    """Return the end of a message: the word that was perhaps meant, or all there are."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(words))}" if words else ""


def _told(path: Path, problems: Sequence[str]) -> str:
    return f"{path}: {len(problems)} {'problems' if len(problems) > 1 else 'problem'}:\n" + "\n".join(
        f"  {p}" for p in problems
    )


def _resolved(manifest: Path, text: str) -> str:
    """Return a URL as it is, and a path relative to the manifest's folder."""
    return text if "://" in text else str((manifest.resolve().parent / text).resolve())


def _path(manifest: Path, text: str | None) -> Path | None:
    return None if text is None else Path(_resolved(manifest, text))


def _recordings(manifest: Path, entry: RecordingsEntry | None) -> Recordings | None:
    if entry is None:
        return None

    def midnight_ms(day: date | None, add_days: int = 0) -> int | None:
        if day is None:
            return None
        return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) + add_days * 86_400_000

    span = midnight_ms(entry.first_day), midnight_ms(entry.last_day, add_days=1)
    table, root = Path(_resolved(manifest, entry.table)), Path(_resolved(manifest, entry.root))
    return Recordings(table, root, _path(manifest, entry.deployments), span)
