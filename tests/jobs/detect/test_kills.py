"""SIGKILL to `detect` at every kind of step: it goes on to the same bytes, and readers keep what they had."""

import os
import signal
from pathlib import Path

import faults
import numpy as np
import pytest
import xarray as xr
from detectors import detect_run, heard, learnt, vectors_with_sounds
from faults import Moment
from stores import finish, make_embeddings

from jobs.common.run import Options, Run
from jobs.detect import command
from jobs.detect.config import Config
from lake.read import open_detections
from lake.verify import damages

MOMENTS = [
    ("shard", 1, "before"), ("shard", 2, "torn"), ("shard", 3, "after"), ("ledger", 2, "torn"), ("ledger", 2, "after"),
    ("index", 1, "after"), ("commit", 1, "before"), ("commit", 1, "torn"), ("commit", 1, "after"),
]  # fmt: skip


def contents(run: Run) -> dict[str, bytes]:
    return {key: run.output.read(key) for key in run.output.list_keys()}


def execute_armed(run: Run[Config], moment: Moment, marks: str) -> None:
    faults.arm([moment], marks, os.getpid())
    command.execute(run, Options())


def kill(run: Run[Config], step: str, number: int, when: str, marks: Path) -> None:
    """Start the job in a process of its own, and have it killed at a moment, which has to come."""
    marks.mkdir(parents=True)
    moment = Moment("driver", step, number, when)
    assert faults.in_child(execute_armed, run, moment, str(marks)) == -signal.SIGKILL
    assert (marks / moment.mark).exists()


def study(lake: Path) -> tuple[Run, Run[Config]]:
    """Return vectors, and a run of detections that is not made yet."""
    values, has = vectors_with_sounds(n_days=3)
    vectors = make_embeddings(lake, values)
    finish(vectors)
    heard(lake, values, has)
    return vectors, detect_run(lake, vectors, learnt(lake, vectors))


def killed_everywhere(run: Run[Config], marks: Path, moments: list[tuple[str, int, str]]) -> None:
    for i, (step, number, when) in enumerate(moments):
        kill(run, step, number, when, marks / str(i))


def test_killed_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    _, whole = study(tmp_path / "whole")
    command.execute(whole, Options())
    _, run = study(tmp_path / "killed")
    killed_everywhere(run, tmp_path / "marks", [("ledger", 2, "torn")])
    command.execute(run, Options())
    assert contents(run) == contents(whole)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_step(tmp_path: Path, moment: tuple[str, int, str]) -> None:
    _, whole = study(tmp_path / "whole")
    command.execute(whole, Options())
    _, run = study(tmp_path / "killed")
    killed_everywhere(run, tmp_path / "marks", [moment])
    command.execute(run, Options())
    assert contents(run) == contents(whole)
    assert list(damages(run.output, run.ledger, "detections", run.lake.receipts(run.name))) == []


@pytest.mark.slow
def test_killed_while_heads_change_readers_keep_the_old_scores(tmp_path: Path) -> None:
    values, has = vectors_with_sounds(n_days=3)
    vectors, run = study(tmp_path / "lake")
    command.execute(run, Options())
    finish(run)
    old = open_detections(run.output.url, times=True).load()
    heard(tmp_path / "lake", values, has, seed=7, n=60)
    heads = learnt(tmp_path / "lake", vectors)
    for i, (step, number, when) in enumerate([("shard", 2, "torn"), ("ledger", 2, "after"), ("commit", 1, "before")]):
        kill(run, step, number, when, tmp_path / f"marks-{i}")
        xr.testing.assert_identical(open_detections(run.output.url, times=True).load(), old)
        xr.testing.assert_identical(xr.open_dataset(run.output.url, engine="zarr").load(), old)
        assert list(damages(run.output, run.ledger, "detections", run.lake.receipts(run.name))) == []
    command.execute(run, Options())
    fresh = detect_run(tmp_path / "lake", vectors, heads, name="fresh")
    command.execute(fresh, Options())
    new, alone = (open_detections(one.output.url, times=True).load() for one in (run, fresh))
    np.testing.assert_array_equal(new["score"], alone["score"])
    assert new.attrs["heads_id"] != old.attrs["heads_id"]
