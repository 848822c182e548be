"""The settings of every job: their meaning, and what `dawnchorus config` prints."""

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from commands import Cli
from pydantic import Field, PositiveFloat, PositiveInt

from jobs.common.config import JobConfig, identity_config
from jobs.demo.config import StudyConfig
from jobs.runner.manifest import read_manifest
from jobs.runner.registry import JOBS
from jobs.runner.settings import as_page, as_toml, settings_of
from lake.identity import config_id

REQUIRED: dict[str, dict[str, Any]] = {"adopt": {"arch": "vit_tiny_patch16_224"}}
"""Values of settings that have no default, by job."""
MODELS: dict[str, type[JobConfig]] = {**{name: job.config for name, job in JOBS.items()}, "demo": StudyConfig}
IDS = {
    "spectrograms": "a268c38ccdb2", "dino": "79a13eef729c", "adopt": "95f64edb39ef", "dictionary": "32e0c3a6b235",
    "embed": "48d2b0915cbc", "import": "bf1aff88cfaa", "cluster": "0e44021a8016", "evaluate": "3c94aec53763",
    "atlas": "10b9266db688", "learn": "7a498767e774", "detect": "9b1932ba4473",
    "count": "bdf88f16d041", "contrast": "c5df51a97d8f",
}  # fmt: skip
"""Identity of each job's defaults, as version 0.1.0 gave it: lakes hold runs of these."""


def filled(job: str) -> str:
    """Return what is printed for a job, with the settings that have no default written in."""
    text = as_toml(JOBS[job])
    for name, value in REQUIRED.get(job, {}).items():
        text, n = re.subn(rf"^# {name} =.*$", f"{name} = {json.dumps(value)}", text, flags=re.MULTILINE)
        assert n == 1
    return text


@pytest.mark.parametrize("job", JOBS)
def test_all_settings_are_printed_with_their_defaults(job: str, cli: Cli) -> None:
    ended = cli("config", job)
    assert (ended.code, ended.error) == (0, "")
    assert ended.out == as_toml(JOBS[job]) + "\n"
    table = tomllib.loads(ended.out)["runs"][job]
    assert table["job"] == job
    fields = JOBS[job].config.model_fields
    left_out = set(re.findall(r"^# (\w+) =  ", ended.out, re.MULTILINE))
    assert set(table["config"]) | left_out == set(fields)
    assert not set(table["config"]) & left_out
    assert left_out == {name for name, field in fields.items() if field.is_required() or field.default is None}
    model = JOBS[job].config.model_validate({**table["config"], **REQUIRED.get(job, {})})
    assert model == JOBS[job].config.model_validate(REQUIRED.get(job, {}))


def test_the_page_of_settings_is_that_of_the_code() -> None:
    page = (Path(__file__).parents[3] / "docs/settings.md").read_text(encoding="utf-8")
    assert page == as_page(JOBS.values()) + "\n", "type `make settings`"
    for job in JOBS.values():
        for name in job.config.model_fields:
            assert f"\n| `{name}` | " in page


def test_what_is_printed_of_all_jobs_is_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text("\n\n".join(['lake = "lake"', *map(filled, JOBS)]))
    runs = read_manifest(path).runs
    assert set(runs) == set(JOBS)
    for name, run in runs.items():
        assert run.config == JOBS[name].config.model_validate(REQUIRED.get(name, {}))


@pytest.mark.parametrize("job", JOBS)
def test_a_run_can_be_pasted_behind_those_it_reads(job: str, tmp_path: Path) -> None:
    """With the settings that have a default, and with none of them."""
    path = tmp_path / "study.toml"
    others = 'lake = "lake"\n' + "\n".join(filled(other) for other in JOBS if other != job)
    path.write_text(f"{others}\n{filled(job)}\n")
    whole = read_manifest(path).runs[job]
    bare = {key: value for key, value in tomllib.loads(filled(job))["runs"][job].items() if key != "config"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in bare.items() if isinstance(value, str)]
    tables = [
        f"{key} = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in value.items())} }}"
        for key, value in {**bare, "config": REQUIRED.get(job, {})}.items()
        if isinstance(value, dict)
    ]
    path.write_text("\n".join([others, f"[runs.{job}]", *lines, *tables]))
    assert read_manifest(path).runs[job].config_id == whole.config_id


