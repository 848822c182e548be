"""Stores of the size of real studies, made quickly: the same few days stand for all of them."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.common.config import identity_config
from jobs.common.run import Run
from jobs.embed.config import Config as EmbedConfig
from lake.constants import MS_PER_DAY, STATUS
from lake.grid import Grid
from lake.identity import config_id
from lake.layout import Lake
from lake.ledger import Entry
from lake.schema import embedding_spec
from lake.write import commit, write_block

HOP_MS = 6_000
PER_DAY = MS_PER_DAY // HOP_MS
ORIGIN_MS = int(np.datetime64("2021-05-01", "ms").astype(np.int64))


def kinds_of_sound(n_windows: int, n_features: int, *, n_kinds: int = 150, seed: int = 0) -> NDArray[np.float32]:
    """Return vectors of kinds of sound that overlap, float32, shape (n_windows, n_features)."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(n_kinds, n_features)).astype(np.float32)
    vectors = random.standard_normal((n_windows, n_features), dtype=np.float32)
    return vectors * np.float32(1.5) + centres[random.integers(n_kinds, size=n_windows)]


def embedding_run(lake: Path, name: str, *, n_windows: int, n_features: int, n_recorders: int, n_base: int) -> Run:
    """Write an embedding store of full days; days after the first ``n_base`` are links to those.

    Parameters
    ----------
    n_windows
        In all; the last day of each recorder may be shorter.
    n_base
        Different days; as many as there are make every window its own.
    """
    config = EmbedConfig(features="logmel")
    identity = config_id("embed", 1, identity_config(config), {})
    run = Run(Lake(str(lake)), name, "embed", "embeddings", config, 1, identity, {})
    run.ledger.open_run(name, run.record)
    each = -(-n_windows // n_recorders)
    n_days = -(-each // PER_DAY)
    grid = Grid(ORIGIN_MS, ORIGIN_MS + n_days * MS_PER_DAY, HOP_MS, HOP_MS)
    spec = embedding_spec(grid, n_features=n_features, dtype="float32", attrs={**run.store_attrs, "grid": grid.attrs})
    recorders = [f"recorder {i}" for i in range(n_recorders)]
    run.ledger.settle_grid(grid, recorders)
    made: dict[tuple[int, int], tuple[str, str]] = {}
    left = n_windows
    for i, recorder in enumerate(recorders):
        for day in range(n_days):
            n = min(PER_DAY, each - day * PER_DAY, left)
            left -= n
            seed = (i * n_days + day) % n_base
            cells = list(range(day * PER_DAY, day * PER_DAY + n))
            status = {"embedding_status": [STATUS["ok"]] * n}
            entry = Entry(recorder, day, "bench", {}, cells, [], status, backend="numpy")
            if (seed, n) in made:
                source, digest = made[seed, n]
                key = f"embedding/c.{i}.{day}.0"
                os.link(run.output.path(source), run.output.path(key))
                run.ledger.add(grid.day_of(cells[0]), Entry(**{**vars(entry), "files": {key: digest}}))
                continue
            block = np.full((1, PER_DAY, n_features), np.nan, dtype=np.float32)
            block[0, :n] = kinds_of_sound(n, n_features, seed=seed)
            written = write_block(run.output, run.ledger, spec, {"embedding": block}, entry, i_recorder=i)
            made[seed, n] = next(iter(written.files.items()))
    tables = {"feature": np.arange(n_features, dtype=np.int32)}
    commit(run.output, run.ledger, spec, recorders, tables)
    return run
