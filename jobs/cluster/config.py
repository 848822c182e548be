"""What decides the numbers in a cluster store."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.common.config import JobConfig

ALGORITHM = 1

Normalise = Literal["none", "zscore", "zscore_l2", "l2"]


class Config(JobConfig):
    """Settings of the ``cluster`` job."""

    n_clusters: Literal["auto"] | Annotated[int, Field(ge=1, le=32_767)] = Field(
        100, description="clusters; 'auto' is the root of half the number of windows, from 2 to 100"
    )
    normalise: Normalise = Field(
        "zscore_l2",
        description="'zscore': each feature to mean 0 and deviation 1 over all windows; 'l2': each vector to length 1",
    )
    seed: int = Field(0, ge=0, description="root of every random choice")
    n_init_windows: int = Field(
        10_000, ge=1, description="windows, drawn uniformly, that k-means++ chooses the first centroids from"
    )
    batch_size: int = Field(1024, ge=1, description="windows in a step of the fit")
    n_epochs: int = Field(10, ge=1, description="times that the fit sees every window, about")
    max_batches: int | None = Field(None, ge=1, description="most steps of the fit, whatever `n_epochs` says")
    buffer_windows: int = Field(
        32_768, ge=1, description="windows from stretches all over the store that are shuffled together"
    )
    reassignment_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="a cluster with less than this share of the largest one's windows starts anew elsewhere",
    )
    n_exemplars: int = Field(12, ge=1, description="windows near its centroid that are listed for a cluster")
    exemplar_span_s: float = Field(
        600.0,
        gt=0,
        description="spans of a recorder's day, in seconds, that give one exemplar each while there are enough",
    )
    partial: bool = Field(True, description="whether windows with gaps are clustered as well")
