"""Run one round of the loop: add verdicts, learn heads, score windows, and choose what to hear next."""

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from jobs.common.heads import TABLE_FILE, NothingLearntError
from jobs.common.run import Options, Run
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import Manifest
from jobs.runner.state import pinned_state
from lake.deliveries import deliveries
from lake.errors import InputError
from lake.escapes import as_written
from lake.held import read_held
from lake.text import near_or_all
from lake.verdicts import VERDICTS

Say = Callable[[str], None]
FIGURES = ("average_precision", "average_precision_low", "average_precision_high")
NO_RUN = """\
{path}: expected a run of `detect`, found none. Add these lines, and type the command again:

[runs.heads]
job = "learn"
inputs = {{ embeddings = {vectors} }}

[runs.detections]
job = "detect"
inputs = {{ embeddings = {vectors}, heads = "heads" }}"""


Table = Mapping[str, Mapping[str, Any]]
"""The rows of a table of heads by sound."""


@dataclass(frozen=True)
class Learnt:
    """The tables of heads before and after a round, and why nothing was learnt, empty if something was.

    ``n_few`` is the number of verdicts of a kind from which on figures are no guesses.
    """

    before: Table
    now: Table
    problem: str
    n_few: int


def detector_runs(manifest: Manifest, name: str | None = None) -> tuple[Run, Run]:
    """Return the runs that learn heads and that score windows with them.

    Parameters
    ----------
    manifest
        The study's.
    name
        The run of detections; may be left out if there is but one.

    Raises
    ------
    InputError
        If the manifest has no such run, or several and none is named.
    """
    known = {run.name: run for run in manifest.runs.values() if run.job == "detect"}
    if not known:
        raise InputError(NO_RUN.format(path=manifest.path, vectors=_vectors_of(manifest)))
    if name is not None and name not in known:
        raise InputError(f"--detections {name}: expected a run of `detect`; {near_or_all(name, known)}.")
    if name is None and len(known) > 1:
        raise InputError(f"{manifest.path}: found the detections {', '.join(known)}; name one with --detections.")
    run = known[name or next(iter(known))]
    return run.inputs["heads"], run


def learn_and_detect(manifest: Manifest, runs: tuple[Run, Run], options: Options, say: Say) -> Learnt:
    """Learn heads of what the lake's verdicts say now, and score the windows; do nothing that is done already.

    Where no sound can be learnt yet, the reasons are in :attr:`Learnt.problem`, and earlier detections stay.
    """
    heads, detections = runs
    before = table_of_heads(heads)
    n_few = int(getattr(heads.config, "n_few", 0))
    if not deliveries(heads.lake):
        return Learnt(before, before, "there are no verdicts yet", n_few)
    state = pinned_state(heads)
    is_stale = state is not None and state.state == "stale"
    try:
        execute_runs(manifest, [heads.name], replace(options, refresh=is_stale), say)
    except NothingLearntError as error:
        return Learnt(before, before, str(error), n_few)
    execute_runs(manifest, [detections.name], options, say)
    return Learnt(before, table_of_heads(heads), "", n_few)


def table_of_heads(heads: Run) -> Table:
    """Return the rows of the table of a ``learn`` run by sound; none where there is no table.

    Raises
    ------
    StoreError
        If it is not as it was written.
    """
    data = read_held(heads.output.url, TABLE_FILE)
    if data is None:
        return {}
    texts = dict.fromkeys(("sound", "refused", "flags"), str)
    table = pd.read_csv(io.BytesIO(data), dtype=texts, keep_default_na=False, na_values={key: [""] for key in FIGURES})
    return {as_written(row["sound"]): {str(key): cell for key, cell in row.items()} for row in table.to_dict("records")}


