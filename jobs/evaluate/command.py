"""The ``evaluate`` job: clusterings, vectors and labels around the pure core, tables out."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from jobs.common.folders import publish
from jobs.common.labels.intervals import Labels, read_labels
from jobs.common.labels.marks import is_plain_table, read_marks
from jobs.common.labels.placing import place_marks, recordings_of
from jobs.common.needs import LIBRARIES_BYTES, described
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run, main_role
from jobs.common.space import Space
from jobs.evaluate.audit import Audited, audit_clusters, audit_vectors, nuisances
from jobs.evaluate.config import Config
from jobs.evaluate.probes import Prepare, one_scale, standardised
from jobs.evaluate.scores import Row, make_splits, of_all, of_chance, of_clusters, of_lots, of_vectors
from jobs.evaluate.units import (
    Units,
    commonest_cluster,
    labels_of_units,
    mean_vectors,
    scaled_rows,
    units_of_labels,
    units_of_marks,
    windows_of,
)
from jobs.evaluate.windows import Score, score_windows
from lake.digest import sha256_of
from lake.errors import InputError
from lake.escapes import defused
from lake.layout import safe_name
from lake.read import open_array, open_clusters, open_cube, open_embeddings, read_rows, recorder_names, usable_windows
from lake.scaling import Scaling
from lake.text import near_or_all
from lake.vectors import VectorSets, open_vectors
from lake.whitening import study_whitening, whitening_notes

Ints = NDArray[np.int64]
MOST_NAMED = 3
TABLES = ("scores.csv", "intervals.csv", "audit.csv", "summary.json")
"""Files of every evaluation."""
ROLE_BYTES = 100_000
"""More than the rows of one input take in these."""
CELL_BYTES = 21
"""More than a cell takes in a table of clusters by labels; a column's name is more than one cell."""


@dataclass(frozen=True)
class Study:
    """Inputs of an evaluation: the labels as intervals and by recorder, the cube, and the stores by role.

    ``n_strange`` labels are of recordings that the cube does not have, ``n_outside`` of seconds that their recording
    does not have; ``notes`` say which.
    """

    units: Units
    labels: Labels
    n_strange: int
    n_outside: int
    notes: Sequence[str]
    cube: xr.Dataset | None
    stores: Mapping[str, xr.Dataset]
    vectors: Mapping[str, "Vectors"]


@dataclass(frozen=True)
class Vectors:
    """The vector sets of one role, how each window is scaled, and how probes prepare what they get."""

    sets: VectorSets
    scaling: Scaling | None
    prepare: Prepare


@dataclass(frozen=True)
class Compared:
    """The intervals that every input has windows of, and what each input says of them.

    Attributes
    ----------
    units, labels
        The intervals, and the number of each one's label.
    vectors, clusters
        By role: mean vectors, or the commonest cluster.
    n_left_out
        Intervals that some input has no window of, or that were not drawn.
    """

    units: Units
    labels: Ints
    vectors: Mapping[str, NDArray[np.float32]]
    clusters: Mapping[str, Ints]
    n_left_out: int


