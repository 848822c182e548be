"""Executing the runs of a manifest: in order, skipping what is done, leaving receipts."""

import os
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from jobs.common.gpus import missing_gpus
from jobs.common.job import Option
from jobs.common.processes import ALONE, OWN, Place, opens_ports, place
from jobs.common.run import Options, Outcome, Run, is_replaceable
from jobs.common.terminal import complain
from jobs.runner.execution import execute_claimed, finalise_shares
from jobs.runner.explain import nearest
from jobs.runner.manifest import Manifest
from jobs.runner.registry import JOBS, needing
from jobs.runner.state import WAITS, State, follows, is_gone, pinned_state, require_inputs, waits_for_verdicts
from lake.batch_files import batch_names, damaged_batches
from lake.constants import COPIES
from lake.deliveries import damaged_deliveries, deliveries
from lake.errors import InputError, QuarantineError, StoreError, UsageError
from lake.identity import require_same
from lake.image import current_image
from lake.image import require_image as require_same_image
from lake.ledger import Ledger
from lake.older import older_of
from lake.receipts import latest_receipt
from lake.verify import compared, n_files
from lake.whole import require_grid

OPEN_PORTS = (
    "warning: torchrun listens on all interfaces without a key, and whoever reaches its ports can run programs as you; "
    "`dawnchorus run MANIFEST RUN --ranks N` starts N processes that listen on loopback alone"
)


def execute_runs(manifest: Manifest, names: Sequence[str], options: Options, say: Callable[[str], None]) -> None:
    """Execute all runs of a manifest in order, or those named.

    Parameters
    ----------
    manifest, names
        The manifest, and the runs to execute; if empty all, save those that wait for verdicts.
    options
        How.
    say
        Called with one line for each run.

    Raises
    ------
    InputError
        If the manifest has no such run, or a share is asked for of one that has no partitions.
    IdentityError
        If a run's name, or that of one of its inputs, is taken by another configuration.
    StoreError
        If an input is not done, or the output of a run is gone.
    QuarantineError
        After everything is done, if a run set aside more recordings than the manifest allows. Of a share
        it is not asked; finalising reports it.
    """
    runs, waiting = ready(manifest, names)
    if options.part is None and place(os.environ).rank == 0 and opens_ports(os.environ):
        say(OPEN_PORTS)
    options, here = launched(runs, options)
    too_many = []
    for run in runs:
        began = time.monotonic()
        state = settled(run, manifest.path, options)
        if state is not None:
            if here.rank == 0:
                say(f"{run.name}: {state.state}{': ' + state.detail if state.detail else ', nothing to do'}")
            continue
        if here.rank:  # process 0 holds the claim and leaves the receipt
            execute_run(run, options)
            continue
        _tell_gpus(run, options, say)
        outcome = execute_claimed(run, options)
        say(f"{run.name}: {_told(outcome, time.monotonic() - began, options)}")
        for remark in outcome.notes if outcome.did else ():
            say(f"{run.name}: note: {remark}")
        too_many += too_many_set_aside(run, outcome) if options.part is None else []
    if here.rank == 0:
        for run in waiting:
            say(f"{run.name}: {WAITS}")
    if too_many:
        raise QuarantineError("\n".join(too_many))


def require_followed(runs: Sequence[Run], asked: Sequence[Option]) -> None:
    """Refuse options that none of the runs can follow; a line on standard error names the runs that others do not bind.

    Raises
    ------
    UsageError
        With all such options.
    """
    refused = []
    for option in asked:
        others = [run for run in runs if option not in JOBS[run.job].options]
        told = ", ".join(f"{run.name} ({run.job})" for run in others)
        if runs and len(others) == len(runs):
            jobs = ", ".join(job.name for job in JOBS.values() if option in job.options)
            refused.append(f"--{option} does nothing for {told}: jobs that follow it are {jobs}. Leave it out.")
        elif others:
            complain(f"note: --{option} does nothing for {told}")
    if refused:
        raise UsageError("\n".join(refused))


