"""The ``learn`` job: vectors, verdicts and a folder of files around the pure core."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from jobs.common.folders import publish
from jobs.common.heads import HEADS_FILE, TABLE_FILE, Heads, NothingLearntError, heads_bytes
from jobs.common.needs import LIBRARIES_BYTES, described
from jobs.common.processors import blas_backend
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run
from jobs.common.space import Space
from jobs.learn.config import Config
from jobs.learn.core import Head, Refused, learn_head
from jobs.learn.examples import Judged, draw_unlabelled, examples_of, groups_of, read_judged
from jobs.learn.measures import Ints
from lake.errors import InputError
from lake.scaling import N_AXES, Normalise, Scaling, Vectors, scaled
from lake.tables import defused_table
from lake.threads import in_threads
from lake.vectors import Span, VectorSets, open_vectors, read_span
from lake.verdicts import read_verdicts
from lake.whitening import study_scaling, whitening_notes

FIGURES = {
    "detector_best_f1": "threshold_best_f1",
    "detector_precision": "threshold_precision",
    "detector_average_precision": "average_precision",
    "detector_auroc": "auroc",
}
"""Column of the table of heads by the table in a store of detections."""
ROW_BYTES = 1_000
"""More than a row of the table takes."""


@dataclass(frozen=True)
class Learnt:
    """Result for one sound: its row of the table, and its head, ``None`` where it was refused."""

    row: Mapping[str, Any]
    head: Head | None


def execute(run: Run[Config], options: Options) -> Outcome:
    """Learn a head for each sound with verdicts and write them; a sound that cannot be learnt does not stop others.

    Raises
    ------
    InputError
        If there are no verdicts, or none is of a window of the vectors.
    NothingLearntError
        If no sound can be learnt.
    """
    config = run.config
    sets = _vectors(run)
    judged = read_judged(run.lake, sets, run.name)
    run = options.begin(run, Outcome(did=True, counts={}))
    normalise: Normalise = "zscore_l2"
    if config.normalise != "auto":
        normalise = config.normalise
    elif sets.is_own:
        normalise = "whiten"
    with progress(f"{run.name}: statistics", sets.n_windows, "windows") as advance:
        scaling = study_scaling(
            sets, normalise, shrinkage=config.shrinkage, n_axes=N_AXES, partial=config.partial,
            threads=options.workers, advance=advance,
        )  # fmt: skip
    unlabelled = draw_unlabelled(judged, config)
    numbers = np.union1d(judged.table["window"].to_numpy(), unlabelled).astype(np.int64)
    with threadpool_limits(1):
        vectors = _read(run, sets, scaling, numbers, options.workers)
        found = _learn(run, judged, numbers, unlabelled, sets, vectors, options.workers)
    heads = {str(one.row["sound"]): one.head for one in found if one.head is not None}
    refused = [f"no head for {one.row['sound']!r}: {one.row['refused']}" for one in found if one.head is None]
    if not heads:
        raise NothingLearntError(
            "\n".join([f"run {run.name!r}: no sound can be learnt:", *(f"  {line}" for line in refused)])
        )
    with TemporaryDirectory() as scratch:
        made = _heads(run, heads, scaling)
        (Path(scratch) / HEADS_FILE).write_bytes(heads_bytes(made))
        table = defused_table(pd.DataFrame([one.row for one in found]))
        (Path(scratch) / TABLE_FILE).write_text(table.to_csv(index=False, float_format="%.6g"), encoding="utf-8")
        publish(run, Path(scratch))
    flagged = [f"{one.row['sound']}: {one.row['flags']}" for one in found if one.head is not None and one.row["flags"]]
    notes = [*whitening_notes(sets, scaling, config.shrinkage), *refused]
    notes += [f"{len(flagged)} heads are guesses ({'; '.join(flagged[:5])}{'; …' * (len(flagged) > 5)})"] * bool(
        flagged
    )
    counts = {
        "verdicts": int(sum(one.row["n_yes"] + one.row["n_no"] for one in found)),
        "unlabelled": len(unlabelled), "heads": len(heads), "refused": len(refused), "flagged": len(flagged),
    }  # fmt: skip
    return Outcome(did=True, counts=counts, backend=blas_backend(), notes=notes)


def describe(run: Run[Config], _options: Options) -> list[str]:
    """Return what a run would read, write and take, without writing anything."""
    config, sets = run.config, _vectors(run)
    sounds = read_verdicts(run.lake)["sound"].nunique()
    n_scaled = min(N_AXES, sum(sets.n_features))
    weights_bytes = 8 * sum(sets.n_features) * (n_scaled + 2) + (4 * n_scaled + ROW_BYTES) * sounds
    names = " and ".join(repr(one.name) for one in run.sources("embeddings"))
    n_rows = config.n_unlabelled + len(read_verdicts(run.lake))
    memory = 4 * sum(sets.n_features) ** 2 * 6 + 4 * 8 * n_rows * n_scaled
    return described(
        run,
        read=[f"{sets.n_windows} windows of {names}", f"the verdicts on {sounds} sounds"],
        written=f"a head for each of {sounds} sounds, and a table of them",
        takes=Space(weights_bytes + 10_000, 2),
        memory_bytes=LIBRARIES_BYTES + memory,
    )


def _vectors(run: Run[Config]) -> VectorSets:
    """Return the vector sets; ``InputError`` where they have no usable window, or other windows than each other."""
    sources = run.sources("embeddings")
    sets = open_vectors([one.output.url for one in sources], partial=run.config.partial)
    if not sets.n_windows:
        names = " and ".join(repr(one.name) for one in sources)
        raise InputError(f"run {run.name!r}: {names} has no usable window; there is nothing to learn from.")
    return sets


def _read(run: Run[Config], sets: VectorSets, scaling: Scaling, numbers: Ints, threads: int) -> Vectors:
    """Return the scaled vectors of some windows, by their sorted numbers."""
    out = np.empty((len(numbers), scaling.n_scaled), dtype=np.float32)

    def read(span: Span) -> tuple[int, int]:
        low, high = np.searchsorted(numbers, [span.first_row, span.first_row + len(span.cells)])
        here = Span(span.recorder, span.day, span.cells[numbers[low:high] - span.first_row], span.first_row)
        if high > low:
            out[low:high] = scaled(read_span(sets, here), scaling)
        return int(high - low), len(span.cells)

    with progress(f"{run.name}: vectors", len(numbers), "windows") as advance:
        for n_read, _ in in_threads(read, sets.spans, threads):
            advance(n_read)
    return out


def _learn(  # noqa: PLR0917 (what `execute` has read, with one caller)
    run: Run[Config], judged: Judged, numbers: Ints, unlabelled: Ints, sets: VectorSets, vectors: Vectors, threads: int
) -> list[Learnt]:
    """Return what became of each sound, in the order of their names."""
    config, groups = run.config, groups_of(run, sets, judged, numbers)
    spans = dict(iter(judged.spans.groupby("sound", sort=True)))

    def learn(sound: str) -> Learnt:
        said = spans[sound]
        examples, group = examples_of(judged.table[judged.table["sound"] == sound], numbers, unlabelled, groups, config)
        row: dict[str, Any] = {
            "sound": sound, "refused": "", "flags": "", "n_yes": int((examples.is_yes & examples.is_heard).sum()),
            "n_no": int((~examples.is_yes & examples.is_heard).sum()),
            "n_unsure": int((said["verdict"] == "unsure").sum()), "n_disputed": int(said["is_disputed"].sum()),
            "n_without_vector": int((~said["has_window"]).sum()), "held_out_by": group,
        }  # fmt: skip
        try:
            head = learn_head(vectors, examples, config)
        except Refused as reason:
            return Learnt({**row, "refused": f"{reason}{_left_out(row, len(said))}"}, None)
        return Learnt({**row, "flags": " ".join(head.flags), **head.figures, "precision": config.precision}, head)

    with progress(f"{run.name}: heads", len(spans), "sounds") as advance:
        found = []
        for one in in_threads(learn, [str(sound) for sound in spans], threads):
            found.append(one)
            advance(1)
    return found


def _left_out(row: Mapping[str, Any], n: int) -> str:
    """Return, for a reason, which verdicts could not be used."""
    words = {"n_without_vector": "have no vector", "n_disputed": "are disputed", "n_unsure": "are unsure"}
    told = [f"{row[key]} {what}" for key, what in words.items() if row[key]]
    return f" (of {n} windows that were judged {', '.join(told)})" if told else ""


def _heads(run: Run[Config], heads: Mapping[str, Head], scaling: Scaling) -> Heads:
    found = list(heads.values())
    return Heads(
        sounds=tuple(heads),
        weights=np.stack([one.weights for one in found]).astype(np.float32),
        intercept=np.array([one.intercept for one in found]),
        slope=np.array([one.slope for one in found]),
        offset=np.array([one.offset for one in found]),
        scaling=scaling,
        vectors=tuple(one.config_id for one in run.sources("embeddings")),
        figures={name: np.array([one.figures[key] for one in found]) for name, key in FIGURES.items()},
        precision=run.config.precision,
    )
