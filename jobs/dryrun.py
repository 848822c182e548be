"""What the runs of a manifest would do, told without writing anything."""

from collections.abc import Callable, Sequence
from typing import Any

from jobs.common.run import Options, Run
from jobs.manifest import Manifest
from jobs.registry import JOBS, needing
from jobs.runner import chosen
from jobs.state import State, refuse_damaged, states


def describe_runs(manifest: Manifest, names: Sequence[str], options: Options, say: Callable[[str], None]) -> None:
    """Say of all runs of a manifest, or of those named, what `run` would do; nothing is written.

    A job's command module may have a function ``describe(run, options)`` that returns lines: what is to be written,
    in how many files, and what disk and memory it takes. It is asked once the run's inputs are done; of other jobs
    and runs only the state is told.

    Parameters
    ----------
    manifest, names
        The manifest, and the runs; all if empty.
    options
        How they would be executed.
    say
        Called with each line.

    Raises
    ------
    DawnchorusError
        Whatever `run` would refuse before it begins.
    """
    found = {state.name: state for state in states(manifest)}
    runs = chosen(manifest, names)
    for run in runs:
        state = found[run.name]
        say(f"{run.name}: {run.job}, {_told(state)}")
        for line in _lines(run, state, found, options):
            say(f"  {line}")
    refuse_damaged(found[name] for run in runs for name in (run.name, *(source.name for source in run.inputs.values())))


def _lines(run: Run, state: State, found: dict[str, State], options: Options) -> list[str]:
    waits_for = [source.name for source in run.inputs.values() if found[source.name].state not in {"done", "stale"}]
    if waits_for:
        return [f"after {', '.join(waits_for)}"]
    if state.state in {"done", "different", "running", "damaged"}:
        return []
    entry = JOBS[run.job]
    with needing(f"run {run.name!r}", entry.extra):
        command: Any = entry.command()
    return list(command.describe(run, options)) if hasattr(command, "describe") else []


def _told(state: State) -> str:
    return f"{state.state}: {state.detail}" if state.detail else state.state
