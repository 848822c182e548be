"""What decides the numbers in an evaluation."""

from pydantic import Field

from jobs.common.config import JobConfig

ALGORITHM = 1


class Config(JobConfig):
    """Settings of the ``evaluate`` job."""

    min_overlap_s: float = Field(
        0.5, gt=0, description="seconds of a window that a label has to cover at least to count"
    )
    keep_unlabelled: bool = Field(
        False, description="whether windows without a label take part, labelled 'none', or are left out"
    )
