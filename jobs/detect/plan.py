"""Which days of which recorder have to be scored, with which heads; no vector is read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.common.heads import HEADS_FILE, Heads, read_heads
from jobs.common.run import Run
from jobs.detect.config import Config
from lake.constants import STATUS
from lake.errors import InputError, StoreError
from lake.generations import committed_prefix, next_prefix
from lake.grid import Grid
from lake.identity import short_hash
from lake.read import open_detections
from lake.schema import DETECTOR_TABLES, detection_spec
from lake.specs import KeyPrefix, StoreSpec
from lake.vectors import open_vectors
from lake.whole import store_attributes

ATTRIBUTE = "heads_id"
"""Attribute of a store of detections: the heads that its scores are of."""
GENERATION = ("score", "probability", *DETECTOR_TABLES)
"""Arrays and tables that change with the heads; see :mod:`lake.generations`."""
Cells = NDArray[np.int64]


@dataclass(frozen=True)
class Day:
    """The windows of one UTC day of one recorder: one block of the store.

    Attributes
    ----------
    recorder, i_recorder, number
        The recorder, its place in the stores, and the day's number on the grid.
    cells, status
        Time index (int64) and status (int8) of each window, shape (n_windows,).
    inputs
        Digest of the windows' vectors, of the heads and of the store's sounds.
    """

    recorder: str
    i_recorder: int
    number: int
    cells: Cells
    status: NDArray[np.int8]
    inputs: str


@dataclass(frozen=True)
class Plan:
    """What a store of detections holds.

    Attributes
    ----------
    grid, recorders
        Those of the vectors.
    days
        All days with windows.
    sounds
        Those of the committed store in its order, then those that came with the heads.
    heads, heads_id, prefix
        The heads, their digest, and the prefix of the keys of their files.
    urls
        The vector sets.
    """

    grid: Grid
    recorders: tuple[str, ...]
    days: tuple[Day, ...]
    sounds: tuple[str, ...]
    heads: Heads
    heads_id: str
    prefix: KeyPrefix
    urls: tuple[str, ...]

    @property
    def blocks(self) -> tuple[Day, ...]:
        """The days: each is one block of the store."""
        return self.days

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return sum(len(day.cells) for day in self.days)


def make_plan(run: Run[Config]) -> Plan:
    """Lay out the store of a run as its vectors and heads are now.

    Raises
    ------
    InputError
        If the heads are none, or of other vectors, or there is no window.
    StoreError
        If the heads or the vectors are not finished.
    """
    sources, source = run.sources("embeddings"), run.inputs["heads"]
    digest = (source.ledger.files() or {}).get(HEADS_FILE)
    if source.job != "learn":
        raise InputError(f"run {run.name!r}: expected heads of a `learn` run, found {source.name!r} ({source.job}).")
    if digest is None:
        raise StoreError(
            f"run {run.name!r}: its heads {source.name!r} are not finished. Type `dawnchorus run MANIFEST "
            f"{source.name}`."
        )
    heads = read_heads(source.output.url)
    sets = open_vectors([one.output.url for one in sources], partial=run.config.partial)
    found = tuple(one.config_id for one in sources)
    if heads.vectors != found or [scale.n_features for scale in heads.scaling.scales] != list(sets.n_features):
        learnt = " and ".join(repr(one.name) for one in source.sources("embeddings"))
        raise InputError(
            f"run {run.name!r}: the heads {source.name!r} were learnt of {learnt} (config {', '.join(heads.vectors)}), "
            f"but the vectors are {' and '.join(repr(one.name) for one in sources)} (config {', '.join(found)}). "
            "Name the same runs, in the same order, as `embeddings` of both."
        )
    for mine, theirs in zip(sources, source.sources("embeddings"), strict=True):
        models = [one.inputs.get("model") for one in (mine, theirs)]
        if len({model.ledger.content() for model in models if model is not None}) > 1:
            raise InputError(
                f"run {run.name!r}: the heads {source.output.url} are of vectors of another model than "
                f"{mine.name!r}: {' and '.join(model.output.url for model in models if model is not None)} hold other "
                "weights. Embed with the model of the heads (an input may be a path), or learn heads of these vectors."
            )
    heads_id = short_hash([digest])
    sounds, prefix = _axis(run, heads, heads_id)
    days = _days(run, sets.grid, sets.recorders, salt=short_hash([heads_id, sounds, prefix]))
    if not days:
        raise InputError(f"run {run.name!r}: {sources[0].name!r} has no usable window; nothing to score.")
    return Plan(sets.grid, sets.recorders, days, sounds, heads, heads_id, prefix, sets.urls)


def spec_of(run: Run[Config], plan: Plan) -> StoreSpec:
    """Return the schema of the store."""
    attrs = {
        **run.store_attrs, "grid": plan.grid.attrs, ATTRIBUTE: plan.heads_id,
        "heads_run": run.inputs["heads"].name, "heads_precision": plan.heads.precision,
    }  # fmt: skip
    return detection_spec(plan.grid, n_sounds=len(plan.sounds), key_prefix=plan.prefix, attrs=attrs)


def columns_of(plan: Plan) -> NDArray[np.intp]:
    """Return the place on the store's axis of each sound of the heads, shape (n_heads,)."""
    return np.array([plan.sounds.index(sound) for sound in plan.heads.sounds], dtype=np.intp)


def _axis(run: Run[Config], heads: Heads, heads_id: str) -> tuple[tuple[str, ...], KeyPrefix]:
    """Return the sounds of the store, and the prefix of the keys of the heads' files."""
    before = committed_prefix(run.output, GENERATION[0])
    if before is None:
        return heads.sounds, "c."
    with open_detections(run.output.url, compared=False) as dataset:
        known = tuple(map(str, dataset["sound"].to_numpy()))
    sounds = (*known, *(sound for sound in heads.sounds if sound not in known))
    is_same = store_attributes(run.output).get(ATTRIBUTE) == heads_id
    return sounds, before if is_same else next_prefix(before)


def _days(run: Run[Config], grid: Grid, recorders: tuple[str, ...], *, salt: str) -> tuple[Day, ...]:
    """Return the days that have usable windows, sorted by the store's recorders and time."""
    wanted = [STATUS["ok"], STATUS["partial"]] if run.config.partial else [STATUS["ok"]]
    numbers = {recorder: i for i, recorder in enumerate(recorders)}
    first, *others = run.sources("embeddings")
    digests = [
        {
            (recorder, day): [entry.digests for entry in entries.values()]
            for recorder, day, entries in one.ledger.entries()
        }
        for one in others
    ]
    days = []
    for recorder, date, entries in first.ledger.entries():
        if recorder not in numbers:
            continue
        cells = np.array([cell for entry in entries.values() for cell in entry.cells], dtype=np.int64)
        status = np.array([s for e in entries.values() for s in e.index["embedding_status"]], dtype=np.int8)
        keep = np.flatnonzero(np.isin(status, wanted) & (cells < grid.n_cells))
        if len(keep):
            rows = keep[np.argsort(cells[keep], kind="stable")]
            vectors = [[e.digests for e in entries.values()], *(one[recorder, date] for one in digests)]
            made_of = [salt, cells[rows].tolist(), status[rows].tolist(), vectors]
            number = int(cells[rows[0]]) // grid.cells_per_day
            days.append(Day(recorder, numbers[recorder], number, cells[rows], status[rows], short_hash(made_of)))
    return tuple(sorted(days, key=lambda day: (day.i_recorder, day.number)))
