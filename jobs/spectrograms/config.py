"""Settings of the ``spectrograms`` job."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job
from lake.constants import MS_PER_DAY
from lake.grid import divisor_near, require_cells

ALGORITHM = 2


class Config(JobConfig):
    """Settings of the ``spectrograms`` job; the defaults are the arboretum study's.

    Bands are as many and as narrow as asked for: where they are narrower than the resolution of the
    Fourier transform they interpolate between its bins.
    """

    window_s: float = Field(6.0, gt=0, description="length of a window in seconds")
    hop_s: float = Field(6.0, gt=0, description="distance of two window starts in seconds; divides a day")
    n_mels: int = Field(1024, ge=1, description="mel bands (rows)")
    n_frames: int = Field(1024, ge=1, description="frames (columns)")
    fft_s: float = Field(
        4096 / 48_000, gt=0, description="length of the Hann window in seconds (4096 samples at 48 kHz)"
    )
    f_min_hz: float = Field(0.0, ge=0, description="lower edge of the lowest band")
    f_max_hz: float = Field(20_000.0, gt=0, description="upper edge of the highest band")
    sample_rate_hz: int | None = Field(
        None, gt=0, description="resample every window to this rate; without it each recording keeps its own"
    )
    channel: Literal["mix"] | Annotated[int, Field(ge=0)] = Field(
        "mix", description="'mix' (mean of the channels) or a channel's number from 0"
    )
    min_coverage: float = Field(0.8, gt=0, le=1, description="least recorded share of a partial window")
    shard_windows: int = Field(
        100, ge=1, description="windows in a shard, about; the nearest divisor of a day's cells is taken"
    )
    untimed: Literal["skip", "sequence"] = Field(
        "skip",
        description="recordings without a usable time: 'skip' leaves them out, 'sequence' places them one after the "
        "other, from the origin",
    )

    @model_validator(mode="after")
    def _check(self) -> "Config":
        require_cells(self.window_s, self.hop_s)
        if self.f_min_hz >= self.f_max_hz:
            raise ValueError(f"f_min_hz = {self.f_min_hz:g} is not below f_max_hz = {self.f_max_hz:g}")
        return self

    @property
    def window_ms(self) -> int:
        """Length of a window in milliseconds."""
        return round(self.window_s * 1000)

    @property
    def hop_ms(self) -> int:
        """Distance of two window starts in milliseconds."""
        return round(self.hop_s * 1000)

    @property
    def cells_per_shard(self) -> int:
        """Windows in one shard: a divisor of the day."""
        return divisor_near(MS_PER_DAY // self.hop_ms, self.shard_windows)


JOB = Job(
    name="spectrograms", package=__package__, config=Config, algorithm=ALGORITHM, writes="spectrograms",
    extra="spectrograms", extends=True,
    inputs=(Input("spectrograms", optional=True, several=True, is_usual=False),),
    follows=frozenset({"scheduler", "max-memory", "mix"}),
)  # fmt: skip
