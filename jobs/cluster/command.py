"""The ``cluster`` job: embeddings and the cluster store around the pure core."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from jobs.cluster.batches import Read, batches
from jobs.cluster.config import Config
from jobs.cluster.core import (
    Clustering,
    Moments,
    Scale,
    Vectors,
    assign,
    first_centroids,
    fit,
    merged,
    moments,
    number_of_clusters,
    scale_of,
    scaled,
    schedule,
)
from jobs.cluster.exemplars import Candidates, exemplars, joined, narrowed, span_of
from jobs.cluster.stretches import Stretch, by_day, read_stretch, stretches
from jobs.common.partitions import map_partitions
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run
from lake.errors import InputError
from lake.grid import Grid
from lake.identity import short_hash
from lake.ledger import Entry, Ledger
from lake.read import grid_of, open_array, open_embeddings, usable_windows
from lake.schema import StoreSpec, cluster_spec
from lake.storage import Storage
from lake.write import commit, write_block

WINDOWS_PER_PROCESS = 500_000
"""With fewer, a process takes longer to start than to read them."""


@dataclass(frozen=True)
class Source:
    """The windows that are clustered.

    Attributes
    ----------
    url, recorders, grid, n_features
        The embedding store.
    parts
        All usable windows, in stretches.
    """

    url: str
    recorders: tuple[str, ...]
    grid: Grid
    n_features: int
    parts: list[Stretch]

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return sum(len(part.cells) for part in self.parts)


@dataclass(frozen=True)
class Survey:
    """One day as the first pass reads it: its stretches, and the rows among all windows that are sampled."""

    url: str
    parts: tuple[Stretch, ...]
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Labelling:
    """One day as the last pass reads and writes it."""

    url: str
    parts: tuple[Stretch, ...]
    store: Storage
    ledger: Ledger
    spec: StoreSpec
    recorder: str
    clustering: Clustering
    config: Config
    inputs: str
    backend: str


@dataclass(frozen=True)
class Labelled:
    """What a day's labels say: windows of each cluster, the sum of squared distances, windows near centroids."""

    n_windows: NDArray[np.int64]
    inertia: float
    near: Candidates


