"""Lines of a dry run that all jobs share."""

from jobs.common.run import Run


def reads(run: Run) -> list[str]:
    """Return a line with the runs and files that a run reads."""
    names = [f"{source.name} ({role})" for role, source in run.inputs.items()]
    return [f"to read: {', '.join([*names, *map(str, run.files.values())])}"]
