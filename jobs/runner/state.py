"""The state of a run: done, stale and why, partial, missing or damaged."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.common.run import Run, is_committed, is_replaceable
from jobs.runner.manifest import Manifest
from jobs.runner.registry import JOBS, needing
from lake.claims import live_claims
from lake.deliveries import deliveries
from lake.digest import sha256_of
from lake.errors import DawnchorusError, StoreError
from lake.identity import differences, require_same
from lake.names import names_digest
from lake.receipts import latest_receipt
from lake.run_records import UNFINISHED
from lake.whole import losses, require_grid

WAITS = "waits for verdicts; `dawnchorus review MANIFEST` asks for them"
DAMAGED = "damaged"
"""State of a run with a damaged record."""


@dataclass(frozen=True)
class State:
    """State of a run.

    Attributes
    ----------
    name, job
        The run.
    state
        ``done``, ``stale``, ``partial``, ``missing``, ``running``; ``different``: the name is taken by a run
        with another configuration; or ``damaged``: a record of it is, or it has lost one.
    detail
        Why, or how much.
    """

    name: str
    job: str
    state: str
    detail: str = ""


def states(manifest: Manifest) -> Iterator[State]:
    """Yield where each run of a manifest stands; a damaged one does not keep the others from being listed."""
    for run in manifest.runs.values():
        try:
            yield _state(run, manifest.path)
        except StoreError as error:
            yield State(run.name, run.job, DAMAGED, str(error))


def refuse_damaged(found: Iterable[State]) -> None:
    """Raise StoreError with the names of the runs whose records are damaged, if there are any."""
    damaged = [state.name for state in found if state.state == DAMAGED]
    if damaged:
        raise StoreError(f"damaged: {', '.join(damaged)}; see above. `dawnchorus verify MANIFEST` names all files.")


def _state(run: Run, manifest: Path) -> State:
    owners, stored = live_claims(run.ledger.storage), run.ledger.record()
    if owners:
        where = ", ".join(f"process {owner.get('pid')} on {owner.get('host')}" for owner in owners)
        return State(run.name, run.job, "running", where)
    _refuse_losses(run, manifest)
    if stored is None or is_replaceable(run, stored):
        return State(run.name, run.job, "missing", WAITS if waits_for_verdicts(run) else "")
    if stored["config_id"] != run.config_id:
        return State(run.name, run.job, "different", "; ".join(differences(stored, run.record, run.introduced)))
    if is_gone(run):
        return State(run.name, run.job, "missing", f"{run.output.url} is gone, its ledger is there")
    if not JOBS[run.job].is_pinned and not run.stays:
        return _extending_state(run, manifest)
    return pinned_state(run) or State(run.name, run.job, "partial", "begun, not finished")


def _refuse_losses(run: Run, manifest: Path) -> None:
    lost = lost_records(run)
    if lost:
        raise StoreError(f"{'; '.join(lost)}. {healed_by(run, manifest)}")
    require_grid(run.output, run.ledger)


def waits_for_verdicts(run: Run) -> bool:
    """Return whether a run that never went to its end reads verdicts, itself or through an input, and there are none.

    People bring verdicts once they have heard windows: until then the rest of a study is done without such a run.
    """
    needs_some = "verdicts" in JOBS[run.job].reads and not deliveries(run.lake)
    waits = needs_some or any(waits_for_verdicts(source) for source in run.inputs.values())
    return waits and finished(run) is None


def require_inputs(run: Run, manifest: Path) -> None:
    """Refuse to read a run that is not done, has another configuration, or has lost a record.

    Raises
    ------
    IdentityError, StoreError
        With the name of the input and the command that makes it.
    """
    for role, source in run.inputs.items():
        stored = source.ledger.record()
        if stored is not None and not is_replaceable(source, stored):
            require_same(source.name, stored, source.record, source.introduced)
        lost = lost_records(source)
        if lost:
            lines = "\n".join(f"  {line}" for line in lost)
            raise StoreError(
                f"run {run.name!r} reads {source.name!r} ({role}), whose records are damaged:\n{lines}\n"
                f"{healed_by(source, manifest)}"
            )
        require_grid(source.output, source.ledger)
        if finished(source) is None:
            raise StoreError(
                f"run {run.name!r} reads {source.name!r} ({role}), which is not done. "
                f"Type `dawnchorus run {shlex.quote(str(manifest))} {source.name}`."
            )


def finished(run: Run) -> dict[str, Any] | None:
    """Return the receipt of a run that went to its end and was not begun again since, or ``None``."""
    if run.ledger.record() is None or run.ledger.storage.exists(UNFINISHED):
        return None
    return latest_receipt(run.lake, run.name)


def lost_records(run: Run) -> list[str]:
    """Return one line for each record that a run that was finished once must have, and has lost; see `losses`."""
    if run.ledger.storage.exists(UNFINISHED) or not (run.output.exists("") or run.ledger.storage.list_keys()):
        return []
    receipt = latest_receipt(run.lake, run.name)
    return [] if receipt is None else losses(run.ledger, run.kind, receipt)


def healed_by(run: Run, manifest: Path) -> str:
    """Return what to do about a lost record."""
    line = f"dawnchorus run {shlex.quote(str(manifest))} {run.name}"
    return f"Restore it from a copy; or type `{line}`, which writes it again."


def is_gone(run: Run) -> bool:
    """Return whether a run was finished and its output is not there."""
    return finished(run) is not None and not run.output.exists("")


def _extending_state(run: Run, manifest: Path) -> State:
    receipt, is_readable = finished(run), is_committed(run)
    try:
        require_inputs(run, manifest)
        if receipt is not None and is_readable and _reads_the_same(run, receipt):
            return State(run.name, run.job, "done")  # no need for its plan, which takes the job's libraries
        with needing("to compare it with its input, status", JOBS[run.job].extra):
            done, total = JOBS[run.job].extending().progress_of(run)
    except DawnchorusError as error:
        return State(run.name, run.job, "done" if is_readable else "partial", str(error))
    if done < total:
        why = [] if receipt is None else _changes(run, receipt) if run.inputs else ["its recordings grew"]
        detail = ", ".join([f"{done} of {total} windows", *why])
        return State(run.name, run.job, "partial" if receipt is None else "stale", detail)
    if not is_readable:
        return State(run.name, run.job, "partial", f"{done} of {total} windows, not finalised")
    return State(run.name, run.job, "done")


def _reads_the_same(run: Run, receipt: Mapping[str, Any]) -> bool:
    """Return whether all that an extending run reads is known to be as it was when the receipt was written."""
    if not run.inputs:
        then = {"deployments_sha256": None, **receipt.get("recordings", {})}  # earlier receipts have no such digest
        if run.recordings is None or run.recordings.record != then:
            return False
    return receipt.get("config_id") == run.config_id and not _changes(run, receipt)


def follows(run: Run) -> bool:
    """Return whether a finished run grows, or is made again, when what it reads changed."""
    return not run.stays and (JOBS[run.job].extends or JOBS[run.job].is_remade)


def pinned_state(run: Run) -> State | None:
    """Return the state of a run that was finished once by its receipt, without a look at its output, or ``None``."""
    receipt = finished(run)
    if receipt is None or receipt.get("config_id") != run.config_id or lost_records(run):
        return None
    why = _changes(run, receipt)
    if why and JOBS[run.job].is_model and why == [change for change, grew in _changes_of_inputs(run, receipt) if grew]:
        kept = "it stays, so that vectors of all windows compare (--refresh makes it anew, and all vectors)"
        return State(run.name, run.job, "done", f"made before {', '.join(why)}; {kept}")
    if why:
        return State(run.name, run.job, "stale", f"{', '.join(why)}; {_what_next(run)}")
    return State(run.name, run.job, "done", str(receipt.get("advice", "")))


def _what_next(run: Run) -> str:
    """Return what becomes of a run that is stale."""
    if follows(run):
        return "`run` " + ("extends it" if JOBS[run.job].extends else "makes it again")
    if run.stays:
        return 'it stays as it is (refresh = "never")'
    return "it stays as it is (run it with --refresh, or under a new name)"


def _changes_of_inputs(run: Run, receipt: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield how each input that is another now has changed, and whether it only grew."""
    for role, source in run.inputs.items():
        now, then = finished(source), receipt.get("inputs", {}).get(role, {})
        if now is None:
            yield f"{source.name} is not done", False
        elif now.get("content_id") != then.get("content_id"):
            n = now.get("n_windows", 0) - (then.get("n_windows") or 0)
            yield f"{source.name} " + (f"grew by {n} window{'s'[: n - 1]}" if n > 0 else "was made again"), n > 0


