"""Sources of the orders of listening: clusters, vectors, scores, and what was heard."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.common.run import Run
from jobs.review.orders import Population, Rows
from jobs.runner.manifest import Manifest
from jobs.runner.state import finished
from lake.errors import DawnchorusError, InputError
from lake.names import names_digest
from lake.query.across import starts_of
from lake.query.naming import read_names
from lake.read import (
    Windows,
    grid_of,
    open_array,
    open_clusters,
    open_cube,
    open_detections,
    open_embeddings,
    read_rows,
    usable_windows,
    values_at,
)
from lake.scaling import Scaling, Vectors, moments, scaled, stored_scaling, whitening
from lake.text import near_or_all
from lake.threads import in_threads
from lake.vectors import Span, VectorSets, open_vectors, read_span, spans_of

THREADS = 2


@dataclass
class Sources:
    """Data that an order may ask for: read when it is asked for, then listed in ``reads``.

    Attributes
    ----------
    population
        The windows that may be asked.
    heard
        Windows that were heard before, whatever was said.
    sounds
        The sounds that are asked about.
    runs
        The runs of the study by kind, those to use first.
    as_clustered
        Whether vectors are those that the clustering was made of, scaled as there; otherwise those of the first run.
    reads
        Role and run of the stores that were read.
    notes
        What a person should know of the choice.
    """

    population: Population
    heard: Windows
    sounds: Sequence[str]
    runs: Mapping[str, Sequence[Run]]
    as_clustered: bool = True
    reads: dict[str, Run] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def exemplars(self) -> tuple[Rows, NDArray[np.int64], NDArray[np.int64]]:
        """Return the exemplars of each cluster as numbers in the population, its windows, and how many were heard."""
        run = self.clustering()
        with open_clusters(run.output.url) as store:
            recorder, cell = store["exemplar_recorder"].to_numpy(), store["exemplar_cell"].to_numpy()
            sizes = store["n_windows"].to_numpy()
        heard = clusters_of(run, self.heard)
        return self.population.find(recorder, cell), sizes, np.bincount(heard[heard >= 0], minlength=len(sizes))

    def clustering(self) -> Run:
        """Return the clustering to use.

        Raises
        ------
        InputError
            If the study has none that is done.
        """
        return self._only("clusters", "cluster", "--order explore needs clusters")

    def vectors(self, rows: Rows, most_heard: int, random: np.random.Generator) -> tuple[Rows, Vectors, Vectors]:
        """Return the windows of the population that have vectors, their scaled vectors, and those of windows heard.

        Parameters
        ----------
        rows
            Numbers of the windows, sorted.
        most_heard
            Of the windows that were heard so many are taken, drawn at random if there are more.
        random
            Draws them.
        """
        clustered = self.runs.get("clusters") or ()
        made_from = clustered[0].sources("embeddings") if clustered and self.as_clustered else []
        runs = made_from or [self._only("embeddings", "embed", "This order needs vectors")]
        self.reads |= {f"vectors{i or ''}": run for i, run in enumerate(runs)}
        sets = open_vectors([run.output.url for run in runs])
        there = Population(windows_of(sets), sets.grid)
        windows = self.population.windows.take(rows)
        has_vector = there.find(windows.recorder, windows.cell) >= 0
        heard = self.heard.take(np.flatnonzero(there.find(self.heard.recorder, self.heard.cell) >= 0))
        if len(heard) > most_heard:
            heard = heard.take(np.sort(random.permutation(len(heard))[:most_heard]))
        found, before = (read_windows(sets, some) for some in (windows.take(np.flatnonzero(has_vector)), heard))
        scaling = self._scaling(sets, found, is_clustered=bool(made_from))
        return rows[has_vector], scaled(found, scaling), scaled(before, scaling) if len(before) else before

    def scores(self, name: str) -> dict[str, NDArray[np.float64]]:
        """Return ``score`` or ``probability`` of every window of the population by sound; NaN where there is none.

        Raises
        ------
        InputError
            If the study has no detections, or they are of none of the sounds.
        """
        run = self._only("detections", "detect", "This order needs the scores of detectors")
        windows = self.population.windows
        with open_detections(run.output.url) as store:
            known = scored_sounds(run)
            wanted = [sound for sound in self.sounds if sound in known]
            found = {
                sound: values_at(
                    store.isel(sound=known.index(sound)), name, windows.recorder, windows.cell
                ).astype(np.float64)
                for sound in wanted
            }  # fmt: skip
        without = [sound for sound in self.sounds if sound not in found or np.isnan(found[sound]).all()]
        scored = {sound: values for sound, values in found.items() if sound not in without}
        if not scored:
            raise InputError(
                f"run {run.name!r} has no scores of {', '.join(without)}; it has those of "
                f"{', '.join(known) or 'none'}. Hear more windows first, with --order typical."
            )
        if without:
            self.notes.append(
                f"run {run.name!r} has no scores of {', '.join(without)}; they play no part in the choice"
            )
        return scored

    def probabilities(self) -> NDArray[np.float64]:
        """Return the probability of each window of the population and sound; NaN where there is none.

        Without detections all are NaN: a draw for counts needs none.
        """
        shape = (len(self.population), len(self.sounds))
        if not self.runs.get("detections"):
            self.notes.append("there are no detections: windows are drawn with equal probabilities")
            return np.full(shape, np.nan)
        found = self.scores("probability")
        missing = np.full(shape[0], np.nan)
        return np.stack([found.get(sound, missing) for sound in self.sounds], axis=1)

    def proposals(self, windows: Windows) -> list[str]:
        """Return the name that people gave to the cluster of each window; empty where there is none."""
        runs = self.runs.get("clusters") or ()
        if not runs:
            return [""] * len(windows)
        try:
            names = {name.cluster: name.name for name in read_names(runs[0].output).rows if name.name}
        except DawnchorusError as error:
            self.notes.append(f"names of clusters are not shown: {error}")
            names = {}
        if not names:
            return [""] * len(windows)
        self.reads["clusters"] = runs[0]
        return [names.get(int(cluster), "") for cluster in clusters_of(runs[0], windows)]

    def record(self) -> dict[str, Any]:
        """Return what was read, as a batch keeps it."""
        return {role: _read(run) for role, run in sorted(self.reads.items())}

    def _only(self, kind: str, job: str, why: str) -> Run:
        runs = self.runs.get(kind) or ()
        if not runs:
            raise InputError(
                f"{why}, and the study has none that are done. Run a {job!r} run of the manifest, or take another "
                "--order; random needs nothing."
            )
        self.reads[kind] = runs[0]
        return runs[0]

    def _scaling(self, sets: VectorSets, sample: Vectors, *, is_clustered: bool) -> Scaling:
        """Return how vectors are scaled: as the clustering does it, or whitened over the sample."""
        if is_clustered:
            clusters = self.clustering()
            with open_clusters(clusters.output.url) as store:
                return stored_scaling(store)
        parts = np.split(sample, np.cumsum(sets.n_features)[:-1], axis=1)
        return whitening([moments(part, products=True) for part in parts])


def finished_runs(
    manifest: Manifest, cube: Run, named: Mapping[str, str | None]
) -> tuple[dict[str, list[Run]], Run | None]:
    """Return the runs of each kind that are done and of the windows to ask about, and vectors whose windows they are.

    Parameters
    ----------
    manifest, cube
        The study, and its run of spectrograms.
    named
        Names that the user gave, by kind.

    Notes
    -----
    The windows are those of the runs that the user named. If none is named they are the cube's; those of imported
    vectors, which are not the cube's, where the study has no vectors of the cube's own.

    Returns
    -------
    tuple
        Runs by kind; clusterings that an atlas shows come first: they are what people know. And imported vectors, or
        ``None`` for the cube's windows.

    Raises
    ------
    InputError
        If a named run is not one of them.
    """
    shown = {source.name for run in manifest.runs.values() if run.kind == "atlas" for source in run.inputs.values()}
    done: dict[str, list[Run]] = {}
    for run in manifest.runs.values():
        if cube.name in {one.name for one in run.above()} and finished(run) is not None and run.output.exists(""):
            done.setdefault(run.kind, []).append(run)
    for runs in done.values():
        runs.sort(key=lambda run: run.name not in shown)
    for kind, name in named.items():
        if name is None:
            continue
        runs = done.get(kind, [])
        if name not in [run.name for run in runs]:
            known = near_or_all(name, [run.name for run in runs])
            raise InputError(f"--{kind} {name}: expected a run of {kind} that is done, of {cube.name!r}; {known}.")
        runs.sort(key=lambda run: run.name != name)
    own_windows = {
        run.name for runs in done.values() for run in runs if run.job == "import" and not _is_of_cube(run, cube)
    }
    made_of = {run.name: _imported(run, own_windows) for runs in done.values() for run in runs}
    asked = _asked_about(done, made_of, [kind for kind, name in named.items() if name is not None])
    kept = {kind: [run for run in runs if made_of[run.name] == asked] for kind, runs in done.items()}
    return {kind: runs for kind, runs in kept.items() if runs}, manifest.runs.get(asked)


def _asked_about(done: Mapping[str, Sequence[Run]], made_of: Mapping[str, str], named: Sequence[str]) -> str:
    """Return the name of the imported vectors whose windows are asked about; empty for the cube's windows."""
    firsts = {made_of[done[kind][0].name] for kind in named}
    if len(firsts) > 1:
        told = ", ".join(done[kind][0].name for kind in named)
        raise InputError(f"{told}: expected runs of the same windows, found those of other vectors. Name runs of one.")
    if firsts:
        return firsts.pop()
    found = [made_of[run.name] for kind in ("clusters", "embeddings") for run in done.get(kind, [])]
    return "" if "" in found or not found else found[0]


