"""Site profiles: what a cluster is like, as small TOML files."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.explain import explain, nearest
from lake.errors import InputError

PROFILES = Path(__file__).parent / "sites"


class Site(BaseModel):
    """What a cluster is like.

    Attributes
    ----------
    scheduler
        Which one; ``local`` runs one job after the other on this machine.
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
        Seconds before the end of a job at which it is told to write a checkpoint and stop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    scheduler: Literal["slurm", "pbs", "cobalt", "local"]
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


def read_site(name: str) -> Site:
    """Return a profile by its name, or from a TOML file of one's own.

    Raises
    ------
    InputError
        If there is none, or with everything that is wrong in it.
    """
    path = Path(name) if name.endswith(".toml") else PROFILES / f"{name}.toml"
    try:
        return Site.model_validate(_values(path))
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in explain(error, Site, ()))
        raise InputError(f"{path}: not a site profile:\n{lines}") from error


def site_names() -> list[str]:
    """Return the names of the profiles that come with dawnchorus."""
    return sorted(path.stem for path in PROFILES.glob("*.toml"))


def _values(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a profile's values, over those of the profile that it is ``like``."""
    if not path.is_file():
        names = site_names()
        near = nearest(path.stem, names)
        raise InputError(
            f"--site: no profile {path.stem if path.parent == PROFILES else str(path)!r}{near}. "
            f"There are {', '.join(names)}; or name a TOML file of your own."
        )
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}.") from error
    like = own.pop("like", None)
    if like is None:
        return own
    other = PROFILES / f"{like}.toml"
    if other in {*seen, path}:
        raise InputError(f"{path}: like = {like!r} leads in a circle.")
    return {**_values(other, (*seen, path)), **own}
