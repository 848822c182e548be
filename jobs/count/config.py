"""Settings of the ``count`` job."""

from typing import Literal

from pydantic import Field

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job

ALGORITHM = 1


class Config(JobConfig):
    """Settings of the ``count`` job."""

    level: float = Field(0.95, gt=0, lt=1, description="level of the intervals")
    occasion: Literal["night", "day", "week"] = Field(
        "night", description="period that is an occasion in detection histories, by local time"
    )


JOB = Job(
    name="count", package=__package__, config=Config, algorithm=ALGORITHM, writes="tables", extra="cluster",
    inputs=(Input("spectrograms"), Input("detections", optional=True)),
    reads=frozenset({"verdicts"}), is_remade=True,
)  # fmt: skip
