"""What decides the numbers in a store of detections."""

from pydantic import Field

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job

ALGORITHM = 1


class Config(JobConfig):
    """Settings of the ``detect`` job."""

    partial: bool = Field(True, description="whether windows with gaps are scored as well")


JOB = Job(
    name="detect", package=__package__, config=Config, algorithm=ALGORITHM, writes="detections", extra="cluster",
    inputs=(Input("embeddings", several=True), Input("heads")),
    extends=True, processes="share partitions",
    follows=frozenset({"scheduler", "max-memory", "mix"}),
)  # fmt: skip
