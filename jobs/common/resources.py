"""The resources that a run asks of a scheduler; never part of its identity."""

from pydantic import BaseModel, ConfigDict, Field


class Resources(BaseModel):
    """The ``resources`` of a run in a manifest.

    Attributes
    ----------
    nodes
        Machines that work at the same time.
    gpus
        GPUs on each of them; for ``dino`` and ``embed``, whose processes are as many.
    hours
        How long the run may take in all. Where a site allows less at a time, ``submit`` asks again and again.
    tasks
        Shares of a partitioned run, each a task of the scheduler's array; as many as nodes if not given.
    workers
        Processes of one task; as many as the site's profile says if not given.
    memory_gb
        Memory of one node, GB of 10^9 bytes, where the scheduler asks for it.
    accumulate
        Parts that each process's share of a training's batch is computed in, one after the other, for less memory.
    compiled
        Whether the networks of a training are compiled by ``torch.compile``.
    dask
        Whether a partitioned run becomes one Dask cluster inside one allocation instead of an array.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    nodes: int = Field(1, ge=1)
    gpus: int = Field(0, ge=0)
    hours: float = Field(1.0, gt=0)
    tasks: int | None = Field(None, ge=1)
    workers: int | None = Field(None, ge=1)
    memory_gb: float | None = Field(None, gt=0)
    accumulate: int = Field(1, ge=1)
    compiled: bool = False
    dask: bool = False