def launched(runs: Sequence[Run], options: Options) -> tuple[Options, Place]:
    """Return how this process executes runs, and its place among those of its launcher.

    Raises
    ------
    InputError
        If a share is asked for of a run that has no partitions, or several processes of one that one makes.
    """
    here = ALONE if options.part is not None else place(os.environ)
    if options.part is not None:
        _require_partitions(runs)
    if here.n_ranks > 1 and takes_shares(runs, here):  # each takes its own; nobody waits for another
        options, here = replace(options, part=(here.rank, here.n_ranks)), ALONE
    return options, here


def settled(run: Run, manifest: Path, options: Options) -> State | None:
    """Return the state of a run that stays as it is, or ``None`` if it is to be executed.

    Raises
    ------
    IdentityError, InputError, StoreError
        If it cannot be executed: see :func:`execute_runs`.
    """
    require_inputs(run, manifest)
    require_own(run)
    state = pinned_state(run) if not options.refresh and (JOBS[run.job].is_pinned or run.stays) else None
    if state is not None and state.state == "stale" and follows(run):
        state = None
    if state is None:
        require_image(run)
    return state


def finalise_run(manifest: Manifest, name: str, say: Callable[[str], None]) -> None:
    """Make the output of a partitioned run readable after all its shares are done."""
    (run,) = chosen(manifest, [name])
    if "partition" not in JOBS[run.job].options:
        raise InputError(
            f"run {run.name!r} is a {run.job!r} run, which has no partitions; `dawnchorus run` finishes it by itself."
        )
    if run.ledger.record() is None:
        raise StoreError(f"run {name!r} has not begun; type `dawnchorus run {shlex.quote(str(manifest.path))} {name}`.")
    if settled(run, manifest.path, Options()) is not None:
        say(f"{name}: finalised already, nothing to do")
        return
    outcome = finalise_shares(run)
    say(f"{name}: {'finalised' if outcome.did else 'finalised already, nothing to do'}")
    too_many = too_many_set_aside(run, outcome)
    if too_many:
        raise QuarantineError("\n".join(too_many))


def verify_runs(manifest: Manifest, names: Sequence[str], say: Callable[[str], None]) -> None:
    """Compare the outputs of runs with their ledgers.

    Raises
    ------
    StoreError
        With one line for each file that differs, after all were compared.
    """
    wrong: list[str] = []
    for run in chosen(manifest, names):
        older = older_of(run.lake, run.kind, run.name) if run.kind == "clusters" else []
        for name in (run.name, *older):
            output, ledger = run.lake.output(run.kind, name), Ledger(run.lake.ledger(name))
            found, notes = compared(output, ledger, run.kind, run.lake.receipts(name))
            say(f"{name}: {n_files(ledger)} files in the ledger, {len(found)} of them differ")
            for note in notes:
                say(f"  {note}")
            wrong += found
    if not names:
        wrong += _verify_people(manifest, say)
    if wrong:
        raise StoreError(
            f"{len(wrong)} files are not what their ledgers say:\n" + "\n".join(f"  {line}" for line in wrong) + "\n"
            "Restore them from a copy; or remove the lines of damaged shards from the ledger (for files that are no "
            "shards, its commit.json or files.json), run again, and they are written again."
        )


def _verify_people(manifest: Manifest, say: Callable[[str], None]) -> list[str]:
    """Compare the deliveries of verdicts and the batches, if there are any, with their names."""
    found: list[str] = []
    for lake in {run.lake.storage.url: run.lake for run in manifest.runs.values()}.values():
        kinds = {
            "verdicts": (len(deliveries(lake)), "deliveries", damaged_deliveries),
            "batches": (len(batch_names(lake)), "batches", damaged_batches),
        }
        for kind, (n, what, damaged_of) in kinds.items():
            damaged = list(damaged_of(lake))
            if n or damaged:
                say(f"{kind}: {n} {what}, {len(damaged)} of them differ")
            found += damaged
    return found


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


def ready(manifest: Manifest, names: Sequence[str]) -> tuple[list[Run], list[Run]]:
    """Return the named runs and no others; or, without names, all that need no verdicts or have some, and the rest.

    Raises
    ------
    InputError
        If the manifest has no such run.
    """
    runs = chosen(manifest, names)
    waiting = [] if names else [run for run in runs if waits_for_verdicts(run)]
    return [run for run in runs if run not in waiting], waiting


