"""Executing the runs of a manifest: in order, skipping what is done, leaving receipts."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.common.gpus import missing_gpus
from jobs.common.processes import ALONE, Place, place
from jobs.common.run import Options, Outcome, Run, is_committed
from jobs.manifest import Manifest, nearest
from jobs.registry import JOBS, needing
from lake.claims import claim, live_claims
from lake.digest import sha256_of
from lake.errors import DawnchorusError, InputError, QuarantineError, StoreError
from lake.identity import differences, require_same
from lake.image import current_image, require_image
from lake.names import LOST
from lake.naming import names_digest
from lake.receipts import latest_receipt, write_receipt
from lake.verify import damages, n_files

NOT_LOST = "duplicate"
"""A recording that is there twice is set aside once; nothing is lost by it."""

UNFINISHED = "unfinished"
"""Stands in the ledger of a pinned run from before its output is touched until its receipt is written."""


@dataclass(frozen=True)
class State:
    """Where a run stands.

    Attributes
    ----------
    name, job
        The run.
    state
        ``done``, ``stale``, ``partial``, ``missing``, ``running``, or ``different``: the name is taken by a run
        with another configuration.
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
    InputError
        If the manifest has no such run, or a share is asked for of one that has no partitions.
    IdentityError
        If a run's name, or that of one of its inputs, is taken by another configuration.
    StoreError
        If an input is not done, or the output of a run is gone.
    QuarantineError
        After everything is done, if a run set aside more recordings than the manifest allows. Of a share
        it is not asked; finalising tells.
    """
    runs = chosen(manifest, names)
    here = ALONE if options.part is not None else place(os.environ)
    if options.part is not None:
        _require_partitions(runs)
    if here.n_ranks > 1 and all(JOBS[run.job].shares for run in runs):  # each takes its own; nobody waits for another
        options, here = replace(options, part=(here.rank, here.n_ranks)), ALONE
    if here.n_ranks > 1:
        _require_together(runs, here)
    too_many = []
    for run in runs:
        began = time.monotonic()
        _require_inputs(run, manifest.path)
        _require_own(run)
        state = None if JOBS[run.job].extends or options.refresh else _pinned_state(run)
        if state is not None:
            say(f"{run.name}: {state.state}{': ' + state.detail if state.detail else ', nothing to do'}")
            continue
        _require_image(run)
        if here.rank:  # process 0 holds the claim and leaves the receipt
            execute_run(run, options)
            continue
        _tell_gpus(run, options, say)
        run.ledger.open_run(run.name, run.record)
        outcome = _execute(run, options)
        say(f"{run.name}: {_told(outcome, time.monotonic() - began, options)}")
        too_many += _quarantine(run, outcome) if options.part is None else []
    if too_many:
        raise QuarantineError("\n".join(too_many))


def finalise_run(manifest: Manifest, name: str, say: Callable[[str], None]) -> None:
    """Make the output of a partitioned run readable after all its shares are done."""
    (run,) = chosen(manifest, [name])
    entry = JOBS[run.job]
    if not entry.extends:
        raise InputError(
            f"run {run.name!r} is a {run.job!r} run, which has no partitions; `dawnchorus run` finishes it by itself."
        )
    if run.ledger.record() is None:
        raise StoreError(f"run {name!r} has not begun; type `dawnchorus run {manifest.path} {name}`.")
    _require_inputs(run, manifest.path)
    _require_own(run)
    _require_image(run)
    began, made_of = time.monotonic(), _made_of(run)
    with needing(f"run {name!r}", entry.extra):
        outcome = _with_lost(run, entry.command().finalise(run))
    if outcome.did:
        _leave_receipt(run, outcome, None, time.monotonic() - began, made_of)
    say(f"{name}: {'finalised' if outcome.did else 'finalised already, nothing to do'}")
    too_many = _quarantine(run, outcome)
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
        found = list(damages(run.output, run.ledger, run.kind))
        say(f"{run.name}: {n_files(run.ledger)} files in the ledger, {len(found)} of them differ")
        wrong += found
    if wrong:
        raise StoreError(
            f"{len(wrong)} files are not what their ledgers say:\n" + "\n".join(f"  {line}" for line in wrong) + "\n"
            "Restore them from a copy; or remove their lines from the ledger (for files that are no shards, its "
            "commit.json), run again, and they are written again."
        )


def states(manifest: Manifest) -> Iterator[State]:
    """Yield where each run of a manifest stands."""
    for run in manifest.runs.values():
        owners = live_claims(run.ledger.storage)
        stored = run.ledger.record()
        if owners:
            where = ", ".join(f"process {owner.get('pid')} on {owner.get('host')}" for owner in owners)
            yield State(run.name, run.job, "running", where)
        elif stored is None:
            yield State(run.name, run.job, "missing")
        elif stored["config_id"] != run.config_id:
            yield State(run.name, run.job, "different", "; ".join(differences(stored, run.record)))
        elif _is_gone(run):
            yield State(run.name, run.job, "missing", f"{run.output.url} is gone, its ledger is there")
        elif JOBS[run.job].extends:
            yield _extending_state(run, manifest.path)
        else:
            yield _pinned_state(run) or State(run.name, run.job, "partial", "begun, not finished")


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


def execute_run(run: Run, options: Options) -> Outcome:
    """Execute one resolved run whose inputs are done; the first of its processes leaves the receipt."""
    if place(os.environ).rank:
        with needing(f"run {run.name!r}", JOBS[run.job].extra):
            outcome: Outcome = JOBS[run.job].command().execute(run, options)
        return outcome
    run.ledger.open_run(run.name, run.record)
    return _execute(run, options)


def _execute(run: Run, options: Options) -> Outcome:
    began, made_of = time.monotonic(), _made_of(run)
    entry = JOBS[run.job]
    with needing(f"run {run.name!r}", entry.extra):
        command: Any = entry.command()
        if entry.extends:
            outcome = _with_lost(run, command.execute(run, options))  # holds the claim itself, once it has planned
            if outcome.did:
                _leave_receipt(run, outcome, options.part, time.monotonic() - began, made_of)
            return outcome
        with claim(run.ledger.storage, run.name, (0, 1), run.config_id) as held:
            run = replace(run, held=held)
            run.output.remove_unfinished()
            run.ledger.storage.write(UNFINISHED, b"")
            result: Outcome = command.execute(run, options)
            held.require()
            _leave_receipt(run, result, None, time.monotonic() - began, made_of)
            run.ledger.storage.remove(UNFINISHED)
        return result


def _with_lost(run: Run, outcome: Outcome) -> Outcome:
    """Add to what was set aside the recordings that decoders hung or died of, in this share or another."""
    entries = run.ledger.written().values()
    lost = {path: problem for entry in entries for path, problem in entry.problems.items() if problem in LOST}
    return replace(outcome, quarantined={**outcome.quarantined, **lost})


def _made_of(run: Run) -> dict[str, Any]:
    """Return what a receipt says of a run's inputs; taken before they are read, so that growth meanwhile shows."""
    inputs = {}
    for role, source in run.inputs.items():
        receipt = latest_receipt(source.lake, source.name) or {}
        inputs[role] = {
            "run": source.name,
            **{key: receipt.get(key) for key in ("config_id", "content_id", "n_windows")},
        }
    told: dict[str, Any] = {"inputs": inputs}
    if JOBS[run.job].labels:
        told |= {"labels": str(run.labels) if run.labels else None, "labels_sha256": _labels_sha256(run)}
    if JOBS[run.job].names:
        told["names_sha256"] = names_digest(run.inputs["clusters"].output)
    if run.files:
        told |= {"files": {key: str(path) for key, path in run.files.items()}, "files_sha256": _files_sha256(run)}
    if not run.inputs and run.recordings is not None:
        told["recordings"] = run.recordings.record
    return told