def _imported(run: Run, own_windows: Set[str]) -> str:
    """Return the name of the imported vectors, of windows of their own, that a run is made of; empty if none."""
    return next((one.name for one in (run, *run.above()) if one.name in own_windows), "")


def _is_of_cube(vectors: Run, cube: Run) -> bool:
    """Return whether imported vectors have windows that begin with those of the cube."""
    with open_embeddings(vectors.output.url) as store, open_cube(cube.output.url) as there:
        if not grid_of(store).has_cells_of(grid_of(there)):
            return False
        windows = usable_windows(store, status="embedding_status")
        starts_ms = starts_of(store, windows)
        return bool((starts_ms == grid_of(store).origin_ms + windows.cell * grid_of(store).hop_ms).all())


def scored_sounds(run: Run) -> list[str]:
    """Return the sounds that a run of detections has detectors of."""
    with open_detections(run.output.url) as store:
        return [str(sound) for sound in store["sound"].to_numpy()]


def clusters_of(run: Run, windows: Windows) -> NDArray[np.int64]:
    """Return the cluster of each window in a clustering; -1 where it has none."""
    array = open_array(run.output.url, "cluster")
    out = np.full(len(windows), -1, dtype=np.int64)
    reached = (windows.recorder < array.shape[0]) & (windows.cell < array.shape[1])
    if reached.any():
        out[reached] = read_rows(array, windows.recorder[reached], windows.cell[reached])
    return out


