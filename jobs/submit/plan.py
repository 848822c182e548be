"""Plan a submission: the steps of each run, their images, folders and order."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from jobs.common.run import Run
from jobs.runner.manifest import Manifest
from jobs.runner.registry import JOBS
from jobs.submit.profile import Site
from lake.digest import sha256_of_file
from lake.errors import InputError

Kind = Literal["whole", "shares", "finalise", "dask", "train", "spread"]
SHORT_HOURS = 1.0
"""Asked for where nothing is computed: finalising."""
MOST_LETTERS = 100
"""Of a step's name, from which those of files and jobs are made."""


@dataclass(frozen=True)
class Step:
    """One job of the scheduler, or one array of them.

    Attributes
    ----------
    name
        Name of its script, and of the job.
    run, kind
        The run, and what is done of it: all (``whole``), its shares as an array (``shares``), what makes them
        readable (``finalise``), all on a Dask cluster of its own (``dask``), a training by several processes
        (``train``), or a share on each GPU (``spread``).
    image, sha256
        Path of the image and the digest of its file, where it is known.
    nodes, gpus, cpus, processes, threads, tasks
        Nodes of a job; GPUs, cores and processes on each; threads of a process; tasks of an array.
    hours, attempts
        Hours of one job, and how many are queued one after the other.
    memory_gb
        Memory of a node, where it was asked for.
    needs
        Names of the steps that must be done before.
    """

    name: str
    run: str
    kind: Kind
    image: Path
    sha256: str
    nodes: int
    gpus: int
    cpus: int
    processes: int
    threads: int
    tasks: int
    hours: float
    attempts: int
    memory_gb: float | None
    needs: tuple[str, ...]


def plan(manifest: Manifest, runs: Sequence[Run], site: Site, images: Path, *, digest: bool = True) -> list[Step]:
    """Return the steps of runs in their order.

    Parameters
    ----------
    manifest, runs
        The manifest, and those of its runs that are asked for.
    site, images
        Where they are to run, and the folder of the images.
    digest
        Whether images must be there and are digested; a dry run does without those that are not.

    Raises
    ------
    InputError
        If a run asks for more than the site has, or an image is not there or not the pinned one.
    """
    steps: list[Step] = []
    names = _file_names(runs)
    last = {run.name: f"{names[run.name]}-finalise" if _is_shared(run) else names[run.name] for run in runs}
    problems = [line for run in runs for line in _beyond(run, site)]
    if problems:
        raise InputError(f"{manifest.path}:\n" + "\n".join(f"  {line}" for line in problems))
    known: dict[Path, str] = {}
    for run in runs:
        needs = tuple(last[source.name] for source in run.inputs.values() if source.name in last)
        image = _image(run, images, known, digest=digest)
        steps += _steps(run, names[run.name], site, image, tuple(dict.fromkeys(needs)))
    return steps


def _file_names(runs: Sequence[Run]) -> dict[str, str]:
    """Return a name that files, schedulers and shells take and that is no option of theirs, for each run."""
    names: dict[str, str] = {}
    for run in runs:
        name = re.sub(r"^[.-]|[^A-Za-z0-9_.-]", "_", run.name)[:MOST_LETTERS]
        taken = {"submit", *names.values(), *(f"{other}-finalise" for other in names.values())}
        while {name, f"{name}-finalise"} & taken:
            name += "_"
        names[run.name] = name
    return names


def folders(manifest: Manifest, runs: Sequence[Run], site: Site) -> list[tuple[str, bool]]:
    """Return the folders that the containers need, parents first, with whether they may be written to."""
    found = {str(manifest.path.resolve().parent): False, **dict.fromkeys(site.binds, False)}
    for run in runs:
        if run.recordings is not None:
            tables = [run.recordings.table, run.recordings.deployments]
            found |= {str(path.parent): False for path in tables if path is not None}
            found[str(run.recordings.root)] = False
        files = [run.labels] if run.labels is not None else []
        found |= {str(path.parent): False for path in [*files, *run.files.values()]}
        lakes = [one.lake.storage for one in run.above()]
        found |= {lake.url: False for lake in lakes if lake.is_local}
    for run in runs:
        if run.lake.storage.is_local:
            found[run.lake.storage.url] = True
    return sorted(found.items())


