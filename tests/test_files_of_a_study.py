"""How many files a study becomes, as docs/clusters.md says it."""

from pathlib import Path

import numpy as np
from stores import make_cube, random_codes

from jobs.spectrograms.config import Config
from lake.constants import MS_PER_DAY
from lake.grid import Grid
from lake.schema import cluster_spec, cube_spec, embedding_spec
from lake.specs import StoreSpec

DAYS_OF_CONTINUOUS = 76
MOST = 50_000


def specs(config: Config) -> list[StoreSpec]:
    grid = Grid(0, 30 * MS_PER_DAY, config.window_ms, config.hop_ms)
    size = {"n_mels": config.n_mels, "n_frames": config.n_frames, "cells_per_shard": config.cells_per_shard}
    return [
        cube_spec(grid, **size, attrs={}), embedding_spec(grid, n_features=384, dtype="float32", attrs={}),
        cluster_spec(grid, n_clusters=100, n_features=384, n_exemplars=9, attrs={}),
    ]  # fmt: skip


def files_a_day(config: Config, every_s: float, length_s: float) -> int:
    """Return the files of a recorder's day on which recordings of a length begin every so many seconds."""
    starts = np.arange(0, 86_400, every_s)
    total = 0
    for spec in specs(config):
        shard_s = spec.cells_per_block * config.hop_ms / 1000
        last = starts + max(0.0, length_s - config.window_ms / 1000)
        shards = {
            shard
            for a, b in zip(starts, last, strict=True)
            for shard in range(int(a // shard_s), int(b // shard_s) + 1)
        }
        total += len(shards) * len(spec.data) + len(spec.index) + 1  # and its ledger
    return total


def test_the_figures_in_the_docs() -> None:
    usual, long = Config(window_s=6.0, hop_s=3.0), Config(window_s=6.0, hop_s=3.0, shard_windows=1200)
    days = [files_a_day(usual, 86_400, 86_400), files_a_day(usual, 600, 60), files_a_day(long, 600, 60)]
    assert days == [305, 161, 41]
    assert days[0] * DAYS_OF_CONTINUOUS < MOST, "2.2 million windows, 2.3 TB"
    assert days[2] * 770 < MOST
    text = (Path(__file__).parents[1] / "docs/clusters.md").read_text()
    for day in days:
        assert f"| {day} |" in text


def test_a_written_store_has_so_many(tmp_path: Path) -> None:
    """Two recorders on two days of two shards each; index variables; a ledger for each day."""
    run = make_cube(tmp_path, random_codes(n_per_day=144))
    store = Path(run.output.url)
    chunks = [path for path in store.glob("*/c*") if path.is_file()]
    on_cells = {"spectrogram", "quality", "recording", "offset_s", "coverage", "level_db", "peak_db", "deployment"}
    on_cells |= {"utc_offset_s", "status"}
    # Nothing is noticed in any window: `quality` is all fill value, which costs no file.
    assert len([path for path in chunks if path.parent.name in on_cells]) == 2 * 2 * (2 + 9 - 1)
    assert not list(store.glob("quality/c*"))
    assert len(list(Path(run.ledger.storage.url).glob("*/*.jsonl"))) == 2 * 2
