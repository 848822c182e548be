"""The base of every job's configuration."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

Model = TypeVar("Model", bound="JobConfig")


class JobConfig(BaseModel):
    """Settings of one job that change the numbers in its output, and nothing else.

    Frozen and strict: unknown keys and wrong types are errors. Workers, devices, memory and progress
    are not settings of this kind; they never enter a run's identity. A field that is added after a
    job's first release says ``json_schema_extra={"introduced_as": value}``: runs that were stored
    without it had that value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def identity_config(config: BaseModel) -> dict[str, Any]:
    """Return the part of a configuration that its identity is made of, or of a record what is written of it.

    A field that stands at the value it was introduced with is left out, so a run that was stored
    before the field existed keeps its identity, and a record its bytes.
    """
    values, later = config.model_dump(mode="json"), introduced_as(type(config))
    return {name: value for name, value in values.items() if (name, value) not in later.items()}


def stored_config(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return the configuration of a run from what is stored of it: all fields as JSON values.

    A field that came after the run was stored has the value that it was introduced with, whatever its default is now.

    Raises
    ------
    pydantic.ValidationError
        If this version does not know such a configuration.
    """
    return model.model_validate_json(json.dumps({**introduced_as(model), **values}))


def resumed_config(model: type[Model], written: Mapping[str, Any], stored: Mapping[str, Any]) -> Model:
    """Return the configuration of a run that exists: what the manifest writes, and for the rest what is stored.

    Raises
    ------
    pydantic.ValidationError
        If this version does not know such a configuration, or the two do not go together.
    """
    base, changes = stored_config(model, stored), model.model_validate(written)
    named = changes.model_dump(mode="json", include=changes.model_fields_set)
    return model.model_validate_json(json.dumps({**base.model_dump(mode="json"), **named}))


def introduced_as(model: type[BaseModel]) -> dict[str, Any]:
    """Return the fields that came after the first release, with the value that runs before them had."""
    extras = {name: field.json_schema_extra for name, field in model.model_fields.items()}
    return {name: x["introduced_as"] for name, x in extras.items() if isinstance(x, dict) and "introduced_as" in x}
