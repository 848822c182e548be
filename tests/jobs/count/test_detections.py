"""The ``count`` job with detections: a draw guided by a detector, verdicts on it, and tables that follow both."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from detectors import CELLS_PER_DAY, HOP_MS, detected, heard, learnt, vectors_with_sounds
from numpy.typing import NDArray
from stores import ORIGIN_MS, finish, judge, make_cube, make_embeddings, make_run, random_codes

from jobs.common.run import Options, Run
from jobs.count import command
from jobs.count.config import Config
from jobs.review.orders import Population, for_counts
from lake.batches import COLUMNS, Batch, keep_batch
from lake.grid import Grid
from lake.layout import Lake
from lake.read import Windows, grid_of, open_cube, open_detections, values_at
from lake.tables import make_table
from lake.verdicts import read_verdicts

SOUNDS = ("wren", "rain", "frog")
RECORDERS = ("north", "south")
NUMBER_OF_DRAWS = 60


class Study:
    """Two recorders, three sounds, vectors, heads from 120 windows, detections, and a run of counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values, self.has = vectors_with_sounds()
        there = ~np.isnan(self.values[..., 0])
        codes = random_codes(n_days=5, n_per_day=CELLS_PER_DAY)
        codes[~there] = 0
        codes[there] = np.maximum(codes[there], 1)
        self.cube = make_cube(folder, codes)
        self.vectors = make_embeddings(folder, self.values, cube=self.cube)
        for run in (self.cube, self.vectors):
            finish(run)
        heard(folder, self.values, self.has)
        self.heads = learnt(folder, self.vectors)
        self.found = detected(folder, self.vectors, self.heads)
        inputs: Mapping[str, Run] = {"spectrograms": self.cube, "detections": self.found}
        self.counts = make_run(folder, "counts", "count", Config(), inputs=inputs)

    def draw(self, seed: int) -> Batch:
        """Draw windows for a count as ``review --order count`` does, of those that were not heard, and keep them."""
        grid, lake = self.grid, Lake(str(self.folder))
        known = set(self.heard_windows())
        places = [tuple(place) for place in np.argwhere(~np.isnan(self.values[..., 0])).tolist()]
        left = np.array([place for place in places if place not in known])
        windows = Windows(left[:, 0].astype(np.int32), left[:, 1])
        with open_detections(self.found.output.url) as store:
            probability = np.stack(
                [
                    values_at(store.sel(sound=sound), "probability", windows.recorder.astype(np.int64), windows.cell)
                    for sound in SOUNDS
                ],
                axis=1,
            ).astype(np.float64)
        chosen = for_counts(Population(windows, grid), probability, NUMBER_OF_DRAWS, np.random.default_rng(seed))
        assert chosen.probability is not None
        rows = [
            {
                "draw": i, "recorder": RECORDERS[left[row, 0]],
                "time_utc": pd.Timestamp(grid.start_ms(int(left[row, 1])), unit="ms"), "duration_s": 6.0,
                "probability": chosen.probability[i], "stratum": chosen.stratum[i], "score": np.nan, "proposal": "",
            }
            for i, row in enumerate(chosen.rows.tolist())
        ]  # fmt: skip
        asked = {
            "order": "count", "seed": seed, "sounds": list(SOUNDS), "n_population": len(left), "n_speech": 0,
            "n_heard": len(places) - len(left), "deliveries": sorted(set(read_verdicts(lake)["delivery"])),
            "windows_sha256": None,
        }  # fmt: skip
        return keep_batch(lake, make_table(rows, COLUMNS), asked, {})

    @property
    def grid(self) -> Grid:
        with open_cube(self.cube.output.url) as cube:
            return grid_of(cube)

    def heard_windows(self) -> list[tuple[int, int]]:
        """Return recorder and cell of the windows with a verdict."""
        table = read_verdicts(Lake(str(self.folder)))
        ms = table["time_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64) - ORIGIN_MS
        return [(RECORDERS.index(name), int(at) // HOP_MS) for name, at in zip(table["recorder"], ms, strict=True)]

    def answer(self, batch: Batch, order: NDArray[np.int64] | None = None) -> None:
        """Bring in the truth about draws of a batch, one delivery for each sound."""
        for row in batch.table.iloc[order if order is not None else slice(None)].itertuples(index=False):
            recorder = RECORDERS.index(str(row.recorder))
            ms = int(pd.Timestamp(str(row.time_utc)).value // 1_000_000) - ORIGIN_MS
            said = [
                (str(row.recorder), ms, sound, "yes" if self.has[recorder, ms // HOP_MS, i] else "no")
                for i, sound in enumerate(SOUNDS)
            ]
            judge(self.folder, said, batch=batch.name, draw=int(str(row.draw)))

    def count(self) -> pd.DataFrame:
        command.execute(self.counts, Options())
        finish(self.counts)
        return pd.read_csv(Path(self.counts.output.url) / "counts.csv", dtype={"period": str})

    def truth(self, sound: str, recorder: str) -> int:
        there = ~np.isnan(self.values[..., 0])
        return int((self.has[..., SOUNDS.index(sound)] & there)[RECORDERS.index(recorder)].sum())


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def seasons(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["kind"] == "season"].set_index(["sound", "site"])