def _changes(run: Run, receipt: Mapping[str, Any]) -> list[str]:
    """Return what is no longer as it was when the receipt was written."""
    why = [change for change, _ in _changes_of_inputs(run, receipt)]
    then_files = receipt.get("files_sha256") or {}
    why += [f"{run.files[key].name} changed" for key, now in files_sha256(run).items() if now != then_files.get(key)]
    if "labels" in JOBS[run.job].reads and labels_sha256(run) != receipt.get("labels_sha256"):
        why.append(f"{run.labels.name if run.labels else 'the table of labels'} changed")
    if "verdicts" in JOBS[run.job].reads:
        why += _new_deliveries(run, receipt)
    if "names_sha256" in receipt and names_digest(run.inputs["clusters"].output) != receipt["names_sha256"]:
        why.append("the names of the clusters changed")
    return why


def _new_deliveries(run: Run, receipt: Mapping[str, Any]) -> list[str]:
    """Return what deliveries of verdicts came, or went, since a receipt; a delivery is named after its bytes."""
    now, then = set(deliveries(run.lake)), set(receipt.get("deliveries", []))
    numbers = {"came": len(now - then), "are gone": len(then - now)}
    return [f"{n} deliveries of verdicts {what}" for what, n in numbers.items() if n]


def labels_sha256(run: Run) -> str | None:
    """Return the digest of the table of labels that a run reads, if there is one."""
    return sha256_of(run.labels) if run.labels is not None and run.labels.exists() else None


def files_sha256(run: Run) -> dict[str, str | None]:
    """Return the digest of each further file that a run reads."""
    return {key: sha256_of(path) if path.exists() else None for key, path in sorted(run.files.items())}
