"""The settings of a job, with default, unit, range and meaning, as TOML to paste into a manifest."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.common.config import JobConfig
from jobs.common.job import ANY_ROLE, Job
from jobs.runner.registry import makers

UNITS = {"_s": "s", "_hz": "Hz", "_db": "dB", "_px": "pixels"}
"""Unit by the end of a setting's name."""
TYPES = {"integer": "integer", "number": "number", "boolean": "true or false", "string": "text"}
COLUMNS = 100
HEAD = """# Settings

Every setting of every job, as `[runs.<name>.config]` in a manifest takes it (`docs/manifests.md`).
`dawnchorus config JOB` prints the same as TOML, ready to paste. This page is made from the code by `make settings`."""
TABLE = ("| setting | default | expected | unit | meaning |", "|---|---|---|---|---|")


@dataclass(frozen=True)
class Setting:
    """One setting of a job.

    Attributes
    ----------
    name, meaning
        Its key, and what it does.
    expected, unit
        Its type and range in words, and its unit; empty where it has none.
    is_required
        Whether a manifest has to name it.
    default
        As JSON has it; ``None`` where it may be left out.
    """

    name: str
    meaning: str
    expected: str
    unit: str
    is_required: bool
    default: Any


def settings_of(model: type[JobConfig]) -> list[Setting]:
    """Return the settings of a configuration, in its order."""
    properties: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    return [
        Setting(
            name, field.description or "", _expected(properties[name]),
            next((unit for end, unit in UNITS.items() if name.endswith(end)), ""), field.is_required(),
            properties[name].get("default"),
        )
        for name, field in model.model_fields.items()
    ]  # fmt: skip


def as_toml(job: Job) -> str:
    """Return a run of a job as a manifest has it, with all of its settings at their defaults.

    The run, and each of its inputs, is called like its job; so what is returned for several jobs is one manifest's.
    What has no default is a comment, as TOML has no word for it.
    """
    lines = [
        "# What is left out is at its default; in a run that exists, at the value that it was made with.",
        f"[runs.{job.name}]",
        f"job = {json.dumps(job.name)}",
        *_inputs(job),
        *_files(job),
        "",
        f"[runs.{job.name}.config]",
        *settings_as_toml(job),
    ]
    return "\n".join(lines).rstrip("\n")


def settings_as_toml(
    job: Job, values: Mapping[str, Any] | None = None, reasons: Mapping[str, str] | None = None
) -> list[str]:
    """Return the lines of a run's settings, each with its meaning, type, range and unit.

    Parameters
    ----------
    job
        The job.
    values
        Values by setting, as JSON has them; others are at their defaults. ``None`` is a setting that is left out.
    reasons
        Why a setting has its value, by setting.
    """
    lines = []
    for setting in settings_of(job.config):
        unit = f", in {setting.unit}" if setting.unit else ""
        lines += [f"# {line}" for line in textwrap.wrap(setting.meaning, COLUMNS)]
        lines.append(f"#   {setting.expected}{unit}")
        if reasons and setting.name in reasons:
            lines += [f"# why: {line}" for line in textwrap.wrap(reasons[setting.name], COLUMNS)]
        lines += [_assignment(setting, values or {}), ""]
    return lines


def as_page(jobs: Iterable[Job]) -> str:
    """Return the settings of jobs as a page of Markdown: a table for each job."""
    parts = [HEAD]
    for job in jobs:
        reads = [line.removeprefix("# ") for line in _inputs(job) if line.startswith("# ")]
        rows = [
            f"| `{one.name}` | {_default(one)} | {_cell(one.expected)} | {one.unit or '-'} | {_cell(one.meaning)} |"
            for one in settings_of(job.config)
        ]
        reads = ["Reads ", *("; ".join(reads)), "."] if reads else ["Reads no other run."]
        parts += [f"## {job.name}", _cell("".join(reads)), "\n".join([*TABLE, *rows])]
    return "\n\n".join(parts)


def _default(setting: Setting) -> str:
    if setting.is_required:
        return "needed"
    return "left out" if setting.default is None else f"`{json.dumps(setting.default, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _inputs(job: Job) -> Iterator[str]:
    if not job.inputs:
        return
    made = {one: makers(one) for one in job.inputs}
    roles = {one: made[one][0] if one.role == ANY_ROLE else one.role for one in job.inputs}
    for one in job.inputs:
        role = "any role" if one.role == ANY_ROLE else one.role
        several = ", or a list of them" if one.several else ""
        yield f"# {role}: a run of {' or '.join(made[one])}{several}{'; may be left out' if one.optional else ''}"
    usual = [f"{roles[one]} = {json.dumps(made[one][0])}" for one in job.inputs if one.is_usual]
    yield f"inputs = {{ {', '.join(usual)} }}"


def _files(job: Job) -> Iterator[str]:
    wanted = {True: [one.key for one in job.files if one.optional], False: [f.key for f in job.files if not f.optional]}
    for is_optional, keys in wanted.items():
        if keys:
            comment = "# may be left out: " if is_optional else ""
            yield f"{comment}files = {{ {', '.join(f'{key} = {json.dumps(key)}' for key in keys)} }}"


def _assignment(setting: Setting, values: Mapping[str, Any]) -> str:
    if values.get(setting.name) is not None:
        return f"{setting.name} = {_toml(values[setting.name])}"
    if setting.is_required:
        return f"# {setting.name} =    # has no default: write one"
    if setting.default is None:
        return f"# {setting.name} =    # left out by default"
    return f"{setting.name} = {_toml(setting.default)}"


def _toml(value: Any) -> str:  # noqa: ANN401 (JSON)
    """Return a value of JSON as TOML has it; tables stand in a line each."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return "\n".join(["[", *(f"    {_toml(one)}," for one in value), "]"])
    return json.dumps(value, ensure_ascii=False)


def _expected(schema: Mapping[str, Any]) -> str:
    """Return type and range of a JSON schema in words."""
    if "discriminator" in schema:
        kinds = ", ".join(json.dumps(kind) for kind in schema["discriminator"]["mapping"])
        return f"table with `{schema['discriminator']['propertyName']}` one of {kinds}"
    if "anyOf" in schema:
        return " or ".join(_expected(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "const" in schema or "enum" in schema:
        words = [json.dumps(value) for value in schema.get("enum", [schema.get("const")])]
        return f"one of {', '.join(words)}" if len(words) > 1 else words[0]
    if schema["type"] != "array":
        return ", ".join(part for part in (TYPES[schema["type"]], _range(schema)) if part)
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}, each: {_expected(schema['prefixItems'][0])}"
    return f"list{' of 1 or more' if schema.get('minItems') else ''}, each: {_expected(schema['items'])}"


def _range(schema: Mapping[str, Any]) -> str:
    """Return the bounds of a number, or of a text's length, in words."""
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    low, above, high, below = (_plain(bound) for bound in (low, above, high, below))
    if above is not None and schema["type"] == "integer":
        low, above = above + 1, None
    if schema.get("minLength"):
        return "not empty"
    if low is not None and high is not None:
        return f"{low} to {high}"
    lowest = f"{low} or more" if low is not None else f"above {above}" if above is not None else ""
    highest = f"up to {high}" if high is not None else f"below {below}" if below is not None else ""
    return ", ".join(part for part in (lowest, highest) if part)


def _plain(bound: float | None) -> float | None:
    """Return a whole number without the point."""
    return int(bound) if bound is not None and bound == int(bound) else bound
