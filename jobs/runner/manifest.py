"""Manifests: the list of runs, as people write it in TOML."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from jobs.common.config import JobConfig, identity_config, resumed_config
from jobs.common.job import ANY_ROLE, Input, Job
from jobs.common.resources import Resources
from jobs.common.run import Image, Recordings, Run, identities
from jobs.runner.elsewhere import is_place, runs_at
from jobs.runner.explain import explain, nearest
from jobs.runner.registry import JOBS, makers
from lake.constants import MS_PER_DAY
from lake.errors import InputError, StoreError, StoreFormatError
from lake.identity import config_id
from lake.image import SHA256
from lake.layout import Lake
from lake.ledger import Ledger


class Entry(BaseModel):
    """A table of a manifest: unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class RecordingsEntry(Entry):
    """The recordings: the table, the folder its paths are relative to, and the span of the study."""

    table: str
    root: str = "."
    deployments: str | None = None
    first_day: date | None = None
    last_day: date | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ValueError(f"last_day = {self.last_day} is before first_day = {self.first_day}")
        return self


class ImageEntry(Entry):
    """The container image that a run is to be made in."""

    name: str
    sha256: str | None = None

    @field_validator("sha256")
    @classmethod
    def _check(cls, value: str | None) -> str | None:
        if value is not None and not SHA256.fullmatch(value):
            raise ValueError(f"expected the 64 hexadecimal digits that sha256sum prints, found {value!r}")
        return value


def _names(value: object) -> object:
    """Return one name as a list of one."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise ValueError(f"expected the name of a run, or a list of names, found {value!r}")  # noqa: TRY004 (pydantic)
    return value


Names = Annotated[list[str], BeforeValidator(_names)]


class RunEntry(Entry):
    """One run of a manifest."""

    job: str
    inputs: dict[str, Names] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    resources: Resources = Field(default_factory=Resources)
    image: ImageEntry | None = None
    refresh: Literal["never"] | None = None

    @property
    def sources(self) -> dict[str, str]:
        """The name of each input run; of a list, the first under the role's name, the others under ``role+2`` on."""
        return {
            role if number == 1 else f"{role}+{number}": name
            for role, names in self.inputs.items()
            for number, name in enumerate(names, start=1)
        }


class ManifestEntry(Entry):
    """A whole manifest."""

    lake: str
    recordings: RecordingsEntry | None = None
    labels: str | None = None
    max_quarantined: float = Field(0.05, ge=0, le=1)
    runs: dict[str, RunEntry]