def _labels_sha256(run: Run) -> str | None:
    return sha256_of(run.labels) if run.labels is not None and run.labels.exists() else None


def _files_sha256(run: Run) -> dict[str, str | None]:
    return {key: sha256_of(path) if path.exists() else None for key, path in sorted(run.files.items())}


def _leave_receipt(
    run: Run, outcome: Outcome, part: tuple[int, int] | None, seconds: float, made_of: Mapping[str, Any]
) -> None:
    facts = {
        **run.record, **made_of, **run.ledger.summary(), "state": "done" if part is None else "share",
        "counts": dict(outcome.counts), "quarantined": dict(Counter(outcome.quarantined.values())),
        "set_aside": dict(outcome.quarantined), "n_recordings": outcome.n_recordings, "backend": outcome.backend,
        "seconds": round(seconds, 3), "seed": run.record["config"].get("seed"),
    }  # fmt: skip
    if JOBS[run.job].together:
        facts["n_processes"] = place(os.environ).n_ranks
    write_receipt(run.lake, run.name, part or (0, 1), facts)


def _finished(run: Run) -> dict[str, Any] | None:
    """Return the receipt of a run that went to its end and was not begun again since, or ``None``."""
    if run.ledger.record() is None or run.ledger.storage.exists(UNFINISHED):
        return None
    return latest_receipt(run.lake, run.name)


def _is_gone(run: Run) -> bool:
    return _finished(run) is not None and not run.output.exists("")