def execute_run(run: Run, options: Options) -> Outcome:
    """Execute one resolved run whose inputs are done; the first of its processes leaves the receipt."""
    if place(os.environ).rank:
        with needing(f"run {run.name!r}", JOBS[run.job].extra):
            return JOBS[run.job].command().execute(run, options)
    return execute_claimed(run, options)


def _require_partitions(runs: Sequence[Run]) -> None:
    whole = [f"run {run.name!r} is a {run.job!r} run" for run in runs if "partition" not in JOBS[run.job].options]
    if whole:
        others = ", ".join(run.name for run in runs if "partition" in JOBS[run.job].options)
        advice = f"name those that have: {others}" if others else "leave out --partition"
        raise InputError(f"{', '.join(whole)}, which has no partitions; {advice}.")


def takes_shares(runs: Sequence[Run], here: Place) -> bool:
    """Return whether each process of a launcher takes a share of the runs; otherwise they work together on each.

    Raises
    ------
    InputError
        If there is a run that they can do neither with.
    """
    jobs = [JOBS[run.job] for run in runs]
    if all(job.processes == "share partitions" or (job.has_ranks and here.launcher == OWN) for job in jobs):
        return True
    alone = [f"run {run.name!r} is a {run.job!r} run" for run in runs if JOBS[run.job].processes != "train together"]
    if alone:
        others = ", ".join(run.name for run in runs if JOBS[run.job].processes == "train together")
        advice = f"name those that do: {others}" if others else "start it once, with --workers or --partition"
        raise InputError(
            f"{here.launcher} started this as one of {here.n_ranks} processes. {', '.join(alone)}, on which they do "
            f"not work together; {advice}."
        )
    return False


def require_own(run: Run) -> None:
    """Refuse a name of another configuration, a ledger whose output is gone, and one without its grid.

    Raises
    ------
    IdentityError, StoreError
    """
    stored = run.ledger.record() or latest_receipt(run.lake, run.name)
    if (
        stored is not None
        and stored.get("config_id", run.config_id) != run.config_id
        and not is_replaceable(run, stored)
    ):
        then = {**stored, "inputs": run.record["inputs"]} if "run" in stored else stored
        require_same(run.name, then, run.record, run.introduced)
    require_grid(run.output, run.ledger)
    if is_gone(run):
        raise StoreError(
            f"run {run.name!r} was finished, but its output {run.output.url} is gone. Restore it, or remove its "
            f"ledger {run.ledger.storage.url} as well to have it made again."
        )


def require_image(run: Run) -> None:
    """Refuse another container image than the one that the run is pinned to."""
    if run.image is not None and run.image.sha256 is not None:
        require_same_image(run.name, run.image.name, run.image.sha256, current_image())


def _tell_gpus(run: Run, options: Options, say: Callable[[str], None]) -> None:
    """Return a warning if the GPUs that a run asks for are missing; `--nv` gives none."""
    if run.resources.gpus and options.device != "cpu":
        for line in missing_gpus(run.resources.gpus):
            say(f"{run.name}: {line}")


def _told(outcome: Outcome, seconds: float, options: Options) -> str:
    if not outcome.did:
        return "done, nothing to do" if options.part is None else "this share is done, nothing to do"
    said = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in outcome.counts.items() if value)
    return f"{'done' if options.part is None else 'share done'} in {seconds:.1f} s" + (f" ({said})" if said else "")


def too_many_set_aside(run: Run, outcome: Outcome) -> list[str]:
    """Return the message that too many recordings were set aside, or nothing."""
    lost = {path: reason for path, reason in outcome.quarantined.items() if reason not in COPIES}
    if not outcome.n_recordings or len(lost) <= run.max_quarantined * outcome.n_recordings:
        return []
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(lost.values()).most_common())
    message = (
        f"run {run.name!r} finished, but {len(lost)} of {outcome.n_recordings} recordings were set aside ({reasons}); "
        f"max_quarantined = {run.max_quarantined:g} allows {run.max_quarantined:.0%}. See `problems` in the table of "
        "recordings; fix them, or raise max_quarantined in the manifest."
    )
    return [message]
