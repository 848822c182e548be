"""The ``count`` job with detections: a draw guided by a detector, verdicts on it, and tables that follow both."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from detectors import CELLS_PER_DAY, HOP_MS, detected, heard, learnt, vectors_with_sounds
from numpy.typing import NDArray
from stores import ORIGIN_MS, finish, make_cube, make_embeddings, make_run, random_codes

from jobs.common.run import Options, Run
from jobs.count import command
from jobs.count.config import Config
from jobs.review.ask import ORDERS
from jobs.review.orders import Population
from jobs.review.sources import Sources
from lake.batch_files import batch_names
from lake.batches import COLUMNS, Batch, keep_batch, read_batch
from lake.counting.study import answers_on, count_sound, windows_of
from lake.grid import Grid
from lake.layout import Lake
from lake.read import Windows, grid_of, open_cube
from lake.tables import make_table
from lake.verdicts import COLUMNS as VERDICT_COLUMNS
from lake.verdicts import add_verdicts, read_verdicts

SOUNDS = ("wren", "rain", "frog")
RECORDERS = ("north", "south")
NUMBER_OF_DRAWS = 60


class Study:
    """Two recorders, three sounds, vectors, heads from 120 windows, detections, and a run of counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values, self.has = vectors_with_sounds(n_days=4)
        there = ~np.isnan(self.values[..., 0])
        codes = random_codes(n_days=4, n_per_day=CELLS_PER_DAY)
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
        before = set(self.heard_windows())
        places = [tuple(place) for place in np.argwhere(~np.isnan(self.values[..., 0])).tolist()]
        left = np.array([place for place in places if place not in before])
        windows = Windows(left[:, 0].astype(np.int32), left[:, 1])
        population = Population(windows, grid)
        known = Sources(population, windows, SOUNDS, {"detections": [self.found]}, reads={"spectrograms": self.cube})
        chosen = ORDERS["count"](known, NUMBER_OF_DRAWS, np.random.default_rng(seed))
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
            "windows_sha256": None, **chosen.facts,
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
        """Bring in the truth about draws of a batch."""
        rows = []
        for row in batch.table.iloc[order if order is not None else slice(None)].itertuples(index=False):
            recorder = RECORDERS.index(str(row.recorder))
            start = pd.Timestamp(str(row.time_utc))
            cell = (int(start.value // 1_000_000) - ORIGIN_MS) // HOP_MS
            rows += [
                {
                    "recorder": row.recorder, "time_utc": start, "duration_s": 6.0, "sound": sound,
                    "verdict": "yes" if self.has[recorder, cell, i] else "no", "reviewer": "Ana",
                    "decided_at": pd.Timestamp("2021-07-01"), "seconds": 1.0, "batch": batch.name, "draw": row.draw,
                    "recording": "", "offset_s": 0.0, "digest": "", "source": "",
                }
                for i, sound in enumerate(SOUNDS)
            ]  # fmt: skip
        add_verdicts(Lake(str(self.folder)), make_table(rows, VERDICT_COLUMNS))

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


def test_draws_guided_by_a_detector_cover_the_truth(study: Study) -> None:
    study.answer(study.draw(0))
    season = seasons(study.count())
    assert (season["n_sample"] > season["n_heard"].min() / 2).all()
    truth = np.array([study.truth(sound, site.removeprefix("site of ")) for sound, site in season.index])
    assert ((season["low"] <= truth) & (truth <= season["high"])).sum() >= len(truth) - 1
    assert ((season["high"] - season["low"]) / truth).median() < 1.2, "a good detector makes it narrow"
    assert set(season["method"]) == {"difference"}
    assert set(season["unit"]) == {"window without overlap"}


def test_what_a_detector_learns_later_changes_no_season(study: Study) -> None:
    study.answer(study.draw(0))
    before = study.count()
    study.heads = learnt(study.folder, study.vectors)
    study.found = detected(study.folder, study.vectors, study.heads)
    after = study.count()
    pd.testing.assert_frame_equal(seasons(before), seasons(after))
    assert not before.equals(after), "nights follow the new detector"
    study.answer(study.draw(1))
    both = seasons(study.count())
    assert (both["n_sample"] > seasons(before)["n_sample"]).all()
    assert ((both["high"] - both["low"]) < (seasons(before)["high"] - seasons(before)["low"])).mean() > 0.5


def test_a_batch_may_be_answered_out_of_order_and_what_is_behind_a_gap_waits_until_it_is_closed(study: Study) -> None:
    batch = study.draw(0)
    others = np.delete(np.arange(NUMBER_OF_DRAWS), 5)
    study.answer(batch, np.random.default_rng(0).permutation(others))
    first = seasons(study.count())
    assert (first["n_left_out"].groupby("sound").sum() >= NUMBER_OF_DRAWS - 6).all()
    study.answer(batch, np.array([5]))
    whole = seasons(study.count())
    assert (whole["n_left_out"] == 0).all()
    assert (whole["n_sample"].groupby("sound").sum() >= NUMBER_OF_DRAWS).all()


def test_sites_that_were_named_anew_keep_batches_without_predictions(study: Study) -> None:
    study.answer(study.draw(0))
    with open_cube(study.cube.output.url) as cube:
        windows = windows_of(cube)
    renamed = replace(windows, table=windows.table.assign(site=windows.table["site"] + " (new)"))
    lake = Lake(str(study.folder))
    batches = [read_batch(lake, name) for name in batch_names(lake)]
    answers = answers_on(renamed, read_verdicts(lake), batches)
    assert "sites have other windows now" in answers.notes[0]
    methods = count_sound("wren", renamed, answers, kinds=["season"])["method"]
    assert "difference" not in set(methods)
    assert "weighted beta" in set(methods)