def _require_partitions(runs: Sequence[Run]) -> None:
    whole = [f"run {run.name!r} is a {run.job!r} run" for run in runs if not JOBS[run.job].extends]
    if whole:
        others = ", ".join(run.name for run in runs if JOBS[run.job].extends)
        advice = f"name those that have: {others}" if others else "leave out --partition"
        raise InputError(f"{', '.join(whole)}, which has no partitions; {advice}.")


def _require_together(runs: Sequence[Run], here: Place) -> None:
    alone = [f"run {run.name!r} is a {run.job!r} run" for run in runs if not JOBS[run.job].together]
    if alone:
        others = ", ".join(run.name for run in runs if JOBS[run.job].together)
        advice = f"name those that do: {others}" if others else "start it once, with --workers or --partition"
        raise InputError(
            f"{here.launcher} started this as one of {here.n_ranks} processes. {', '.join(alone)}, on which they do "
            f"not work together; {advice}."
        )


def _require_inputs(run: Run, manifest: Path) -> None:
    for role, source in run.inputs.items():
        stored = source.ledger.record()
        if stored is not None:
            require_same(source.name, stored, source.record)
        if _finished(source) is None:
            raise StoreError(
                f"run {run.name!r} reads {source.name!r} ({role}), which is not done. "
                f"Type `dawnchorus run {manifest} {source.name}`."
            )


def _require_own(run: Run) -> None:
    """Refuse a name that is taken by another configuration, and a ledger without the output that it lists."""
    stored = run.ledger.record()
    if stored is not None:
        require_same(run.name, stored, run.record)
    if _is_gone(run):
        raise StoreError(
            f"run {run.name!r} was finished, but its output {run.output.url} is gone. Restore it, or remove its "
            f"ledger {run.ledger.storage.url} as well to have it made again."
        )


def _require_image(run: Run) -> None:
    if run.image is not None and run.image.sha256 is not None:
        require_image(run.name, run.image.name, run.image.sha256, current_image())


def _tell_gpus(run: Run, options: Options, say: Callable[[str], None]) -> None:
    """Say where the GPUs that a run asks for are not there; `--nv` does not."""
    if run.resources.gpus and options.device != "cpu":
        for line in missing_gpus(run.resources.gpus):
            say(f"{run.name}: {line}")


def _extending_state(run: Run, manifest: Path) -> State:
    receipt, is_readable = _finished(run), is_committed(run)
    try:
        _require_inputs(run, manifest)
        with needing("to compare it with its input, status", JOBS[run.job].extra):
            done, total = JOBS[run.job].command().progress_of(run)
    except DawnchorusError as error:
        return State(run.name, run.job, "done" if is_readable else "partial", str(error))
    if done < total:
        why = [] if receipt is None else _changes(run, receipt) if run.inputs else ["its recordings grew"]
        detail = ", ".join([f"{done} of {total} windows", *why])
        return State(run.name, run.job, "partial" if receipt is None else "stale", detail)
    if not is_readable:
        return State(run.name, run.job, "partial", f"{done} of {total} windows, not finalised")
    return State(run.name, run.job, "done")


def _pinned_state(run: Run) -> State | None:
    """Return the state of a pinned run that was finished once, or ``None``."""
    receipt = _finished(run)
    if receipt is None or receipt.get("config_id") != run.config_id:
        return None
    why = _changes(run, receipt)
    if why:
        advice = "it stays as it is (run it with --refresh, or under a new name)"
        return State(run.name, run.job, "stale", f"{', '.join(why)}; {advice}")
    return State(run.name, run.job, "done")


def _changes(run: Run, receipt: Mapping[str, Any]) -> list[str]:
    """Return what is no longer as it was when the receipt was written."""
    why = []
    for role, source in run.inputs.items():
        now, then = _finished(source), receipt["inputs"].get(role, {})
        if now is None:
            why.append(f"{source.name} is not done")
        elif now["content_id"] != then.get("content_id"):
            n = now["n_windows"] - (then.get("n_windows") or 0)
            why.append(f"{source.name} " + (f"grew by {n} window{'s'[: n - 1]}" if n > 0 else "was made again"))
    then_files = receipt.get("files_sha256") or {}
    why += [f"{run.files[key].name} changed" for key, now in _files_sha256(run).items() if now != then_files.get(key)]
    if JOBS[run.job].labels and _labels_sha256(run) != receipt.get("labels_sha256"):
        why.append(f"{run.labels.name if run.labels else 'the table of labels'} changed")
    if "names_sha256" in receipt and names_digest(run.inputs["clusters"].output) != receipt["names_sha256"]:
        why.append("the names of the clusters changed")
    return why


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