NO_LAKES = {"data", "github", "git", "http", "https", "libarchive", "reference", "tar", "zip"}
"""Protocols of fsspec that read only, or one archive."""


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

    A setting that it leaves out has, for a run that exists, the value that is stored with the run, and for a new one
    the default. Relative paths in it are relative to the folder that it stands in.

    Raises
    ------
    InputError
        With every problem of the manifest at once.
    """
    entry, names, problems = _checked(_parsed(path))
    places, absent = _places(path, entry, names)
    known = {**{place: run.job for place, run in places.items()}, **dict.fromkeys(names, "")}
    configs, more = _configs(entry, {**known, **{name: run.job for name, run in entry.runs.items()}})
    order, waiting = _order(entry)
    problems += absent + more + waiting
    if problems:
        raise InputError(_told(path, problems))
    lake = _lake(path, entry.lake)
    runs: dict[str, Run] = {}
    for name in order:
        wanted = entry.runs[name]
        job, config = JOBS[wanted.job], _resumed(lake, name, wanted, configs[name])
        inputs = {role: {**places, **runs}[source] for role, source in sorted(wanted.sources.items())}
        ids = identities(job.writes, inputs)
        runs[name] = Run(
            lake=lake, name=name, job=wanted.job, kind=job.writes, config=config, algorithm=job.algorithm,
            config_id=config_id(wanted.job, job.algorithm, identity_config(config), ids), inputs=inputs,
            recordings=_recordings(path, entry.recordings),
            labels=_path(path, wanted.files.get("labels", entry.labels)),
            max_quarantined=entry.max_quarantined, resources=wanted.resources,
            files={key: Path(_resolved(path, text)) for key, text in wanted.files.items()},
            image=Image(wanted.image.name, wanted.image.sha256) if wanted.image else None,
            stays=wanted.refresh == "never",
        )  # fmt: skip
    return Manifest(path, {name: runs[name] for name in order})


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        near = sorted({p.name for p in path.parent.glob("*.toml")} - {"pyproject.toml"}) if path.parent.is_dir() else []
        raise InputError(f"{path}: no such manifest. In {path.parent}: {', '.join(near) or 'no .toml file'}.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a manifest: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not TOML: byte {error.start} is not UTF-8. Save the file as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}.") from error


def _checked(raw: dict[str, Any]) -> tuple[ManifestEntry, set[str], list[str]]:
    """Return a manifest without what is wrong in it, the names of all its runs, and what is wrong."""
    try:
        entry = ManifestEntry.model_validate(raw)
    except ValidationError as error:
        names = set(raw["runs"]) if isinstance(raw.get("runs"), dict) else set()
        for problem in error.errors():
            _leave_out(raw, problem["loc"])
        rest = ManifestEntry.model_validate({"lake": "", "runs": {}, **raw})
        return rest, names, explain(error, ManifestEntry, ())
    return entry, set(entry.runs), []


def _leave_out(raw: dict[Any, Any], place: Sequence[str | int]) -> None:
    """Remove a place of a manifest, or the table that lacks it."""
    *above, last = place
    table = raw
    for key in above:
        if not isinstance(table.get(key), dict):  # gone already
            return
        holder, table = table, table[key]
    if last in table:
        del table[last]
    elif above:
        holder.pop(above[-1], None)


def _configs(entry: ManifestEntry, names: Mapping[str, str]) -> tuple[dict[str, JobConfig], list[str]]:
    configs: dict[str, JobConfig] = {}
    problems: list[str] = []
    for name, run in entry.runs.items():
        if not name:
            problems.append('runs."": expected a name, found none')
        if run.job not in JOBS:
            problems.append(f"runs.{name}.job = {run.job!r}: no such job{nearest(run.job, JOBS)}")
            continue
        model = JOBS[run.job].config
        try:
            configs[name] = model.model_validate(run.config)
        except ValidationError as error:
            problems += explain(error, model, ("runs", name, "config"))
        problems += _input_problems(entry, name, names)
    return configs, problems


def _resumed(lake: Lake, name: str, wanted: RunEntry, fresh: JobConfig) -> JobConfig:
    """Return the configuration of a run as it goes on if it exists, and as it would be new if not."""
    try:
        stored = Ledger(lake.ledger(name)).record()
        if stored is None or stored["job"] != wanted.job:
            return fresh
        return resumed_config(type(fresh), wanted.config, stored["config"])
    except (StoreError, StoreFormatError, OSError, KeyError, ValidationError):
        # Whoever opens the run says that the lake or its record cannot be read, or which fields differ.
        return fresh


def _input_problems(entry: ManifestEntry, name: str, names: Mapping[str, str]) -> list[str]:
    run, job = entry.runs[name], JOBS[entry.runs[name].job]
    return [
        *_file_problems(f"runs.{name}.files", run, job),
        *(f"runs.{name}.inputs: the job {run.job!r} needs {lack}" for lack in _lacking_inputs(run, job)),
        *(
            f"runs.{name}.inputs.{role}: the job {run.job!r} takes {number} here, found {len(sources)}"
            for role, sources in run.inputs.items()
            if (number := _wrong_number(job.input_of(role), len(sources)))
        ),
        *(
            f"runs.{name}.inputs.{role}{problem}"
            for role, source in run.sources.items()
            if (problem := _source_problem(names, job, role, source))
        ),
    ]


def _file_problems(where: str, run: RunEntry, job: Job) -> list[str]:
    missing = sorted(one.key for one in job.files if not one.optional and one.key not in run.files)
    readable = sorted({one.key for one in job.files} | ({"labels"} & job.reads))
    return [
        *(f"{where}: the job {run.job!r} needs {key} = a path" for key in missing),
        *(
            f"{where}.{key}: the job {run.job!r} reads no such file{nearest(key, readable)}"
            for key in run.files
            if key not in readable
        ),
    ]


def _lacking_inputs(run: RunEntry, job: Job) -> Iterator[str]:
    """Yield what a run must be given and is not."""
    for given in sorted(job.inputs, key=lambda one: one.role):
        jobs = repr(" or ".join(makers(given)))
        if given.role == ANY_ROLE:
            if not given.optional and not run.sources:
                yield f"at least one {jobs} run"
        elif not given.optional and given.role not in run.sources:
            yield f"{given.role} = the name of a {jobs} run"


def _wrong_number(given: Input | None, found: int) -> str:
    """Return how many runs a role takes where another number is named, or nothing."""
    if given is None or found == 1 or (given.several and found):
        return ""
    return "one run or more" if given.several else "one run"


def _source_problem(names: Mapping[str, str], job: Job, role: str, source: str) -> str:
    """Return what is wrong with a run that is named as an input, or nothing."""
    given = job.input_of(role)
    if given is None:
        usual = [one.role for one in job.inputs if one.role != job.writes]
        return f": the job {job.name!r} has no such input{nearest(role, usual)}"
    if source not in names:  # what is wrong with a place is said already
        near = nearest(source, sorted(name for name in names if not is_place(name)))
        return "" if is_place(source) else f" = {source!r}: the manifest has no such run{near}"
    if not names[source] or names[source] in makers(given):
        return ""
    return f" = {source!r}: expected a {' or '.join(map(repr, makers(given)))} run, found {names[source]!r}"


def _order(entry: ManifestEntry) -> tuple[list[str], list[str]]:
    """Return the runs, each after its inputs and otherwise as written, or the runs that wait for each other."""
    order: list[str] = []
    waiting = dict(entry.runs)
    while waiting:
        ready = [
            name
            for name, run in waiting.items()
            if all(source in order or source not in entry.runs for source in run.sources.values())
        ]
        if not ready:
            return order, [f"runs {', '.join(sorted(waiting))}: each waits for another's output"]
        order.append(ready[0])
        del waiting[ready[0]]
    return order, []


def _told(path: Path, problems: Sequence[str]) -> str:
    return f"{path}: {len(problems)} {'problems' if len(problems) > 1 else 'problem'}:\n" + "\n".join(
        f"  {p}" for p in problems
    )


def _lake(manifest: Path, text: str) -> Lake:
    protocol = text.partition("://")[0] if "://" in text else ""
    if protocol in NO_LAKES or "::" in protocol:
        expected = "expected a folder, or a place in an object store such as s3://bucket/lake"
        raise InputError(_told(manifest, [f"lake = {text!r}: {expected}; nothing can be written to {protocol}://"]))
    try:
        lake = Lake(_resolved(manifest, text))
        lake.storage.require_bucket()
    except InputError as error:
        raise InputError(_told(manifest, [f"lake = {error}"])) from error
    return lake


def _places(manifest: Path, entry: ManifestEntry, names: Set[str]) -> tuple[dict[str, Run], list[str]]:
    """Return the runs that inputs name by the place of their output, and what is wrong with such places."""
    sources = [source for run in entry.runs.values() for source in run.sources.values()]
    wanted = (source for source in sources if source not in names and is_place(source))
    return runs_at(wanted, partial(_resolved, manifest))


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
        return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) + add_days * MS_PER_DAY

    span = midnight_ms(entry.first_day), midnight_ms(entry.last_day, add_days=1)
    table, root = Path(_resolved(manifest, entry.table)), Path(_resolved(manifest, entry.root))
    return Recordings(table, root, _path(manifest, entry.deployments), span)
