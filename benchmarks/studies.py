"""Stores of the size of real studies, made quickly: the same few days stand for all of them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.common.config import identity_config
from jobs.common.run import Run
from jobs.embed.config import Config as EmbedConfig
from jobs.spectrograms.config import Config as CubeConfig
from lake.constants import MS_PER_DAY, STATUS
from lake.grid import Grid
from lake.identity import config_id
from lake.layout import Lake
from lake.ledger import Entry
from lake.schema import DEPLOYMENT_COLUMNS, RECORDING_COLUMNS, cube_spec, embedding_spec
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


def embedding_run(
    lake: Path,
    name: str,
    *,
    n_windows: int,
    n_features: int,
    n_recorders: int,
    n_base: int | None = None,
    dtype: str = "float32",
) -> Run:
    """Write an embedding store of full days, one in memory at a time; one that is there grows.

    Parameters
    ----------
    n_windows
        In all; the last day of each recorder may be shorter.
    n_base
        Different days, to which all later ones are links; all days differ if ``None``.
    dtype
        Type of the vectors in the store.
    """
    config = EmbedConfig(features="logmel")
    identity = config_id("embed", 1, identity_config(config), {})
    run = Run(Lake(str(lake)), name, "embed", "embeddings", config, 1, identity, {})
    run.ledger.open_run(name, run.record)
    each = -(-n_windows // n_recorders)
    n_days = -(-each // PER_DAY)
    grid = Grid(ORIGIN_MS, ORIGIN_MS + n_days * MS_PER_DAY, HOP_MS, HOP_MS)
    spec = embedding_spec(grid, n_features=n_features, dtype=dtype, attrs={**run.store_attrs, "grid": grid.attrs})
    recorders = [f"recorder {i}" for i in range(n_recorders)]
    run.ledger.settle_grid(grid, recorders)
    made: dict[tuple[int, int], tuple[str, str]] = {}
    left, there = n_windows, run.ledger.written()
    for i, recorder in enumerate(recorders):
        for day in range(n_days):
            n = min(PER_DAY, each - day * PER_DAY, left)
            left -= n
            if n == PER_DAY and (recorder, day) in there:
                continue
            seed = (i * n_days + day) % (n_base or n_recorders * n_days)
            cells = list(range(day * PER_DAY, day * PER_DAY + n))
            status = {"embedding_status": [STATUS["ok"]] * n}
            entry = Entry(recorder, day, "bench", {}, cells, [], status, backend="numpy")
            if (seed, n) in made:
                _link(run, grid, entry, made[seed, n], f"embedding/c.{i}.{day}.0")
                continue
            block = np.full((1, PER_DAY, n_features), np.nan, dtype=dtype)
            block[0, :n] = kinds_of_sound(n, n_features, seed=seed)
            written = write_block(run.output, run.ledger, spec, {"embedding": block}, entry, i_recorder=i)
            made[seed, n] = next(iter(written.files.items()))
    tables = {"feature": np.arange(n_features, dtype=np.int32)}
    commit(run.output, run.ledger, spec, recorders, tables)
    return run


def cube_run(lake: Path, name: str, *, n_days: int, per_day: int, shape: tuple[int, int]) -> Run:
    """Write a cube of one recorder and full days; days after the first are links to it.

    Parameters
    ----------
    per_day
        Windows of a day; 86,400 s are a multiple of it.
    shape
        Bands and frames of a window.
    """
    hop_ms = MS_PER_DAY // per_day
    config = CubeConfig(
        window_s=hop_ms / 1000, hop_s=hop_ms / 1000, n_mels=shape[0], n_frames=shape[1], shard_windows=per_day
    )
    identity = config_id("spectrograms", 2, identity_config(config), {})
    run = Run(Lake(str(lake)), name, "spectrograms", "spectrograms", config, 2, identity, {})
    run.ledger.open_run(name, run.record)
    grid = Grid(ORIGIN_MS, ORIGIN_MS + n_days * MS_PER_DAY, hop_ms, hop_ms)
    spec = cube_spec(
        grid, n_mels=shape[0], n_frames=shape[1], cells_per_shard=per_day, attrs={**run.store_attrs, "grid": grid.attrs}
    )
    run.ledger.settle_grid(grid, ["recorder"])
    random = np.random.default_rng(0)
    levels = random.integers(60, 120, (per_day, shape[0], 1)) + random.integers(0, 16, (per_day, 1, shape[1]))
    codes = levels.astype(np.uint8)[None]
    index = {"status": STATUS["ok"], "quality": 0, "recording": 0, "offset_s": 0.0, "coverage": 1.0, "level_db": -40.0,
             "peak_db": -20.0, "deployment": 0, "utc_offset_s": 0}  # fmt: skip
    written: Entry | None = None
    for day in range(n_days):
        cells = list(range(day * per_day, (day + 1) * per_day))
        each = {key: [value] * per_day for key, value in index.items()}
        entry = Entry("recorder", day, "bench", {}, cells, [], each, backend="numpy")
        if written is None:
            written = write_block(run.output, run.ledger, spec, {"spectrogram": codes}, entry, i_recorder=0)
        else:
            entry = replace(entry, digests=written.digests)
            _link(run, grid, entry, next(iter(written.files.items())), f"spectrogram/c.0.{day}.0.0")
    columns = {key: fill for key, (_, fill) in {**RECORDING_COLUMNS, **DEPLOYMENT_COLUMNS}.items()}
    columns |= {
        "time_is_real": True, "recording_path": "a.wav", "recording_sha256": "0" * 64, "recording_recorder": "recorder",
        "recording_start_ms": ORIGIN_MS, "recording_n_samples": 1, "recording_sample_rate_hz": 48_000,
        "deployment_name": "", "deployment_recorder": "", "site": "", "latitude": np.nan, "longitude": np.nan,
        "gain_db": np.nan, "habitat": "", "zone": "",
    }  # fmt: skip
    tables: dict[str, NDArray[np.generic]] = {
        key: np.full(1, value, dtype=object if isinstance(value, str) else None) for key, value in columns.items()
    }
    tables |= {"mel": np.linspace(100, 100 * shape[0], shape[0]), "frame": np.arange(shape[1]) * 0.02}
    commit(run.output, run.ledger, spec, ["recorder"], tables)
    return run


def _link(run: Run, grid: Grid, entry: Entry, file: tuple[str, str], key: str) -> None:
    """Write a block as a link to a file that is there, given by its key and digest."""
    os.link(run.output.path(file[0]), run.output.path(key))
    run.ledger.add(grid.day_of(entry.cells[0]), replace(entry, files={key: file[1]}))