def windows_of(sets: VectorSets) -> Windows:
    """Return the windows of vector sets."""
    recorder = [np.full(len(span.cells), span.recorder, dtype=np.int32) for span in sets.spans]
    cells = [span.cells for span in sets.spans]
    none = np.empty(0, dtype=np.int64)
    return Windows(np.concatenate([none.astype(np.int32), *recorder]), np.concatenate([none, *cells]))


def read_windows(sets: VectorSets, windows: Windows) -> Vectors:
    """Return the vectors of single windows, sorted by recorder and time, the sets side by side."""
    per_chunk = int(np.lcm.reduce([array.chunks[1] for array in sets.arrays]))
    spans = spans_of(windows, cells_per_day=sets.grid.cells_per_day, cells_per_chunk=per_chunk)

    def read(span: Span) -> Vectors:
        return read_span(sets, span)

    parts = list(in_threads(read, spans, THREADS))
    return np.concatenate(parts) if parts else np.empty((0, sum(sets.n_features)), dtype=np.float32)


def _read(run: Run) -> dict[str, Any]:
    receipt = finished(run) or {}
    found = {"run": run.name, "config_id": run.config_id, "content_id": receipt.get("content_id")}
    return found | ({"names_sha256": names_digest(run.output)} if run.kind == "clusters" else {})
