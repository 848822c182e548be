"""Settings of the ``dictionary`` job."""

from typing import Annotated

from pydantic import Field, PositiveInt

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job

ALGORITHM = 2
"""2: k-means as Coates and Ng have it (patches keep their length, of either sign); rows of frequency share places."""

Size = Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)]


class Config(JobConfig):
    """Settings of the ``dictionary`` job."""

    view_size: Size = Field(
        (128, 256), description="mel bands and frames that windows are reduced to at most before patches are cut"
    )
    patch_sizes: Annotated[tuple[Size, ...], Field(strict=False, min_length=1)] = Field(
        ((8, 8), (16, 8), (32, 16)), description="bands and frames of the patches, each size with its own atoms"
    )
    n_atoms: int = Field(64, ge=2, description="atoms of each size of patch")
    n_rows: int = Field(4, ge=1, description="parts of the frequency axis that an atom's responses are averaged in")
    n_windows: int = Field(
        6_000, ge=1, description="windows, drawn at most, that levels and patches are taken from; they bound the memory"
    )
    n_patches: int = Field(60_000, ge=100, description="patches of each size that atoms are learnt from")
    n_rounds: int = Field(15, ge=1, description="rounds of spherical k-means")
    shrinkage: float = Field(
        0.05, gt=0, le=1, description="share of the largest variance that whitening of patches adds to each"
    )
    seed: int = Field(0, ge=0, description="root of every random choice")
    partial: bool = Field(True, description="whether windows with gaps are drawn as well")


JOB = Job(
    name="dictionary", package=__package__, config=Config, algorithm=ALGORITHM, writes="models", extra="cluster",
    inputs=(Input("spectrograms"),),
)  # fmt: skip
