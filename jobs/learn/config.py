"""Settings of the ``learn`` job."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job
from lake.scaling import SHRINKAGE

ALGORITHM = 3
Group = Literal["auto", "day", "recording"]


class Config(JobConfig):
    """Settings of the ``learn`` job."""

    normalise: Literal["auto", "none", "zscore", "zscore_l2", "l2", "whiten"] = Field(
        "auto", description="how vectors are scaled first, as in `cluster`: 'auto' is 'whiten' for vectors of `embed`, "
        "'zscore_l2' for imported ones",
    )  # fmt: skip
    shrinkage: float = Field(
        SHRINKAGE, gt=0, le=1, description="share of the largest variance that whitening adds to each"
    )
    n_unlabelled: int = Field(2_000, ge=0, description="windows nobody judged, drawn at random, that count as weak no")
    unlabelled_weight: float = Field(
        0.05, gt=0, le=1, description="weight of such a window, where one that was judged has 1"
    )
    penalties: Annotated[tuple[PositiveFloat, ...], Field(strict=False, min_length=1)] = Field(
        (1.0, 10.0, 100.0, 1_000.0),
        description="inverse strengths of the penalty on weights that are compared, the strongest penalty first",
    )
    n_folds: int = Field(5, ge=2, description="parts that verdicts are held out in, one after the other")
    group: Group = Field(
        "auto",
        description="what is held out together: windows of a UTC day, or of a recording and a day; 'auto': a day where "
        "both yes and no are from 3 days at least",
    )
    precision: float = Field(0.9, gt=0, lt=1, description="precision that a threshold is stated for")
    n_few: int = Field(
        20, ge=1, description="verdicts of a kind, yes or no; with fewer all figures are flagged as guesses"
    )
    n_bootstrap: int = Field(1_000, ge=10, description="resamples of groups that intervals are taken from")
    partial: bool = Field(True, description="whether windows with gaps are learnt from")
    seed: int = Field(0, ge=0, description="root of every random choice")


JOB = Job(
    name="learn", package=__package__, config=Config, algorithm=ALGORITHM, writes="models", gives="heads",
    extra="cluster",
    inputs=(Input("embeddings", several=True),),
    reads=frozenset({"verdicts"}),
)  # fmt: skip
