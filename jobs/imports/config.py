"""What decides the numbers in a store of imported vectors."""

from typing import Literal

from pydantic import Field, model_validator

from jobs.common.config import JobConfig
from jobs.common.job import FileInput, Input, Job
from lake.grid import require_cells

ALGORITHM = 1


class Config(JobConfig):
    """Settings of the ``import`` job; the vectors themselves are files of the run."""

    window_s: float = Field(3.0, gt=0, description="seconds of sound that a vector was made from")
    hop_s: float = Field(
        3.0, gt=0, description="distance of two cells of the grid in seconds; divides a day; no two vectors in one cell"
    )
    shared_cells: Literal["refuse", "nearest"] = Field(
        "refuse",
        description="where two vectors want one cell: refuse, or keep the one nearest to its start and count the rest",
    )
    dtype: Literal["float32", "float16"] = Field("float32", description="type of the stored vectors")
    recording_column: str = Field("recording", description="column of the table with the recording's path")
    start_column: str = Field("start_s", description="column with the seconds after the recording's start")

    @model_validator(mode="after")
    def _check(self) -> "Config":
        require_cells(self.window_s, self.hop_s)
        return self


JOB = Job(
    name="import", package=__package__, config=Config, algorithm=ALGORITHM, writes="embeddings", extra="cluster",
    inputs=(Input("spectrograms"),), files=(FileInput("table", optional=True), FileInput("vectors")),
)  # fmt: skip
