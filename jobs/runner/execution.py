"""Executing one run: its claim, its record, its work, its receipt."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from jobs.common.processes import place
from jobs.common.run import C, Options, Outcome, Run, is_replaceable
from jobs.runner.registry import JOBS, needing
from jobs.runner.state import files_sha256, labels_sha256
from lake.claims import Claim, claim, require_free
from lake.constants import LOST
from lake.deliveries import deliveries
from lake.names import names_digest
from lake.receipts import latest_receipt, write_receipt
from lake.run_records import GRID_RECORD, RUN_RECORD, UNFINISHED


def execute_claimed(run: Run, options: Options) -> Outcome:
    """Execute a run under its claim, and leave its receipt."""
    began, made_of = time.monotonic(), _made_of(run)
    job = JOBS[run.job]
    require_free(run.ledger.storage, run.name, options.part or (0, 1))  # known before anything is read
    with needing(f"run {run.name!r}", job.extra), _beginning(run, options) as options_here:
        outcome = job.command().execute(run, options_here)
        if job.extends:
            outcome = _with_lost(run, outcome)
        if outcome.did:
            run = options_here.begin(run, outcome)
            _leave_receipt(run, outcome, options.part, time.monotonic() - began, made_of)
            if options.part is None:
                run.ledger.storage.remove(UNFINISHED)
    return outcome


def finalise_shares(run: Run) -> Outcome:
    """Make the output of a run readable after its shares are done, and leave its receipt."""
    began, made_of = time.monotonic(), _made_of(run)
    with needing(f"run {run.name!r}", JOBS[run.job].extra), _beginning(run, Options()) as options:
        outcome = _with_lost(run, JOBS[run.job].sharing().finalise(run, options))
        if outcome.did:
            _leave_receipt(options.begin(run, outcome), outcome, None, time.monotonic() - began, made_of)
            run.ledger.storage.remove(UNFINISHED)
    return outcome


@contextmanager
def _beginning(run: Run, options: Options) -> Iterator[Options]:
    """Yield options whose ``begin`` claims the run, until the block ends, and stores its record."""
    with ExitStack() as held:
        claimed: Claim | None = None

        def begin(wanted: Run[C], _expected: Outcome, /) -> Run[C]:
            nonlocal claimed
            if claimed is None:
                part = options.part or (0, 1)
                claimed = held.enter_context(claim(run.ledger.storage, run.name, part, run.config_id))
                _store_record(replace(run, held=claimed), options)
            return replace(wanted, held=claimed)

        yield replace(options, begin=begin)


def _store_record(run: Run, options: Options) -> None:
    stored = run.ledger.record()
    if stored is not None and is_replaceable(run, stored):
        run.ledger.remove_checkpoints()
        for key in (GRID_RECORD, RUN_RECORD):
            run.ledger.storage.remove(key)
    run.ledger.open_run(run.name, run.record)
    if options.refresh or not JOBS[run.job].extends:
        if options.part is None:  # other shares may be writing
            run.output.remove_unfinished()
        run.ledger.storage.write(UNFINISHED, b"")


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
            **({} if source.lake.storage.url == run.lake.storage.url else {"lake": source.lake.storage.url}),
            **{key: receipt.get(key) for key in ("config_id", "content_id", "n_windows")},
        }
    told: dict[str, Any] = {"inputs": inputs}
    if "labels" in JOBS[run.job].reads:
        told |= {"labels": str(run.labels) if run.labels else None, "labels_sha256": labels_sha256(run)}
    if "cluster_names" in JOBS[run.job].reads:
        told["names_sha256"] = names_digest(run.inputs["clusters"].output)
    if "verdicts" in JOBS[run.job].reads:
        told["deliveries"] = deliveries(run.lake)
    if run.files:
        told |= {"files": {key: str(path) for key, path in run.files.items()}, "files_sha256": files_sha256(run)}
    if run.recordings is not None and (not run.inputs or run.kind == "spectrograms"):
        told["recordings"] = run.recordings.record
    return told


def _leave_receipt(
    run: Run, outcome: Outcome, part: tuple[int, int] | None, seconds: float, made_of: Mapping[str, Any]
) -> None:
    """Write a run's receipt, while its claim is held."""
    if run.held is not None:
        run.held.require()
    facts = {
        **run.record, **made_of, **run.ledger.summary(), "state": "done" if part is None else "share",
        "counts": dict(outcome.counts), "quarantined": dict(Counter(outcome.quarantined.values())),
        "set_aside": dict(outcome.quarantined), "n_recordings": outcome.n_recordings, "backend": outcome.backend,
        "seconds": round(seconds, 3), "seed": run.record["config"].get("seed"),
    }  # fmt: skip
    if outcome.notes:
        facts["notes"] = list(outcome.notes)
    if outcome.advice:
        facts["advice"] = outcome.advice
    if JOBS[run.job].processes == "train together":
        facts["n_processes"] = place(os.environ).n_ranks
    write_receipt(run.lake, run.name, part or (0, 1), facts)
