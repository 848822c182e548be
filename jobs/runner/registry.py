"""The jobs that a manifest can name."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from jobs.common.config import JobConfig
from jobs.common.installation import how_to_install
from jobs.common.job import Input, Job
from lake.errors import InputError, TryAgainError

PACKAGES = (
    "jobs.spectrograms",
    "jobs.dino",
    "jobs.contrast",
    "jobs.adopt",
    "jobs.dictionary",
    "jobs.embed",
    "jobs.imports",
    "jobs.cluster",
    "jobs.learn",
    "jobs.detect",
    "jobs.count",
    "jobs.evaluate",
    "jobs.atlas",
)
"""Package of each job; its ``config`` module ends in ``JOB``, and must not import what only some images have."""


def declared(package: str) -> Job[JobConfig]:
    """Return what a package declares of its job."""
    job: Job[JobConfig] = import_module(f"{package}.config").JOB
    return job


JOBS = {job.name: job for job in map(declared, PACKAGES)}


def makers(given: Input) -> list[str]:
    """Return the names of the jobs whose runs may come in as an input."""
    found = [job.name for kind in given.kinds for job in JOBS.values() if job.gives == kind]
    return [name for name in found if not given.jobs or name in given.jobs]


ALL = "full"
"""The extra with all that the whole chain needs; no image has it."""
SIGNS_OF_LITTLE_MEMORY = ("cannot allocate memory", "failed to map segment", "out of memory")


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """Turn the lack of a package that only some images have into a message.

    Raises
    ------
    InputError
        If a package that is not ours cannot be imported.
    TryAgainError
        If there is too little memory to load it.
    """
    try:
        yield
    except (ImportError, OSError) as error:
        if any(sign in str(error).lower() for sign in SIGNS_OF_LITTLE_MEMORY):
            raise TryAgainError(
                f"{what} does not find the memory to load its libraries ({error}). Raise the limit (`ulimit -v`), or "
                "take a machine that has more; then type the same command again."
            ) from error
        if not isinstance(error, ModuleNotFoundError):
            raise
        package = (error.name or "").split(".")[0]
        if package in {"", "jobs", "lake"}:
            raise
        image = "" if extra == ALL else f", or use the image {extra!r}"
        raise InputError(
            f"{what} needs the package {package!r}, which is not installed here. Type `{how_to_install(extra)}`{image}."
        ) from error