def execute(run: Run, options: Options) -> Outcome:
    """Fit centroids, label every window and finalise the store.

    Raises
    ------
    InputError
        If there are no windows, or fewer than clusters.
    """
    config = cast("Config", run.config)
    source = _source(run, config)
    n_clusters = _n_clusters(run, config, source)
    processes = min(options.workers, -(-source.n_windows // WINDOWS_PER_PROCESS))
    with threadpool_limits(1):
        scale, sample = _survey(run, source, n_clusters, workers=processes)
        start = Clustering(scale, first_centroids(sample, n_clusters, config.seed))
        return _label(run, source, _fit(run, source, start, threads=options.workers), workers=processes)


def _source(run: Run, config: Config) -> Source:
    url = run.inputs["embeddings"].output.url
    with open_embeddings(url) as dataset:
        grid = grid_of(dataset)
        windows = usable_windows(dataset, partial=config.partial, status="embedding_status")
        recorders, n_features = tuple(dataset["recorder"].to_numpy().tolist()), dataset.sizes["feature"]
    chunk = open_array(url, "embedding").chunks[1]
    parts = stretches(windows, cells_per_day=grid.cells_per_day, cells_per_chunk=chunk)
    return Source(url, recorders, grid, n_features, parts)


def _n_clusters(run: Run, config: Config, source: Source) -> int:
    n_windows, name = source.n_windows, run.inputs["embeddings"].name
    if not n_windows:
        raise InputError(f"run {run.name!r}: {name!r} has no usable window; there is nothing to cluster.")
    wanted = number_of_clusters(config.n_clusters, n_windows)
    if wanted > n_windows:
        raise InputError(
            f"run {run.name!r}: n_clusters = {wanted}, but {name!r} has only {n_windows} usable windows. "
            f"Set n_clusters to {n_windows} at most, or to 'auto' "
            f"(which would make {number_of_clusters('auto', n_windows)} clusters of them)."
        )
    return wanted


def _survey(run: Run, source: Source, n_clusters: int, *, workers: int) -> tuple[Scale, Vectors]:
    """Return how to scale vectors, and a scaled sample of them, uniform over all windows."""
    config, n_windows = cast("Config", run.config), source.n_windows
    n_sample = min(n_windows, max(config.n_init_windows, 10 * n_clusters))
    rows = np.sort(np.random.default_rng([config.seed, 0]).choice(n_windows, n_sample, replace=False))
    tasks = []
    for parts in by_day(source.parts):
        last = parts[-1].first_row + len(parts[-1].cells)
        here = rows[np.searchsorted(rows, parts[0].first_row) : np.searchsorted(rows, last)]
        tasks.append(Survey(source.url, parts, here))
    with progress(f"{run.name}: statistics", n_windows, "windows") as advance:
        found = map_partitions(survey, tasks, workers=workers, advance=advance, n_units=_n_windows)
    scale = scale_of(merged(part for part, _ in found), config.normalise)
    return scale, scaled(np.concatenate([sample for _, sample in found]), scale)


def survey(task: Survey) -> tuple[Moments, Vectors]:
    """Return the moments of a day's vectors and the sampled ones among them, unscaled."""
    array = open_array(task.url, "embedding")
    parts, samples = [], []
    for part in task.parts:
        vectors = read_stretch(array, part)
        parts.append(moments(vectors))
        here = task.rows[(task.rows >= part.first_row) & (task.rows < part.first_row + len(vectors))]
        samples.append(vectors[here - part.first_row])
    return merged(parts), np.concatenate(samples)


def _fit(run: Run, source: Source, start: Clustering, *, threads: int) -> Clustering:
    config = cast("Config", run.config)
    plan = schedule(source.n_windows, start.n_clusters, config.batch_size, config.n_epochs, config.max_batches)
    read = _reader(source, start.scale, keep=source.n_windows <= config.buffer_windows)
    stream = batches(
        read, [len(part.cells) for part in source.parts], plan,
        buffer_windows=config.buffer_windows, seed=config.seed, threads=threads,
    )  # fmt: skip
    with progress(f"{run.name}: fit", plan.n_batches * plan.batch_size, "windows") as advance:

        def counted(batch: Vectors) -> Vectors:
            advance(len(batch))
            return batch

        return Clustering(start.scale, fit(map(counted, stream), start.centroids, config, plan))


def _reader(source: Source, scale: Scale, *, keep: bool) -> Read:
    """Return the function that reads a stretch; it keeps what it has read where all of it fits the buffer."""
    array = open_array(source.url, "embedding")

    def read(i: int) -> Vectors:
        return scaled(read_stretch(array, source.parts[i]), scale)

    return lru_cache(maxsize=None)(read) if keep else read


def _label(run: Run, source: Source, clustering: Clustering, *, workers: int) -> Outcome:
    config, n_clusters = cast("Config", run.config), clustering.n_clusters
    spec = _spec(run, source, n_clusters)
    tasks = _labellings(run, source, spec, clustering)
    run.ledger.settle_grid(source.grid, source.recorders)
    with progress(f"{run.name}: labels", source.n_windows, "windows") as advance:
        found = map_partitions(label, tasks, workers=workers, advance=advance, n_units=_n_windows)
    n_windows = np.sum([day.n_windows for day in found], axis=0)
    near = exemplars(joined([day.near for day in found]), n_clusters, config.n_exemplars)
    tables = {
        "feature": np.arange(source.n_features, dtype=np.int32),
        "feature_mean": clustering.scale.mean,
        "feature_deviation": clustering.scale.deviation,
        "cluster_id": np.arange(n_clusters, dtype=np.int16),
        "n_windows": n_windows,
        "centroid": clustering.centroids,
        "exemplar_recorder": near[0].astype(np.int32),
        "exemplar_cell": near[1],
    }
    commit(run.output, run.ledger, spec, source.recorders, tables)
    inertia = sum(day.inertia for day in found)
    counts = {
        "windows": source.n_windows,
        "clusters": n_clusters,
        "empty_clusters": int(np.count_nonzero(n_windows == 0)),
        "mean_square_distance": float(f"{inertia / source.n_windows:.6g}"),
    }
    return Outcome(did=True, counts=counts, backend=tasks[0].backend)


def _labellings(run: Run, source: Source, spec: StoreSpec, clustering: Clustering) -> list[Labelling]:
    made = run.inputs["embeddings"].ledger.written()
    digest = hashlib.sha256(clustering.centroids.tobytes()).hexdigest()
    backend = _backend()
    tasks = []
    for parts in by_day(source.parts):
        recorder, day = source.recorders[parts[0].recorder], parts[0].day
        inputs = short_hash([digest, sorted(made[recorder, day].files.items())])
        config = cast("Config", run.config)
        tasks.append(
            Labelling(source.url, parts, run.output, run.ledger, spec, recorder, clustering, config, inputs, backend)
        )
    return tasks


def label(task: Labelling) -> Labelled:
    """Label the windows of a day, write its block, and return what they say."""
    spec, i_recorder = task.spec, task.parts[0].recorder
    array = open_array(task.url, "embedding")
    blocks = {data.name: np.full(data.block, data.fill, dtype=data.dtype) for data in spec.data}
    cells = np.concatenate([part.cells for part in task.parts])
    first = task.parts[0].day * spec.cells_per_block
    for part in task.parts:
        labels, distances = assign(scaled(read_stretch(array, part), task.clustering.scale), task.clustering.centroids)
        blocks["cluster"][0, part.cells - first] = labels
        blocks["distance"][0, part.cells - first] = distances
    status = open_array(task.url, "embedding_status")[i_recorder, first : first + spec.cells_per_block]
    entry = Entry(
        recorder=task.recorder, block=task.parts[0].day, inputs=task.inputs, files={}, cells=cells.tolist(), digests=[],
        index={"cluster_status": np.asarray(status)[cells - first].tolist()}, backend=task.backend,
    )  # fmt: skip
    write_block(task.store, task.ledger, spec, blocks, entry, i_recorder=i_recorder)
    labels, distances = blocks["cluster"][0, cells - first], blocks["distance"][0, cells - first]
    span_ms = round(task.config.exemplar_span_s * 1000)
    span = span_of(cells, hop_ms=spec.grid.hop_ms, cells_per_day=spec.grid.cells_per_day, span_ms=span_ms)
    windows = Candidates(labels, distances, np.full(len(cells), i_recorder, dtype=np.int32), cells, span)
    inertia = float(np.square(distances, dtype=np.float64).sum())
    n_windows = np.bincount(labels, minlength=task.clustering.n_clusters)
    return Labelled(n_windows, inertia, narrowed(windows, task.config.n_exemplars))


def _spec(run: Run, source: Source, n_clusters: int) -> StoreSpec:
    config, grid, n_features = cast("Config", run.config), source.grid, source.n_features
    attrs = {**run.store_attrs, "grid": grid.attrs}
    return cluster_spec(grid, n_clusters=n_clusters, n_features=n_features, n_exemplars=config.n_exemplars, attrs=attrs)


def _backend() -> str:
    """Return the processor that the linear algebra library works for, such as ``cpu-SkylakeX``."""
    kinds = sorted({str(info["architecture"]) for info in threadpool_info() if info.get("architecture")})
    return "-".join(["cpu", *kinds])


def _n_windows(task: Survey | Labelling) -> int:
    return sum(len(part.cells) for part in task.parts)