def rows_of(learnt: Learnt, sounds: Sequence[str], verdicts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, for each sound, its verdicts, its average precision before and now, and what to hear next.

    Parameters
    ----------
    learnt
        What came of the round.
    sounds
        Those that the study asks about.
    verdicts
        What holds of the lake's verdicts, as :func:`lake.verdicts.settled` gives it.
    """
    counts = pd.crosstab(verdicts["sound"], verdicts["verdict"]).reindex(
        index=list(sounds), columns=list(VERDICTS), fill_value=0
    )
    rows = []
    for sound in sounds:
        then, now = learnt.before.get(sound), learnt.now.get(sound)
        n_yes, n_no = int(counts["yes"][sound]), int(counts["no"][sound])
        figures = {"before": _figure(then), **{f"now{end}": _figure(now, end) for end in ("", "_low", "_high")}}
        rows.append(
            {"sound": sound, "yes": n_yes, "no": n_no, **figures, "next": advice(now, n_yes, n_no, learnt.n_few)}
        )
    return rows


def summary(learnt: Learnt, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the rows of :func:`rows_of` as lines that a person reads, and the mean over the sounds."""
    cells = [("sound", "yes", "no", "AP before", "AP now", "95 %", "hear next")]
    for row in rows:
        interval = f"{row['now_low']:.2f} to {row['now_high']:.2f}" if row["now_low"] is not None else ""
        figures = ("-" if row[key] is None else f"{row[key]:.2f}" for key in ("before", "now"))
        cells.append((row["sound"], str(row["yes"]), str(row["no"]), *figures, interval, row["next"]))
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    if learnt.problem:
        return [*lines, learnt.problem]
    (before, n_before), (now, n_now) = (macro_ap([row[key] for row in rows]) for key in ("before", "now"))
    told = f", {before:.2f} of {n_before} before" if n_before else ""
    return [*lines, f"macro AP {now:.2f} of {n_now} detectors{told}, on verdicts that each did not see"]


def advice(row: Mapping[str, Any] | None, n_yes: int, n_no: int, n_few: int) -> str:
    """Return which order to hear a sound in next, and why.

    Parameters
    ----------
    row
        Of the table of heads, ``None`` where it has none.
    n_yes, n_no
        Verdicts that hold.
    n_few
        See :class:`Learnt`.
    """
    none_heard = f"not heard yet in {n_no} windows" if n_no else "not asked about yet"
    if row is None or row["refused"]:
        reason = f"no detector{'' if row is None else ', as ' + str(row['refused'])}"
        return next(
            f"{order}: {why}"
            for order, why, holds in (
                ("typical or far", none_heard, not n_yes),
                ("random", "no window without it was heard", not n_no),
                ("far", reason, True),
            )
            if holds
        )
    flags = str(row["flags"]).split()
    cases = (
        ("far", "its detector may be no better than chance", "no_better_than_chance" in flags),
        ("top", f"after {n_few - n_yes} more yes its figures are no guesses", n_yes < n_few),
        ("margin", f"after {n_few - n_no} more no its figures are no guesses", n_no < n_few),
        ("far", "its yes or its no are all of one recording", "one_recording" in flags),
        ("margin", f"no score reaches precision {row['precision']}", "precision_not_reached" in flags),
        ("precision", f"enough was heard for precision {row['precision']}; this order confirms it", True),
    )
    return next(f"{order}: {why}" for order, why, holds in cases if holds)


def macro_ap(values: Sequence[float | None]) -> tuple[float, int]:
    """Return the mean of the values that are known, and their number."""
    known = [value for value in values if value is not None]
    return (sum(known) / len(known) if known else float("nan")), len(known)


def _figure(row: Mapping[str, Any] | None, end: str = "") -> float | None:
    value = float("nan") if row is None else float(row[f"average_precision{end}"])
    return None if math.isnan(value) else value


def _vectors_of(manifest: Manifest) -> str:
    """Return the vectors of the study's clusters, or the first ones, as a manifest names them."""
    made_of = [run.sources("embeddings") for run in manifest.runs.values() if run.kind == "clusters"]
    vectors = [[run] for run in manifest.runs.values() if run.kind == "embeddings"]
    names = [json.dumps(run.name) for run in (made_of or vectors or [[]])[0]]
    return f"[{', '.join(names)}]" if len(names) > 1 else "".join(names) or '"VECTORS"'
