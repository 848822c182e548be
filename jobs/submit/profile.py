"""The settings of a site profile."""

from pydantic import BaseModel, ConfigDict, Field


class Site(BaseModel):
    """A cluster, as its profile describes it.

    Attributes
    ----------
    scheduler
        Key of :data:`jobs.submit.schedulers.SCHEDULERS`; ``local`` runs one job after the other on this machine.
    queue, account
        Queue or partition, and the project that pays.
    max_hours, max_nodes
        The most that one job may ask for.
    gpus
        GPUs of a node, where nodes are given whole; a run may ask for fewer.
    workers
        Processes of a task, where a run does not say: about the cores of a node, or of its share of one.
    images
        Folder of the images.
    apptainer
        The command: ``apptainer`` or ``singularity``.
    binds
        More folders that the containers need, such as the target of links among the recordings.
    env
        Variables set inside the containers, such as those of NCCL.
    directives
        Further lines for the scheduler, without its prefix.
    select
        PBS's request for nodes; ``{nodes}``, ``{gpus}`` and ``{cpus}`` are filled in.
    setup
        Lines of shell before the container starts, such as ``module load``.
    interface
        Network interface, such as ``ib0``, through which processes on several nodes of a job talk (gloo, NCCL and
        Dask); if empty, that of the node's host name. On one node they talk over loopback, whatever it is.
    launch
        What starts one process on each node of a job; ``{nodes}`` is filled in. A usual one if empty.
    requeue
        Whether a job may put itself into the queue again (``scontrol requeue``); otherwise as many jobs are
        queued one after the other as the hours need.
    warn_s
        Seconds before the end of a job at which it is asked to write a checkpoint and stop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    scheduler: str
    queue: str = ""
    account: str = ""
    max_hours: float = Field(gt=0)
    max_nodes: int | None = Field(None, ge=1)
    gpus: int = Field(0, ge=0)
    workers: int = Field(ge=1)
    images: str = ""
    apptainer: str = "apptainer"
    binds: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    directives: list[str] = Field(default_factory=list)
    select: str = "select={nodes}"
    setup: list[str] = Field(default_factory=list)
    interface: str = ""
    launch: str = ""
    requeue: bool = False
    warn_s: int = Field(300, ge=0)
