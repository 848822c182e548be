"""The base of every job's configuration."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class JobConfig(BaseModel):
    """Settings of one job that change the numbers in its output, and nothing else.

    Frozen and strict: unknown keys and wrong types are errors. Workers, devices, memory and progress
    are not settings of this kind; they never enter a run's identity. A field that is added after a
    job's first release says ``json_schema_extra={"introduced_as": value}``: runs that were stored
    without it had that value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def identity_config(config: JobConfig) -> dict[str, Any]:
    """Return the part of a configuration that its identity is made of.

    A field that stands at the value it was introduced with is left out, so a run that was stored
    before the field existed keeps its identity.
    """
    values = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "introduced_as" in extra and values[name] == extra["introduced_as"]:
            del values[name]
    return values
