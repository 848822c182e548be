"""Saying what the runs of a manifest would do, without writing anything."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from jobs.common.run import C, Options, Outcome, Run
from jobs.runner.execute import launched, ready, require_image, require_own, settled, too_many_set_aside
from jobs.runner.manifest import Manifest
from jobs.runner.registry import JOBS, needing
from jobs.runner.state import WAITS, State, states
from lake.claims import require_free
from lake.errors import QuarantineError


class _Begins(BaseException):
    """Raised in place of the first write of a run; carries what is known of its outcome."""

    def __init__(self, expected: Outcome) -> None:
        super().__init__()
        self.expected = expected


def describe_runs(manifest: Manifest, names: Sequence[str], options: Options, say: Callable[[str], None]) -> None:
    """Return what `run` would do with all runs of a manifest, or with those named; nothing is written.

    Each run whose inputs are done is executed up to its first write: what `run` would refuse is refused here, with
    the same error. Of runs that wait for another one, settings and image alone are checked. The job
    describes what is to be written, in how many files, and what disk and memory it takes.

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
        Whatever `run` would refuse before it begins; and :class:`QuarantineError` at the end, where recordings that
        are set aside already are more than allowed.
    """
    runs, waiting = ready(manifest, names)
    options, _ = launched(runs, options)
    found = {state.name: state for state in states(manifest)}
    coming: set[str] = set()
    too_many: list[str] = []
    for run in runs:
        say(f"{run.name}: {run.job}, {_told(found[run.name])}")
        waits_for = [source.name for source in run.inputs.values() if source.name in coming]
        if waits_for:
            require_own(run)
            require_image(run)
            say(f"  after {', '.join(waits_for)}")
        elif settled(run, manifest.path, options) is not None:
            continue
        else:
            for line in _lines(run, found[run.name], options):
                say(f"  {line}")
            if found[run.name].state == "damaged":
                run.ledger.summary()  # `run` reads all of it at its end
            outcome = _expected(run, options)
            too_many += too_many_set_aside(run, outcome) if options.part is None else []
        if found[run.name].state not in {"done", "stale"}:
            coming.add(run.name)
    for run in waiting:
        say(f"{run.name}: {run.job}, {WAITS}")
    if too_many:
        raise QuarantineError("\n".join(too_many))


def _lines(run: Run, state: State, options: Options) -> Iterator[str]:
    with needing(f"run {run.name!r}", JOBS[run.job].extra):
        command = JOBS[run.job].command()
        if state.state not in {"done", "running"}:
            yield from command.describe(run, options)


def _expected(run: Run, options: Options) -> Outcome:
    """Execute a run up to its first write; return what is known of its outcome then."""

    def begin(_run: Run[C], expected: Outcome, /) -> Run[C]:
        require_free(run.ledger.storage, run.name, options.part or (0, 1))
        raise _Begins(expected)

    try:
        with needing(f"run {run.name!r}", JOBS[run.job].extra):
            outcome = JOBS[run.job].command().execute(run, replace(options, begin=begin))
    except _Begins as begins:
        return begins.expected
    return outcome


def _told(state: State) -> str:
    return f"{state.state}: {state.detail}" if state.detail else state.state
