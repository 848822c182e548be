"""Settings of the ``cluster`` job."""

import math
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job
from lake.scaling import N_AXES, SHRINKAGE

AUTO_CLUSTERS = (2, 100)
ALGORITHM = 3
"""2: the fit is our own, one matrix product a batch, in place of scikit-learn's. 3: no cluster starts anew in the
first epoch; a batch's windows are in the order they were read in."""

Normalise = Literal["auto", "none", "zscore", "zscore_l2", "l2", "whiten"]


class Config(JobConfig):
    """Settings of the ``cluster`` job."""

    n_clusters: Literal["auto"] | Annotated[int, Field(ge=1, le=32_767)] = Field(
        100, description="clusters; 'auto' is the root of half the number of windows, from 2 to 100"
    )
    normalise: Normalise = Field(
        "auto",
        description="'whiten': z-score, principal axes over √(variance + shrinkage · largest variance), length 1; "
        "'zscore': each feature to mean 0 and deviation 1 over all windows; 'l2': each vector to length 1; 'auto': "
        "'whiten' for vectors of `embed`, 'zscore_l2' for imported ones",
    )
    shrinkage: float = Field(
        SHRINKAGE,
        gt=0,
        le=1,
        description="share of the largest variance that whitening adds to each; less hurts vectors that are good",
        json_schema_extra={"introduced_as": SHRINKAGE},
    )
    n_components: int | None = Field(
        None,
        ge=1,
        description=f"axes kept at most: of 'whiten' {N_AXES} if left out, of all vector sets together; of 'zscore' "
        "and 'zscore_l2' the principal components that vectors are projected on, all if left out",
        json_schema_extra={"introduced_as": None},
    )
    seed: int = Field(0, ge=0, description="root of every random choice")
    n_init_windows: int = Field(
        10_000,
        ge=1,
        description="windows, drawn uniformly, for the first centroids (k-means++), components, stability and scan",
    )
    batch_size: int = Field(1024, ge=1, description="windows in a step of the fit")
    n_epochs: int = Field(10, ge=1, description="times that the fit sees every window, about")
    max_batches: int | None = Field(None, ge=1, description="most steps of the fit, whatever `n_epochs` says")
    buffer_windows: int = Field(
        32_768, ge=1, description="windows, read from all parts of the store, that are shuffled together"
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
    n_refits: int = Field(
        4,
        ge=0,
        description="fits on halves of the sampled windows that a cluster's stability is measured with; 0 for none",
        json_schema_extra={"introduced_as": 4},
    )
    scan_n_clusters: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = Field(
        (),
        description="numbers of clusters that are tried on the sampled windows, for a table in the cluster store",
        json_schema_extra={"introduced_as": []},
    )
    flag_share: float = Field(
        0.9,
        gt=0,
        le=1,
        description="a cluster is flagged if one recorder, or one hour of the day, has this share of its windows and "
        "less than half of that share of all windows",
        json_schema_extra={"introduced_as": 0.9},
    )
    noise_contrast_db: float = Field(
        8.0,
        ge=0,
        description="a cluster is flagged as noise if its exemplars stand out less than this from their own background",
        json_schema_extra={"introduced_as": 8.0},
    )


def number_of_clusters(wanted: int | str, n_windows: int) -> int:
    """Return the number of clusters: the one wanted, or the root of half the windows, from 2 to 100."""
    if isinstance(wanted, int):
        return wanted
    low, high = AUTO_CLUSTERS
    return min(n_windows, max(low, min(high, round(math.sqrt(n_windows / 2)))))


JOB = Job(
    name="cluster", package=__package__, config=Config, algorithm=ALGORITHM, writes="clusters", extra="cluster",
    inputs=(Input("embeddings", several=True),),
    extends=True,
    follows=frozenset({"scheduler", "mix", "refresh"}),
)  # fmt: skip
