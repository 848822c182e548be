"""A small clustering for tests, and all that it writes."""

from pathlib import Path

import numpy as np
from stores import make_embeddings, make_run

from jobs.cluster.config import Config
from jobs.common.run import Run

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
