"""Executing the runs of a manifest: in order, skipping what is done, leaving receipts."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.common.run import Options, Outcome, Run
from jobs.manifest import Manifest, nearest
from jobs.registry import JOBS, JobEntry
from lake.claims import claim, live_claims
from lake.errors import InputError, QuarantineError, StoreError
from lake.identity import require_same
from lake.receipts import latest_receipt, write_receipt

NOT_LOST = "duplicate"
"""A recording that is there twice is set aside once; nothing is lost by it."""


@dataclass(frozen=True)
class State:
    """Where a run stands.

    Attributes
    ----------
    name, job
        The run.
    state
        ``done``, ``stale``, ``partial``, ``missing`` or ``running``.
    detail
        Why, or how much.
    """

    name: str
    job: str
    state: str
    detail: str = ""


def execute_runs(manifest: Manifest, names: Sequence[str], options: Options, say: Callable[[str], None]) -> None:
    """Execute all runs of a manifest in order, or those named.

    Parameters
    ----------
    manifest, names
        The manifest, and the runs to execute; all if empty.
    options
        How.
    say
        Called with one line for each run.

    Raises
    ------
    QuarantineError
        After everything is done, if a run set aside more recordings than the manifest allows.
    """
    too_many = []
    for run in chosen(manifest, names):
        began = time.monotonic()
        _require_inputs(run)
        entry = JOBS[run.job]
        stored = run.ledger.record()
        if stored is not None:
            require_same(run.name, stored, run.record)
        state = None if entry.extends else _pinned_state(run)
        if state is not None and not options.refresh:
            say(f"{run.name}: {state.state}{': ' + state.detail if state.detail else ', nothing to do'}")
            continue
        run.ledger.open_run(run.name, run.record)
        outcome = _execute(run, entry, options)
        if outcome.did:
            leave_receipt(run, outcome, options.part, time.monotonic() - began)
        say(f"{run.name}: {_told(outcome, time.monotonic() - began, options)}")
        too_many += _quarantine(run, outcome)
    if too_many:
        raise QuarantineError("\n".join(too_many))


def finalise_run(manifest: Manifest, name: str, say: Callable[[str], None]) -> None:
    """Make the output of a partitioned run readable after all its shares are done."""
    (run,) = chosen(manifest, [name])
    entry = JOBS[run.job]
    if not entry.extends:
        raise InputError(
            f"run {name!r} is a {run.job!r} run, which has no partitions; `dawnchorus run` finishes it by itself."
        )
    if run.ledger.record() is None:
        raise StoreError(f"run {name!r} has not begun; type `dawnchorus run {manifest.path} {name}`.")
    require_same(name, run.ledger.record() or {}, run.record)
    began = time.monotonic()
    outcome: Outcome = entry.command().finalise(run)
    if outcome.did:
        leave_receipt(run, outcome, None, time.monotonic() - began)
    say(f"{name}: {'finalised' if outcome.did else 'finalised already, nothing to do'}")


def states(manifest: Manifest) -> Iterator[State]:
    """Yield where each run of a manifest stands."""
    for run in manifest.runs.values():
        owners = live_claims(run.ledger.storage)
        if owners:
            where = ", ".join(f"process {owner.get('pid')} on {owner.get('host')}" for owner in owners)
            yield State(run.name, run.job, "running", where)
        elif run.ledger.record() is None:
            yield State(run.name, run.job, "missing")
        elif JOBS[run.job].extends:
            yield _extending_state(run)
        else:
            yield _pinned_state(run) or State(run.name, run.job, "missing", "begun, not finished")


def chosen(manifest: Manifest, names: Sequence[str]) -> list[Run]:
    """Return the named runs in the manifest's order, or all.

    Raises
    ------
    InputError
        If the manifest has no such run.
    """
    unknown = [name for name in names if name not in manifest.runs]
    if unknown:
        raise InputError(f"{manifest.path} has no run {unknown[0]!r}{nearest(unknown[0], manifest.runs)}")
    return [run for name, run in manifest.runs.items() if not names or name in names]


def leave_receipt(run: Run, outcome: Outcome, part: tuple[int, int] | None, seconds: float) -> None:
    """Write the receipt of an execution."""
    inputs = {}
    for role, source in run.inputs.items():
        receipt = latest_receipt(run.lake, source.name) or {}
        inputs[role] = {
            "run": source.name,
            **{key: receipt.get(key) for key in ("config_id", "content_id", "n_windows")},
        }
    facts = {
        **run.record, "inputs": inputs, **run.ledger.summary(), "state": "done" if part is None else "share",
        "counts": dict(outcome.counts), "quarantined": dict(Counter(outcome.quarantined.values())),
        "set_aside": dict(outcome.quarantined), "n_recordings": outcome.n_recordings, "backend": outcome.backend,
        "seconds": round(seconds, 3), "seed": run.record["config"].get("seed"),
    }  # fmt: skip
    write_receipt(run.lake, run.name, part or (0, 1), facts)


def _execute(run: Run, entry: JobEntry, options: Options) -> Outcome:
    command: Any = entry.command()
    if entry.extends:
        outcome: Outcome = command.execute(run, options)  # holds the claim itself, once it has planned
        return outcome
    if options.part is not None:
        raise InputError(f"run {run.name!r} is a {run.job!r} run, which has no partitions; leave out --partition.")
    with claim(run.ledger.storage, run.name, (0, 1), run.config_id):
        result: Outcome = command.execute(run, options)
    return result


def _require_inputs(run: Run) -> None:
    for role, source in run.inputs.items():
        if latest_receipt(run.lake, source.name) is None:
            raise StoreError(
                f"run {run.name!r} reads {source.name!r} ({role}), which is not done. "
                f"Type `dawnchorus run MANIFEST {source.name}`."
            )


def _extending_state(run: Run) -> State:
    try:
        _require_inputs(run)
    except StoreError as error:
        return State(run.name, run.job, "missing", str(error))
    done, total = JOBS[run.job].command().progress_of(run)
    receipt = latest_receipt(run.lake, run.name)
    if done < total:
        state = "stale" if receipt else "partial"
        return State(run.name, run.job, state, f"{done} of {total} windows" + (", its input grew" if receipt else ""))
    return (
        State(run.name, run.job, "done")
        if receipt
        else State(run.name, run.job, "partial", f"{done} of {total} windows, not finalised")
    )


def _pinned_state(run: Run) -> State | None:
    """Return the state of a pinned run that was finished once, or ``None``."""
    receipt = latest_receipt(run.lake, run.name)
    if receipt is None or receipt["config_id"] != run.config_id:
        return None
    why = []
    for role, source in run.inputs.items():
        now, then = latest_receipt(run.lake, source.name) or {}, receipt["inputs"].get(role, {})
        if now.get("content_id") != then.get("content_id"):
            grown = (now.get("n_windows") or 0) - (then.get("n_windows") or 0)
            why.append(f"{source.name} grew by {grown} windows" if grown > 0 else f"{source.name} was made again")
    if why:
        return State(
            run.name,
            run.job,
            "stale",
            ", ".join(why) + "; it stays as it is (run it with --refresh, or under a new name)",
        )
    return State(run.name, run.job, "done")


def _told(outcome: Outcome, seconds: float, options: Options) -> str:
    if not outcome.did:
        return "done, nothing to do" if options.part is None else "this share is done, nothing to do"
    said = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in outcome.counts.items() if value)
    return f"{'done' if options.part is None else 'share done'} in {seconds:.1f} s" + (f" ({said})" if said else "")


def _quarantine(run: Run, outcome: Outcome) -> list[str]:
    lost = {path: reason for path, reason in outcome.quarantined.items() if reason != NOT_LOST}
    if not outcome.n_recordings or len(lost) <= run.max_quarantined * outcome.n_recordings:
        return []
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(lost.values()).most_common())
    message = (
        f"run {run.name!r} finished, but {len(lost)} of {outcome.n_recordings} recordings were set aside ({reasons}); "
        f"max_quarantined = {run.max_quarantined:g} allows {run.max_quarantined:.0%}. See `problems` in the table of "
        "recordings; mend them, or raise max_quarantined in the manifest."
    )
    return [message]