def _steps(run: Run, name: str, site: Site, image: tuple[Path, str], needs: tuple[str, ...]) -> Iterator[Step]:
    wanted = run.resources
    kind = _kind(run)
    hours = min(wanted.hours, site.max_hours)
    processes = _processes(run, kind, site)
    cpus = max(processes, wanted.workers or site.workers) if wanted.gpus else processes
    threads = {"whole": cpus, "train": cpus // processes}.get(kind, 1)
    step = Step(
        name=name, run=run.name, kind=kind, image=image[0], sha256=image[1],
        nodes=1 if kind == "shares" else wanted.nodes, gpus=wanted.gpus, cpus=cpus,
        processes=processes, threads=threads, tasks=(wanted.tasks or wanted.nodes) if kind == "shares" else 1,
        hours=hours, attempts=1 if site.requeue else math.ceil(wanted.hours / site.max_hours - 1e-9),
        memory_gb=wanted.memory_gb, needs=needs,
    )  # fmt: skip
    yield step
    if _is_shared(run):
        yield replace(
            step, name=f"{name}-finalise", kind="finalise", nodes=1, gpus=0, cpus=1, processes=1, threads=1,
            tasks=1, hours=min(SHORT_HOURS, site.max_hours), attempts=1, needs=(name,),
        )  # fmt: skip


def _kind(run: Run) -> Kind:
    job = JOBS[run.job]
    if job.processes == "train together":
        return "train"
    if run.resources.dask and "scheduler" in job.options:
        return "dask"
    if not job.has_ranks:
        return "whole"
    return "spread" if run.resources.gpus else "shares"


def _is_shared(run: Run) -> bool:
    return _kind(run) in {"shares", "spread"}


def _processes(run: Run, kind: Kind, site: Site) -> int:
    if kind in {"train", "spread"}:
        return run.resources.gpus or run.resources.workers or 1
    return run.resources.workers or site.workers


def _beyond(run: Run, site: Site) -> Iterator[str]:
    """Yield what a run asks for and the site has not, or nobody has."""
    wanted, kind = run.resources, _kind(run)
    if site.max_nodes is not None and wanted.nodes > site.max_nodes and kind != "shares":
        yield f"runs.{run.name}.resources.nodes = {wanted.nodes}: the site gives a job {site.max_nodes} at most"
    if site.gpus and wanted.gpus > site.gpus:
        yield f"runs.{run.name}.resources.gpus = {wanted.gpus}: a node of the site has {site.gpus}"
    if site.scheduler == "local" and wanted.nodes > 1 and kind not in {"shares", "whole"}:
        yield f"runs.{run.name}.resources.nodes = {wanted.nodes}: --site local is this machine alone"
    if kind == "whole" and wanted.nodes > 1:
        yield f"runs.{run.name}.resources.nodes = {wanted.nodes}: the job {run.job!r} runs on one node"
    if wanted.dask and kind != "dask":
        yield f"runs.{run.name}.resources.dask: the job {run.job!r} does not work on the workers of a Dask scheduler"
    elif wanted.dask and wanted.gpus:
        yield f"runs.{run.name}.resources: dask and gpus, but no worker of a Dask scheduler computes on a GPU"
    if wanted.tasks and kind != "shares":
        yield f"runs.{run.name}.resources.tasks = {wanted.tasks}: only shares of an array are tasks, not a {kind!r} job"


def _image(run: Run, images: Path, known: dict[Path, str], *, digest: bool) -> tuple[Path, str]:
    """Return the image of a run and its digest, which the manifest's must be."""
    name = run.image.name if run.image else JOBS[run.job].extra
    pinned = run.image.sha256 if run.image else None
    path = images / f"{name}.sif"
    if not path.is_file():
        if digest:
            raise InputError(f"{path}: no such image. Type `make images`, copy it there, or give --images FOLDER.")
        return path, pinned or ""
    if path not in known:
        known[path] = sha256_of_file(path)
    if pinned and pinned != known[path]:
        raise InputError(
            f"run {run.name!r} is pinned to the image {name!r} with sha256 {pinned}, but {path} has {known[path]}. "
            "Copy the pinned image there, or pin this one in the manifest."
        )
    return path, known[path]
