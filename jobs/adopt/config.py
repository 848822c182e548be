"""Settings of the ``adopt`` job."""

from typing import Annotated

from pydantic import Field, PositiveInt

from jobs.common.config import JobConfig
from jobs.common.job import FileInput, Input, Job

ALGORITHM = 1

Size = Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)]


class Config(JobConfig):
    """Settings of the ``adopt`` job; the weights are a file of the run."""

    arch: str = Field(
        description="name of the timm vision transformer that the weights are of, with `input_size`, `patch_size` and "
        "`registers`; or 'frames': the network of a run of `contrast`, whose file says the rest"
    )
    input_size: Size = Field(
        (224, 224), description="mel bands and frames that a window is resized to; position embeddings are stretched"
    )
    patch_size: Size = Field((16, 16), description="mel bands and frames of a token, as the weights have it")
    registers: int = Field(0, ge=0, description="tokens that stand for no patch, as the weights have them")
    n_statistics: int = Field(
        1_000,
        ge=1,
        description="windows, drawn at most, that the mean per mel band and the deviation are computed from",
    )
    seed: int = Field(0, ge=0, description="root of that random choice")


JOB = Job(
    name="adopt", package=__package__, config=Config, algorithm=ALGORITHM, writes="models", extra="dino",
    inputs=(Input("spectrograms"),), files=(FileInput("weights"),),
)  # fmt: skip
