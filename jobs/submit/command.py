"""Writing the scripts of a submission and handing them over."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.common.launch import run_child
from jobs.runner.execute import ready
from jobs.runner.manifest import Manifest
from jobs.runner.state import WAITS
from jobs.submit.plan import Step, folders, plan
from jobs.submit.profile import Site
from jobs.submit.schedulers import SCHEDULERS, submit_script
from jobs.submit.scripts import Place, script
from lake.errors import InputError, TryAgainError
from lake.outputs import write_outputs


@dataclass(frozen=True)
class Where:
    """Folders of a submission: the images, and where the scripts and logs go."""

    images: Path
    out: Path


def submit(
    manifest: Manifest,
    names: Sequence[str],
    site: Site,
    where: Where,
    say: Callable[[str], None],
    *,
    dry_run: bool,
    force: bool = False,
) -> list[Step]:
    """Write the scripts of runs and hand them to the scheduler; return the steps.

    Parameters
    ----------
    manifest, names
        The manifest, and the runs to execute; all if empty.
    site, where
        Where they are to run.
    say
        Called with one line for each step, then with what the scheduler answers.
    dry_run
        Write the scripts alone; images need not be there.
    force
        Replace scripts that somebody changed.

    Raises
    ------
    UsageError
        If files stand in the folder that no submission wrote, or somebody changed.
    InputError
        If the plan does not fit the site, an image is not there, or the scheduler's commands are not.
    TryAgainError
        If the scheduler refuses a job.
    """
    runs, waiting = ready(manifest, names)
    for run in waiting:
        say(f"{run.name}: {WAITS}")
    steps = plan(manifest, runs, site, where.images, digest=not dry_run)
    command = SCHEDULERS[site.scheduler].command
    if not dry_run and shutil.which(command) is None:
        raise InputError(
            f"{command} is not on the PATH: this is no login node of a {site.scheduler} cluster. "
            "Choose another --site, or write the scripts with --dry-run and run submit.sh there."
        )
    for run in runs:
        if run.lake.storage.is_local:
            Path(run.lake.storage.url).mkdir(parents=True, exist_ok=True)  # a folder must be there to be bound
    out = where.out.resolve()
    write_scripts(steps, Place(out, manifest.path.resolve(), folders(manifest, runs, site), site), force=force)
    for step in steps:
        say(told(step))
    if dry_run:
        absent = sorted({str(step.image) for step in steps if not step.image.exists()})
        if absent:
            say(f"no such images: {', '.join(absent)}. Type `make images`, copy them there, or give --images FOLDER")
        say(f"{out}: scripts written, nothing queued; `bash {out / 'submit.sh'}` queues them")
        return steps
    code = run_child(["bash", str(out / "submit.sh")])
    if code:
        raise TryAgainError(
            f"{out / 'submit.sh'} ended with exit code {code}: the scheduler did not take all jobs, "
            f"or one of them failed. {out / 'jobs.txt'} lists those before it; fix the cause and submit again."
        )
    return steps


def write_scripts(steps: Sequence[Step], place: Place, *, force: bool = False) -> None:
    """Write one script for each step, and ``submit.sh``."""
    texts = {f"{step.name}.sh": script(step, place) for step in steps}
    texts["submit.sh"] = submit_script(steps, SCHEDULERS[place.site.scheduler])
    write_outputs(place.folder, {name: text.encode() for name, text in texts.items()}, force=force)
    for name in texts:
        (place.folder / name).chmod(0o755)


def told(step: Step) -> str:
    """Return a step's line."""
    what = {
        "whole": f"{step.processes} workers", "finalise": "makes the shares readable",
        "shares": f"{step.tasks} tasks of {step.processes} workers",
        "dask": f"a Dask cluster of {step.nodes} × {step.processes} workers",
        "train": f"{step.nodes} × {step.processes} processes that train together",
        "spread": f"a share on each of {step.nodes} × {step.processes} GPUs",
    }[step.kind]  # fmt: skip
    after = f", after {', '.join(step.needs)}" if step.needs else ""
    more = f", {step.attempts} jobs in turn" if step.attempts > 1 else ""
    return f"{step.name}: {what}, {step.hours:g} h{more}, {step.image.name}{after}"
