"""A small clustering for tests, and all that it writes."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from stores import make_embeddings, make_run

from jobs.cluster import command
from jobs.cluster.config import Config
from jobs.common.run import Options, Run
from lake.read import open_clusters

CONFIG = Config(
    n_clusters=5, batch_size=32, n_init_windows=120, buffer_windows=64, n_exemplars=3, exemplar_span_s=1800,
    n_refits=2, scan_n_clusters=(2, 3, 4), n_epochs=4,
)  # fmt: skip


def study(lake: Path, config: Config = CONFIG, *, n_days: int = 4) -> Run[Config]:
    """Return a run on vectors of two recorders, a third of whose windows are there."""
    random = np.random.default_rng(3)
    kinds = random.integers(5, size=(2, n_days * 144))
    vectors = np.random.default_rng(9).normal(size=(5, 6))[kinds] * 3 + random.normal(size=(*kinds.shape, 6))
    vectors[random.random(kinds.shape) > 0.3] = np.nan
    embeddings = make_embeddings(lake, vectors.astype(np.float32))
    return make_run(lake, "clusters", "cluster", config, inputs={"embeddings": embeddings})


def contents(run: Run[Config]) -> dict[str, bytes]:
    lines = {key: run.ledger.storage.read(key) for key in run.ledger.line_files()}
    return {**{key: run.output.read(key) for key in run.output.list_keys()}, **lines}


def vectors_of(n_recorders: int = 2, n_days: int = 4) -> NDArray[np.float32]:
    """Return vectors of five kinds, a third of them there; the same of each cell, whatever the extent."""
    out = np.full((3, 10 * 144, 6), np.nan, dtype=np.float32)
    for i in range(3):
        random = np.random.default_rng(i)
        kinds = random.integers(5, size=out.shape[1])
        out[i] = np.random.default_rng(9).normal(size=(5, 6))[kinds] * 3 + random.normal(size=(len(kinds), 6))
        out[i, random.random(len(kinds)) > 0.3] = np.nan
    return out[:n_recorders, : n_days * 144]


def without(vectors: NDArray[np.float32], *gaps: tuple[int, slice]) -> NDArray[np.float32]:
    out = vectors.copy()
    for recorder, cells in gaps:
        out[recorder, cells] = np.nan
    return out


def clustered(lake: Path, vectors: NDArray[np.float32], config: Config = CONFIG, **options: Any) -> Run[Config]:
    """Give a lake these vectors, and cluster or go on with them."""
    recorders = ("north", "south", "west")[: len(vectors)]
    embeddings = make_embeddings(lake, vectors, recorders=recorders)
    run = make_run(lake, "clusters", "cluster", config, inputs={"embeddings": embeddings})
    command.execute(run, Options(**options))
    return run


def loaded(run: Run[Config]) -> xr.Dataset:
    with open_clusters(run.output.url) as store:
        return store.load()
