"""Inputs that a manifest names by their place: finished outputs of another lake, or of another manifest."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs.common.config import stored_config
from jobs.common.run import Recordings, Run
from jobs.runner.registry import JOBS
from lake.chain import Made, made_by
from lake.errors import InputError, StoreError


def is_place(text: str) -> bool:
    """Return whether an input that is no run of the manifest is meant as a place: it has a slash, or ends in .zarr."""
    return "/" in text or text.endswith(".zarr")


def runs_at(places: Iterable[str], resolved: Callable[[str], str]) -> tuple[dict[str, Run], list[str]]:
    """Return the run whose output stands at each place, and what is wrong with the others.

    Parameters
    ----------
    places
        As the manifest has them: ``<lake>/<kind>/<run>[.zarr]``.
    resolved
        Makes a URL of one.
    """
    found: dict[str, Run] = {}
    problems = []
    for place in dict.fromkeys(places):
        try:
            found[place] = run_of_made(made_by(resolved(place)))
        except (InputError, StoreError) as error:
            problems.append(f"inputs: {place!r}: {error}")
    return found, problems


def run_of_made(made: Made) -> Run[Any]:
    """Return a run of a lake as its record and its last receipt describe it, with the runs that it read.

    Raises
    ------
    InputError
        If this version does not know its job or its settings.
    """
    job = JOBS.get(made.job)
    if job is None:
        raise InputError(f"{made.output.url}: of the job {made.job!r}, which this version does not have.")
    try:
        config = stored_config(job.config, made.record["config"])
    except ValidationError as error:
        raise InputError(f"{made.output.url}: this version does not know its settings ({error}).") from error
    tables = made.receipt.get("recordings")
    return Run(
        lake=made.lake, name=made.name, job=made.job, kind=job.writes, config=config,
        algorithm=made.record["algorithm"], config_id=made.record["config_id"],
        inputs={role: run_of_made(one) for role, one in made.inputs.items()},
        recordings=recordings_of(tables) if tables else None,
    )  # fmt: skip


def recordings_of(tables: dict[str, Any]) -> Recordings:
    """Return the recordings of a run as its receipt describes them."""
    first, last = tables["span_ms"]
    deployments = Path(tables["deployments"]) if tables["deployments"] else None
    return Recordings(Path(tables["table"]), Path(tables["root"]), deployments, (first, last))