@pytest.mark.parametrize("name", MODELS)
def test_every_setting_has_a_meaning_in_words(name: str) -> None:
    for setting in settings_of(MODELS[name]):
        assert len(setting.meaning.split()) >= 2, setting.name
        assert setting.meaning != setting.name
        assert setting.expected, setting.name
        assert not setting.meaning.endswith("."), setting.name
    assert "Attributes" not in str(MODELS[name].__doc__), "the fields say it"


@pytest.mark.parametrize("name", MODELS)
def test_units_are_those_of_the_names(name: str) -> None:
    for setting in settings_of(MODELS[name]):
        ends = {"s": "_s", "Hz": "_hz", "dB": "_db", "pixels": "_px", "": ""}
        assert setting.name.endswith(ends[setting.unit])
        assert bool(setting.unit) == setting.name.endswith(("_s", "_hz", "_db", "_px"))


@pytest.mark.parametrize("job", JOBS)
def test_identities_stay_as_they_were(job: str) -> None:
    config = JOBS[job].config.model_validate(REQUIRED.get(job, {}))
    assert config_id(job, ALGORITHMS[job], identity_config(config), {}) == IDS[job]


ALGORITHMS = {
    "spectrograms": 2, "dino": 3, "adopt": 1, "dictionary": 1, "embed": 1, "import": 1, "cluster": 3, "evaluate": 2,
    "atlas": 3, "learn": 2, "detect": 1, "count": 1, "contrast": 1,
}  # fmt: skip
"""Those that :data:`IDS` were made with."""


class Example(JobConfig):
    """One setting of each kind."""

    one: int = Field(1, ge=1, le=9, description="a b")
    few: PositiveInt = Field(3, description="a b")
    share: float = Field(0.5, gt=0, le=1, description="a b")
    some: float = Field(0.5, ge=0.25, description="a b")
    free: float = Field(-1.0, description="a b")
    below: int = Field(0, ge=0, lt=5, description="a b")
    text: str = Field("é\"'", min_length=1, description="a b")
    flag: bool = Field(False, description="a b")
    word: Literal["x", "y"] = Field("x", description="a b")
    either: Literal["auto"] | Annotated[int, Field(ge=0)] = Field("auto", description="a b")
    pair_s: Annotated[tuple[PositiveFloat, PositiveFloat], Field(strict=False)] = Field((1.0, 2.0), description="a b")
    several: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = Field((), description="a b")
    maybe: int | None = Field(None, description="a b")
    must: str = Field(description="a b")


def test_ranges_in_words() -> None:
    assert {setting.name: setting.expected for setting in settings_of(Example)} == {
        "one": "integer, 1 to 9",
        "few": "integer, 1 or more",
        "share": "number, above 0, up to 1",
        "some": "number, 0.25 or more",
        "free": "number",
        "below": "integer, 0 or more, below 5",
        "text": "text, not empty",
        "flag": "true or false",
        "word": 'one of "x", "y"',
        "either": '"auto" or integer, 0 or more',
        "pair_s": "list of 2, each: number, above 0",
        "several": "list, each: integer, 1 or more",
        "maybe": "integer",
        "must": "text",
    }
    facts = {setting.name: setting for setting in settings_of(Example)}
    assert facts["must"].is_required
    assert facts["pair_s"].unit == "s"
    assert facts["pair_s"].default == [1.0, 2.0]


def test_settings_as_json(cli: Cli) -> None:
    for job in JOBS:
        told = json.loads(cli("config", job, "--json").out)
        assert told["job"] == job
        assert {one["name"]: one["default"] for one in told["settings"] if not one["is_required"]} == {
            name: value
            for name, value in JOBS[job].config.model_validate(REQUIRED.get(job, {})).model_dump(mode="json").items()
            if not JOBS[job].config.model_fields[name].is_required()
        }
        assert all(one["meaning"] and one["expected"] for one in told["settings"])


@pytest.mark.parametrize(
    ("word", "said"),
    [("clusters", "did you mean 'cluster'?"), ("imports", "did you mean 'import'?"), ("", "there are adopt, atlas"),
     ("catalog", "no such job")],
)  # fmt: skip
def test_another_word_than_a_job(word: str, said: str, cli: Cli) -> None:
    ended = cli("config", word)
    assert ended.code == 2
    assert said in ended.error
