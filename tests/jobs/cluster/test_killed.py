"""A clustering that is killed at any point, and goes on when the same is asked for again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusterings import contents, expected, study

from jobs.cluster import command, resuming
from jobs.cluster.labels import Labeller
from jobs.common import checkpoint
from jobs.common.run import Options, Run, is_replaceable
from lake.verify import damages

ROOT = Path(__file__).parents[3]
N_BATCHES = 43

KILLED = """
import os, signal, sys
from pathlib import Path
from clusterings import study
from jobs.cluster import batches, command, kmeans, labels, resuming, source
from jobs.common import checkpoint
from jobs.common.run import Options
from lake import ledger, storage, write

where, n, lake, workers = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
run = study(lake)
home, name = where.rsplit(".", 1)
home = eval(home)
before, calls = getattr(home, name), []

def counting(*args, **options):
    calls.append(1)
    if len(calls) == n:
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*args, **options)

setattr(home, name, counting)
resuming.EVERY_S, source.KEPT_BYTES = 0.0, 0
command.execute(run, Options(workers=workers))
"""

POINTS = {
    "before the statistics": ("command._survey", 1),
    "in the statistics": ("command.set_moments", 1),
    "before the survey is saved": ("checkpoint.save", 1),
    "before the fit": ("command._fit", 1),
    "at the first batch": ("kmeans._move", 1),
    "in the fit": ("kmeans._move", 20),
    "before a checkpoint in the fit": ("checkpoint.save", 4),
    "at the last batch": ("kmeans._move", N_BATCHES),
    "before the labels": ("command._label", 1),
    "in the labels": ("labels.assign", 5),
    "in the writing of a day": ("ledger.Ledger.add", 3),
    "before the commit": ("command.commit", 1),
    "in the commit": ("write._write_all", 6),
    "before the checkpoints are removed": ("checkpoint.remove", 1),
}
"""Which call of which function ends the process; all of the kill tests write a checkpoint after each pool."""


@pytest.fixture(autouse=True)
def at_every_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "EVERY_S", 0.0)


def killed(lake: Path, point: str, workers: int = 1) -> Run[Any]:
    where, n = POINTS[point]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, where, str(n), str(lake), str(workers)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, point
    return study(lake)


def counted(monkeypatch: pytest.MonkeyPatch, home: Any, name: str) -> list[int]:
    """Count the calls of a function from now on; of an iterator, what it yields."""
    calls: list[int] = []
    before = getattr(home, name)

    def counting(*args: Any, **options: Any) -> Any:
        if name == "steps":
            return yielding(*args, **options)
        calls.append(1)
        return before(*args, **options)

    def yielding(*args: Any, **options: Any) -> Iterator[None]:
        for step in before(*args, **options):
            calls.append(1)
            yield step

    monkeypatch.setattr(home, name, counting)
    return calls


@pytest.mark.parametrize(
    "point",
    [
        point if point in {"in the fit", "in the labels"} else pytest.param(point, marks=pytest.mark.slow)
        for point in POINTS
    ],
)
def test_the_same_bytes_after_a_kill(tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = expected(tmp_path)
    run = killed(tmp_path / "lake", point)
    surveys = counted(monkeypatch, command, "_look")
    steps = counted(monkeypatch, command, "steps")
    labels = counted(monkeypatch, Labeller, "_write")
    assert command.execute(run, Options(workers=1)).did
    assert contents(run) == whole
    assert not run.ledger.storage.exists("checkpoints"), "nothing is left"
    order = list(POINTS)
    if order.index(point) > order.index("before the survey is saved"):
        assert not surveys
    if order.index(point) >= order.index("in the fit"):
        assert 0 < len(steps) < N_BATCHES or order.index(point) >= order.index("before the labels")
    if order.index(point) >= order.index("before the labels"):
        assert not steps
    if order.index(point) >= order.index("before the commit"):
        assert not labels
    elif point == "in the labels":
        assert len(labels) == 4, "of eight days four were written"


@pytest.mark.slow
@pytest.mark.parametrize("point", ["in the statistics", "in the fit", "in the labels"])
def test_the_same_bytes_after_a_kill_of_threads(tmp_path: Path, point: str) -> None:
    whole = expected(tmp_path)
    run = killed(tmp_path / "lake", point, workers=3)
    command.execute(run, Options(workers=2))
    assert contents(run) == whole


def test_a_checkpoint_that_is_damaged_or_of_something_else_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed(tmp_path / "lake", "in the fit")
    folder = Path(run.ledger.storage.path("checkpoints"))
    assert sorted(path.name for path in folder.iterdir()) == ["fit.npz", "survey.npz"]
    good = {path: path.read_bytes() for path in folder.iterdir()}

    def damage(data: bytes) -> dict[str, bytes]:
        flipped = data[:500] + bytes([data[500] ^ 1]) + data[501:]
        return {"cut": data[:-900], "empty": b"", "flipped": flipped, "text": b"no archive at all"}

    saved = resuming.checkpoints(run, [run.inputs["embeddings"].ledger.written()])
    for name in damage(bytes(501)):
        for path, data in good.items():
            path.write_bytes(damage(data)[name])
        assert saved.survey() is None, name
        assert saved.fit(0) is None, name
        assert capsys.readouterr().err.count("found damaged bytes. It is not used") == 2, name
    for path, data in good.items():
        path.write_bytes(data)
    other = resuming.Checkpoints(run.ledger, "0123456789ab")
    assert other.survey() is None
    assert "a checkpoint of other settings, inputs or processors" in capsys.readouterr().err
    assert saved.survey() is not None
    monkeypatch.setattr(resuming, "blas_backend", lambda: "cpu-Other")
    assert resuming.checkpoints(run, [run.inputs["embeddings"].ledger.written()]).survey() is None
    monkeypatch.undo()
    (folder / "survey.npz").write_bytes(b"")
    command.execute(run, Options(workers=1))
    assert contents(run) == expected(tmp_path)
    assert "goes on after" not in capsys.readouterr().err, "a fit without its statistics is not gone on with"


def test_vectors_that_grew_after_a_kill_are_clustered_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed(tmp_path / "lake", "in the fit")
    run = study(tmp_path / "lake", n_days=5)
    command.execute(run, Options(workers=1))
    whole = study(tmp_path / "whole", n_days=5)
    command.execute(whole, Options(workers=1))
    assert contents(run) == contents(whole)
    assert "a checkpoint of other settings, inputs or processors" in capsys.readouterr().err


def test_checkpoints_leave_the_settings_of_a_run_free_and_are_no_damage(tmp_path: Path) -> None:
    run = killed(tmp_path / "lake", "in the fit")
    assert is_replaceable(run, {"config_id": "another"})
    assert not list(damages(run.output, run.ledger, "clusters"))
    Path(run.ledger.storage.path("checkpoints/2021-06-01.jsonl")).write_text("lines of a recorder of that name")
    assert not is_replaceable(run, {"config_id": "another"})
    checkpoint.remove(run.ledger)
    assert run.ledger.storage.list_keys("checkpoints") == ["checkpoints/2021-06-01.jsonl"]


def test_a_block_that_changed_after_a_kill_is_written_again(tmp_path: Path) -> None:
    run = killed(tmp_path / "lake", "in the labels")
    shards = [key for key in run.output.list_keys() if key.startswith("distance/c")]
    path = Path(run.output.path(shards[0]))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    command.execute(run, Options(workers=1))
    found, whole = contents(run), expected(tmp_path)
    assert {key: found[key] for key in found if not key.endswith(".jsonl")} == {
        key: whole[key] for key in whole if not key.endswith(".jsonl")
    }
