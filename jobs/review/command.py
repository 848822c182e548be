"""The commands on verdicts: adding files of them to the lake, and listing what the lake has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from jobs.review.deliver import Given, Read, read_files
from jobs.review.windows import open_windows
from jobs.runner.manifest import Manifest
from lake.batches import Batch, n_answered, sample_of
from lake.errors import InputError
from lake.sounds import read_sounds
from lake.verdicts import (
    VERDICTS,
    Delivery,
    add_verdicts,
    agreement,
    last_decisions,
    read_verdicts,
    settled,
)


@dataclass(frozen=True)
class Added:
    """Counts of what was read, and of what was new."""

    read: Read
    delivery: Delivery


def add(manifest: Manifest, paths: Sequence[Path], given: Given, *, cube: str | None = None) -> Added:
    """Check files of verdicts, and add what the lake does not have yet as one delivery.

    Raises
    ------
    InputError
        With all that is wrong in any of the files; then nothing was added.
    """
    if not paths:
        raise InputError("verdicts add: name at least one file of verdicts or labels.")
    sounds, windows = read_sounds(manifest.path), open_windows(manifest, cube)
    lake = windows.run.lake
    read = read_files(paths, windows, sounds, read_verdicts(lake), given)
    delivery = add_verdicts(lake, read.table)
    names = sorted(set(read.table["batch"]) - {""})
    notes = [answered(windows.batch(name), read_verdicts(lake)) for name in names]
    return Added(replace(read, notes=[*read.notes, *notes]), delivery)


def answered(batch: Batch, verdicts: pd.DataFrame) -> str:
    """Return how much of a batch was answered; of a random one also how much of it is a sample, and what that lacks."""
    n = len(batch.table)
    told = f"batch {batch.name}: {n_answered(batch, verdicts)} of {n} windows were answered"
    if not batch.is_random:
        return f"{told}."
    n_sample = sample_of(batch, verdicts)["draw"].nunique()
    if n_sample == n:
        return f"{told}; all of them are a sample."
    return (
        f"{told}; the first {n_sample} are a sample. What follows the window of draw {n_sample} counts once that is "
        f"answered for {', '.join(batch.sounds)}."
    )


def counts(manifest: Manifest) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how many verdicts of each kind each reviewer gave of each sound, and where two heard the same.

    Returns
    -------
    tuple
        ``sound``, ``reviewer``, ``yes``, ``no``, ``unsure``, with a row of reviewer ``settled`` for what holds of all
        of them, whose ``disputed`` counts where they differ; and the table of :func:`lake.verdicts.agreement`.
    """
    lake = next(iter(manifest.runs.values())).lake
    verdicts = read_verdicts(lake)
    last, what_holds = last_decisions(verdicts), settled(verdicts)
    rows = [
        {"sound": sound, "reviewer": reviewer, **_tally(table["verdict"]), "disputed": 0}
        for (sound, reviewer), table in last.groupby(["sound", "reviewer"])
    ]
    rows += [
        {"sound": sound, "reviewer": "settled", **_tally(table["verdict"]), "disputed": int(table["is_disputed"].sum())}
        for sound, table in what_holds.groupby("sound")
    ]
    columns = ["sound", "reviewer", *VERDICTS, "disputed"]
    table = pd.DataFrame(rows, columns=columns).sort_values("sound", kind="stable", ignore_index=True)
    return table, agreement(last)


def _tally(verdicts: pd.Series) -> dict[str, int]:
    found = verdicts.value_counts()
    return {kind: int(found.get(kind, 0)) for kind in VERDICTS}
