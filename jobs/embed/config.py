"""Settings that decide the numbers of an embedding store."""

from typing import Literal

from pydantic import Field, model_validator

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job
from jobs.common.network.readouts import Readout

ALGORITHM = 1


class Config(JobConfig):
    """Settings of the ``embed`` job.

    ``weights``, ``readout`` and ``attention`` say how a network is used; without one they stay at their defaults.
    """

    features: Literal["network", "logmel", "statistics"] = Field(
        "network",
        description="'network': what the `model` gives, a network's or a dictionary's; 'logmel': mean, deviation and "
        "maximum of each mel band; 'statistics': these and mean absolute differences over 1 and 8 frames",
    )
    weights: Literal["teacher", "initial"] = Field(
        "teacher", description="'teacher': as trained; 'initial': as it was before, a yardstick"
    )
    readout: Readout = Field(
        "patch_mean_std",
        description="of a network of tokens (`dino`, `adopt`): the class token, the mean of the patch tokens, or their "
        "mean and deviation; of one of frames (`contrast`): mean and deviation over time of its 'output' or its 'stem'",
    )
    dtype: Literal["float32", "float16"] = Field("float32", description="type of the stored vectors")
    batch_size: int = Field(
        32, ge=1, description="windows in a batch; the last of a day is padded, so that all are full"
    )
    partial: bool = Field(True, description="whether windows with gaps are embedded as well")
    attention: bool = Field(
        False,
        description="whether the class token's attention to each patch is stored as well, as `attention`",
        json_schema_extra={"introduced_as": False},
    )

    @model_validator(mode="after")
    def _check(self) -> "Config":
        fields = type(self).model_fields
        idle = [name for name in ("weights", "readout", "attention") if getattr(self, name) != fields[name].default]
        if self.features != "network" and idle:
            raise ValueError(f"features = {self.features!r} uses no network; leave out {' and '.join(idle)}")
        return self


JOB = Job(
    name="embed", package=__package__, config=Config, algorithm=ALGORITHM, writes="embeddings", extra="dino",
    inputs=(
        Input("spectrograms"), Input("model", ("models",), optional=True),
        Input("embeddings", optional=True, several=True, jobs=("embed",), is_usual=False),
    ),
    extends=True, processes="share partitions",
    follows=frozenset({"scheduler", "mix", "device"}),
)  # fmt: skip
