"""Settings of the ``evaluate`` job."""

from typing import Literal

from pydantic import Field

from jobs.common.config import JobConfig
from jobs.common.job import ANY_ROLE, FileInput, Input, Job
from lake.scaling import SHRINKAGE

ALGORITHM = 2
"""2: agreement with labels next to that of random clusters; 3: the audit does not scale whitened axes."""


class Config(JobConfig):
    """Settings of the ``evaluate`` job."""

    min_overlap_s: float = Field(
        0.5, gt=0, description="seconds of a window that a label has to cover at least to count"
    )
    keep_unlabelled: bool = Field(
        False, description="whether windows without a label take part, labelled 'none', or are left out"
    )
    min_confidence: float = Field(
        0.0,
        ge=0,
        le=1,
        description="labels of a program (BirdNET) that is less sure than this are left out",
        json_schema_extra={"introduced_as": 0.0},
    )
    seed: int = Field(0, ge=0, description="root of every random choice", json_schema_extra={"introduced_as": 0})
    normalise: Literal["auto", "zscore_l2", "whiten"] = Field(
        "auto",
        description="how vectors are scaled: 'whiten' over all windows of their run, as `cluster` does it; 'zscore_l2' "
        "by the features' mean and deviation in training; 'auto': 'whiten' for vectors of `embed`, the other for "
        "imported ones",
        json_schema_extra={"introduced_as": "zscore_l2"},
    )
    shrinkage: float = Field(
        SHRINKAGE,
        gt=0,
        le=1,
        description="share of the largest variance that whitening adds to each",
        json_schema_extra={"introduced_as": SHRINKAGE},
    )
    n_folds: int = Field(
        5, ge=2, description="parts that intervals are split into", json_schema_extra={"introduced_as": 5}
    )
    n_neighbours: int = Field(
        5, ge=1, description="neighbours that vote in k-NN", json_schema_extra={"introduced_as": 5}
    )
    n_bootstrap: int = Field(
        400,
        ge=20,
        description="resamples of the groups for an interval; a quarter of it where clusters are compared with labels",
        json_schema_extra={"introduced_as": 400},
    )
    most_intervals: int = Field(
        5_000,
        ge=10,
        description="labelled intervals that take part at most, drawn at random",
        json_schema_extra={"introduced_as": 5_000},
    )
    n_audit_windows: int = Field(
        2_000,
        ge=10,
        description="windows, drawn at random, that the audit of nuisances looks at",
        json_schema_extra={"introduced_as": 2_000},
    )


JOB = Job(
    name="evaluate", package=__package__, config=Config, algorithm=ALGORITHM, writes="scores", extra="cluster",
    inputs=(Input(ANY_ROLE, ("clusters", "embeddings"), several=True),), files=(FileInput("labels", optional=True),),
    reads=frozenset({"labels"}),
)  # fmt: skip