def execute(run: Run[Config], options: Options) -> Outcome:
    """Score every clustering and every set of vectors among the inputs, audit them, and write the tables.

    Raises
    ------
    InputError
        If there are no labels, no inputs, or no window that a label covers.
    """
    labels_path = _labels(run)
    if not run.inputs:
        raise InputError(f"run {run.name!r} needs at least one clustering among its inputs, found none.")
    scores: list[Score] = []
    labels_sha256 = sha256_of(labels_path) if labels_path.is_file() else None
    # Products here are small: threads of BLAS would wait for each other, minutes long where processors are shared.
    with threadpool_limits(1), TemporaryDirectory() as scratch, ExitStack() as opened:
        folder = Path(scratch)
        study = _study(run, labels_path, opened)
        for role in [role for role in _roles(run) if _is_clustering(run, role)]:
            score, table = score_windows(run, role, study.stores[role], study.labels)
            scores.append(score)
            _write_csv(folder / f"confusion-{safe_name(role)}.csv", table)
        known = {name for store in study.stores.values() for name in recorder_names(store)}
        strangers = {name: len(rows) for name, rows in study.labels.by_recorder.items() if name not in known}
        compared = _compared(run, study)
        run = options.begin(run, Outcome(did=True, counts={}))
        rows, audited = _rows(run, study, compared), _audited(run, study)
        _write_csv(folder / "scores.csv", [list(Score.__annotations__), *(asdict(score).values() for score in scores)])
        _write_csv(folder / "intervals.csv", [_names(Row), *(asdict(row).values() for row in rows)])
        _write_csv(folder / "audit.csv", [_names(Audited), *(asdict(row).values() for row in audited)])
        summary = {
            "config": run.record["config"],
            "labels": {
                "sha256": labels_sha256, "n_intervals": study.labels.n_intervals,
                "n_labels": len(study.labels.names), "n_intervals_of_unknown_recorders": strangers,
                "n_intervals_of_unknown_recordings": study.n_strange,
                "n_intervals_outside_their_recording": study.n_outside, "n_intervals_left_out": compared.n_left_out,
            },
            "scores": [asdict(score) for score in scores],
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        publish(run, folder)
    counts = {
        "clusterings": len(scores), "labelled_intervals": study.labels.n_intervals,
        "intervals_of_unknown_recorders": sum(strangers.values()),
        "intervals_of_unknown_recordings": study.n_strange,
        "intervals_outside_their_recording": study.n_outside, "intervals_compared": len(compared.units),
        **{f"ami_of_{s.role}": s.ami for s in scores},
    }  # fmt: skip
    notes = [*study.notes, *_notes_on_recorders(strangers, sorted(known)), *_notes_on_whitening(run, study)]
    return Outcome(did=True, counts=counts, backend="numpy", notes=notes)


def describe(run: Run[Config], _options: Options) -> list[str]:
    """Return what a run would read, write and take, without writing anything."""
    labels = _labels(run)
    reads, n_bytes, memory_bytes, n_files = [str(labels)], 0, LIBRARIES_BYTES, len(TABLES)
    n_labels = len(read_labels(labels).names) if is_plain_table(labels) else len(read_marks(labels).marks)
    for role in _roles(run):
        urls = [one.output.url for one in run.sources(role)]
        with (open_clusters if _is_clustering(run, role) else open_embeddings)(urls[0]) as store:
            status = "cluster_status" if _is_clustering(run, role) else "embedding_status"
            n_windows = len(usable_windows(store, status=status))
            n_clusters = store.sizes["cluster_id"] if _is_clustering(run, role) else 0
        reads.append(f"{n_windows} windows of {' and '.join(one.name for one in run.sources(role))}")
        n_bytes += ROLE_BYTES + CELL_BYTES * (n_clusters + 1) * (n_labels + 2)
        n_files += 1 if n_clusters else 0
        if not n_clusters:
            n_rows = min(n_windows, run.config.n_audit_windows + run.config.most_intervals)
            memory_bytes += 24 * n_rows * sum(open_vectors(urls).n_features)
    return described(
        run, read=reads, written=f"{n_files} tables of scores", takes=Space(n_bytes + ROLE_BYTES, n_files),
        memory_bytes=memory_bytes,
    )  # fmt: skip


def _labels(run: Run[Config]) -> Path:
    if run.labels is None:
        raise InputError(
            f"run {run.name!r} needs `labels`, a table of labelled intervals, in the manifest; found none."
        )
    return run.labels


def _notes_on_recorders(strangers: Mapping[str, int], known: Sequence[str]) -> list[str]:
    """Return a note of labels whose recorders no input has; none if there are none."""
    if not strangers:
        return []
    named = [f"{name} ({near_or_all(name, known)})" for name in list(strangers)[:MOST_NAMED]]
    more = f" and {len(strangers) - MOST_NAMED} more" if len(strangers) > MOST_NAMED else ""
    return [f"{sum(strangers.values())} labels are of recorders that no input has: {', '.join(named)}{more}."]


def _notes_on_whitening(run: Run[Config], study: Study) -> list[str]:
    """Return a note of each vector set that has fewer windows than features."""
    notes = [
        note
        for one in study.vectors.values()
        if one.scaling is not None
        for note in whitening_notes(one.sets, one.scaling, run.config.shrinkage)
    ]
    return list(dict.fromkeys(notes))


def _roles(run: Run[Config]) -> list[str]:
    """Return the roles of the manifest; runs that are joined are one."""
    return list(dict.fromkeys(main_role(role) for role in run.inputs))


def _is_clustering(run: Run[Config], role: str) -> bool:
    return run.inputs[role].kind == "clusters"


def _study(run: Run[Config], path: Path, opened: ExitStack) -> Study:
    """Open the stores and put the labels on the study's time."""
    config = run.config
    source = next((found for one in run.inputs.values() for found in [_cube_of(one)] if found is not None), None)
    cube = None
    if source is not None and source.output.exists(""):
        cube = opened.enter_context(open_cube(source.output.url))
    if is_plain_table(path):
        labels = read_labels(path)
        units = units_of_labels(labels, recordings_of(cube) if cube is not None else None)
        n_strange, n_outside, notes = 0, 0, []
    elif cube is None:
        raise InputError(
            f"run {run.name!r}: {path} labels recordings, and only a cube knows their times; found none among what "
            "the inputs were made from. Label recorders instead: recorder, start_utc, end_utc, label."
        )
    else:
        read = read_marks(path)
        there = recordings_of(cube, str(run.recordings.root) if run.recordings else "")
        found = place_marks(read.marks, there, min_confidence=config.min_confidence)
        units = units_of_marks(found, there)
        labels = labels_of_units(units)
        n_strange, n_outside, notes = found.n_strange, found.n_outside, [*read.notes, *found.notes]
    stores = {
        role: opened.enter_context(
            (open_clusters if _is_clustering(run, role) else open_embeddings)(run.inputs[role].output.url)
        )
        for role in _roles(run)
    }
    vectors = {role: _vectors(run, role) for role in stores if not _is_clustering(run, role)}
    return Study(units, labels, n_strange, n_outside, notes, cube, stores, vectors)


def _vectors(run: Run[Config], role: str) -> Vectors:
    config = run.config
    sets = open_vectors([one.output.url for one in run.sources(role)])
    if config.normalise == "zscore_l2" or (config.normalise == "auto" and not sets.is_own):
        return Vectors(sets, None, standardised)
    with progress(f"{run.name}: whitening of {role}", sets.n_windows, "windows") as advance:
        scaling = study_whitening(sets, shrinkage=config.shrinkage, advance=advance)
    return Vectors(sets, scaling, one_scale)


def _cube_of(run: Run[Any]) -> Run[Any] | None:
    """Return the nearest cube among a run and what it was made from."""
    return next((one for one in run.above() if one.kind == "spectrograms"), None)


def _compared(run: Run[Config], study: Study) -> Compared:
    """Return the intervals that all inputs have windows of, with each input's word on them."""
    config = run.config
    windows = {}
    with progress(f"{run.name}: intervals", len(_roles(run)), "inputs") as advance:
        for role, store in study.stores.items():
            status = "cluster_status" if _is_clustering(run, role) else "embedding_status"
            windows[role] = windows_of(store, status, study.units, min_overlap_ms=round(config.min_overlap_s * 1000))
            advance(1)
    there = np.array([all(len(one[i][1]) for one in windows.values()) for i in range(len(study.units))], dtype=np.bool_)
    rows = np.flatnonzero(there)
    if len(rows) > config.most_intervals:
        drawn = np.random.default_rng([config.seed, 0]).choice(len(rows), config.most_intervals, replace=False)
        rows = rows[np.sort(drawn)]
    units = study.units.take(rows)
    vectors, clusters = {}, {}
    for role, found in windows.items() if len(rows) else []:
        mine = [found[row] for row in rows]
        if _is_clustering(run, role):
            clusters[role] = commonest_cluster(study.stores[role], mine)
        else:
            vectors[role] = mean_vectors(study.vectors[role].sets, study.vectors[role].scaling, mine)
    labels = np.unique(units.label, return_inverse=True)[1].astype(np.int64)
    return Compared(units, labels, vectors, clusters, len(study.units) - len(rows))


def _rows(run: Run[Config], study: Study, compared: Compared) -> list[Row]:
    """Return all figures of all splits; none where fewer than two labels or ten intervals can be compared."""
    config, labels = run.config, compared.labels
    if len(labels) < 10 or labels.max() == 0:
        return []
    rows: list[Row] = []
    for role, vectors in compared.vectors.items():
        who = role, run.inputs[role].name
        rows += of_all(who, vectors, labels, config, prepare=study.vectors[role].prepare)
    splits = make_splits(compared.units, labels, config)
    with progress(f"{run.name}: splits", len(splits) * len(_roles(run)), "tables") as advance:
        for split in splits:
            if len(np.unique(labels[split.rows])) < 2:
                continue
            rows += of_chance(labels, split, config)
            for role in _roles(run):
                who = role, run.inputs[role].name
                if role in compared.clusters:
                    rows += of_clusters(who, compared.clusters[role], labels, split, config)
                    rows += of_lots(who[1], compared.clusters[role], labels, split, config)
                else:
                    prepare = study.vectors[role].prepare
                    rows += of_vectors(who, compared.vectors[role], labels, split, config, prepare=prepare)
                advance(1)
    return rows


def _audited(run: Run[Config], study: Study) -> list[Audited]:
    config = run.config
    rows: list[Audited] = []
    with progress(f"{run.name}: audit", len(_roles(run)), "inputs") as advance:
        for role in _roles(run):
            store, name = study.stores[role], run.inputs[role].name
            status = "cluster_status" if _is_clustering(run, role) else "embedding_status"
            windows = usable_windows(store, status=status)
            if len(windows) > config.n_audit_windows:
                drawn = np.random.default_rng([config.seed, 4]).choice(
                    len(windows), config.n_audit_windows, replace=False
                )
                windows = windows.take(np.sort(drawn))
            found = nuisances(store, windows, study.cube)
            if _is_clustering(run, role):
                array = open_array(run.inputs[role].output.url, "cluster")
                clusters = np.asarray(read_rows(array, windows.recorder, windows.cell), dtype=np.int64)
                rows += audit_clusters(role, name, clusters, found)
            else:
                vectors = study.vectors[role]
                values = scaled_rows(vectors.sets, vectors.scaling, windows.recorder, windows.cell)
                rows += audit_vectors(role, name, values, found, config, prepare=vectors.prepare)
            advance(1)
    return rows


def _names(row: Any) -> list[str]:  # noqa: ANN401 (a dataclass)
    return [field.name for field in fields(row)]


def _write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        safe = ([defused(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
        csv.writer(file, lineterminator="\n").writerows(safe)
