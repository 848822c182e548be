"""Settings of the ``atlas`` job."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job
from lake.constants import LEVEL_MAX_DB, LEVEL_MIN_DB

ALGORITHM = 3
"""2: one page with a map, borders, outliers, sound, calendars and names, in place of a page a cluster.

3: the map can be enlarged and moved.
"""

Pair = Annotated[tuple[float, float], Field(strict=False)]


class Config(JobConfig):
    """Settings of the ``atlas`` job.

    All pictures of an atlas share one range of levels, so that their colours can be compared.
    """

    title: str = Field("Sound clusters", min_length=1, description="heading of the overview")
    n_exemplars: int = Field(
        6, ge=1, le=100, description="exemplars of a cluster at most; no more than the clustering kept"
    )
    n_borders: int = Field(3, ge=0, le=100, description="windows of a cluster that are nearly as near to another one")
    n_outliers: int = Field(3, ge=0, le=100, description="windows of a cluster that are farthest from its centroid")
    n_map_windows: int = Field(
        2000, ge=0, le=100_000, description="windows on the map at most, drawn uniformly; 0 for no map"
    )
    perplexity: float = Field(
        30.0, ge=2, le=1000, description="perplexity of t-SNE; at most a quarter of the windows on the map"
    )
    seed: int = Field(0, ge=0, description="root of every random choice")
    audio: bool = Field(
        True, description="whether sound is cut out of the recordings where they are at hand; recorders catch speech"
    )
    min_confidence: float = Field(
        0.0,
        ge=0,
        le=1,
        description="labels of a program (BirdNET) that is less sure than this are left out",
        json_schema_extra={"introduced_as": 0.0},
    )
    level_range_db: Literal["auto"] | Pair = Field(
        "auto", description="levels of the darkest and the brightest colour in dBFS; 'auto': by percentiles"
    )
    level_percentiles: Pair = Field(
        (10.0, 99.9),
        description="'auto': percentiles of the exemplars' levels from 100 Hz up, then out to multiples of 5 dB",
    )
    image_width_px: int = Field(480, ge=16, le=4096, description="width of a picture in pixels at most")
    image_height_px: int = Field(320, ge=16, le=4096, description="height of a picture in pixels at most")

    @model_validator(mode="after")
    def _check(self) -> "Config":
        low, high = self.level_percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"level_percentiles = [{low:g}, {high:g}] do not rise within 0 to 100")
        if self.level_range_db != "auto":
            low, high = self.level_range_db
            if not LEVEL_MIN_DB <= low < high <= LEVEL_MAX_DB:
                raise ValueError(
                    f"level_range_db = [{low:g}, {high:g}] does not rise within "
                    f"{LEVEL_MIN_DB:g} to {LEVEL_MAX_DB:g} dBFS, what a cube can hold"
                )
        return self


PLACE_KEY = "place.js"
"""File of a page that says where the recordings are."""

JOB = Job(
    name="atlas", package=__package__, config=Config, algorithm=ALGORITHM, writes="atlas", extra="cluster",
    inputs=(Input("clusters"), Input("spectrograms"), Input("detections", optional=True),
            Input("counts", ("tables",), optional=True)),
    reads=frozenset({"labels", "cluster_names"}),
    follows=frozenset({"no-audio"}), is_remade=True, of_place=frozenset({PLACE_KEY}),
)  # fmt: skip
