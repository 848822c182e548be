"""The base of every job's configuration."""

from pydantic import BaseModel, ConfigDict


class JobConfig(BaseModel):
    """Settings of one job that change the numbers in its output, and nothing else.

    Frozen and strict: unknown keys and wrong types are errors. Workers, devices, memory and progress
    are not settings of this kind; they never enter a run's identity. A field that is added after a
    job's first release says ``json_schema_extra={"introduced_as": value}``: runs that were stored
    without it had that value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
