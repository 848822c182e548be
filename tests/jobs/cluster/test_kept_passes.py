"""A clustering that is killed goes on with what its passes left, and shares of it give the bytes of the whole."""

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusterings import CONFIG, contents, study

from jobs.cluster import checkpoint, command, fitting, kmeans, labels
from jobs.cluster.batches import Position, batches_from
from jobs.cluster.checkpoint import FIT, SURVEY, Checkpoints
from jobs.cluster.config import Config
from jobs.cluster.kmeans import Schedule, begun, steps
from jobs.common.machines import local_client
from jobs.common.run import Options, Run
from lake.errors import StoreError, TryAgainError
from lake.run_records import CHECKPOINTS
from lake.scaling import Scale, Scaling

MOMENTS = {
    "statistics": (fitting, "_look"),
    "fit": (kmeans, "_move"),
    "assignment": (labels, "assign"),
    "labels": (labels, "write_block"),
    "commit": (command, "commit"),
}
"""Where a process may be killed: right after so many calls of a function."""
TWO = Options(workers=2)
SETTINGS = {
    "zscore_l2": CONFIG,
    "whiten": CONFIG.model_copy(update={"normalise": "whiten", "n_components": 4}),
    "axes": CONFIG.model_copy(update={"n_components": 3, "normalise": "zscore"}),
}


def calling(monkeypatch: pytest.MonkeyPatch, after: Callable[[str, int], None]) -> None:
    """Call a function after each call of the functions of :data:`MOMENTS`, with the moment's name and its number."""
    counts, lock = dict.fromkeys(MOMENTS, 0), threading.Lock()

    def wrapped(moment: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            found = function(*args, **options)
            with lock:
                counts[moment] += 1
                after(moment, counts[moment])
            return found

        return call

    for moment, (module, name) in MOMENTS.items():
        monkeypatch.setattr(module, name, wrapped(moment, getattr(module, name)))


def killed(run: Run[Config], moment: str, number: int, options: Options = TWO) -> None:
    """Cluster in a process of its own that is killed at a moment."""

    def work() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(fitting, "CHECKPOINT_EVERY_S", 0.0)

            def kill(name: str, n: int) -> None:
                if (name, n) == (moment, number):
                    os.kill(os.getpid(), signal.SIGKILL)

            calling(patched, kill)
            command.execute(run, options)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"{moment} {number} did not happen"


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    found = {}
    for name, config in SETTINGS.items():
        run = study(tmp_path_factory.mktemp(name), config)
        command.execute(run, Options(workers=1))
        found[name] = contents(run)
    return found


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    ("moment", "number"),
    [("statistics", 1), ("fit", 1), ("fit", 17), ("assignment", 3), ("labels", 5), ("commit", 1)],
)
def test_killed_at_a_moment_it_ends_with_the_same_bytes(
    tmp_path: Path, wholes: dict[str, dict[str, bytes]], settings: str, moment: str, number: int
) -> None:
    run = study(tmp_path, SETTINGS[settings])
    killed(run, moment, number)
    command.execute(run, Options(workers=2))
    assert contents(run) == wholes[settings]
    assert run.ledger.storage.list_keys(CHECKPOINTS) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_many_times_it_ends_with_the_same_bytes(
    tmp_path: Path, wholes: dict[str, dict[str, bytes]], seed: int
) -> None:
    choose, run = random.Random(seed), study(tmp_path)
    order = ["statistics", "fit", "fit", "fit", "assignment", "labels", "commit"]
    for moment in order:
        killed(run, moment, 1 if moment in {"statistics", "commit"} else choose.randint(1, 3))
    command.execute(run, Options(workers=choose.randint(1, 3)))
    assert contents(run) == wholes["zscore_l2"]


@pytest.mark.parametrize("moment", ["fit", "labels"])
def test_workers_go_on_where_threads_were_killed(
    tmp_path: Path, wholes: dict[str, dict[str, bytes]], moment: str
) -> None:
    run = study(tmp_path)
    killed(run, moment, 4)
    with local_client(2):
        command.execute(run, Options(workers=2))
    assert contents(run) == wholes["zscore_l2"]


def test_what_was_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = study(tmp_path)
    killed(run, "labels", 3, Options(workers=1))
    seen: list[str] = []
    calling(monkeypatch, lambda moment, _: seen.append(moment))
    command.execute(run, Options(workers=1))
    assert seen.count("labels") == 8 - 3, "two recorders, four days; three days stood"
    assert "statistics" not in seen
    first = seen.index("labels")
    assert "fit" not in seen[:first], "scan and stability fit later, on the sample"


def test_a_fit_goes_on_in_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = study(tmp_path)
    killed(run, "fit", 15, Options(workers=1))
    before: list[int] = []

    def spied(stream: Any, state: Any, *args: Any, **options: Any) -> Any:
        before.append(state.n_batches)
        return steps(stream, state, *args, **options)

    monkeypatch.setattr(fitting, "steps", spied)
    command.execute(run, Options(workers=1))
    assert 8 < before[0] < 15


def test_labels_that_were_changed_are_made_again(tmp_path: Path, wholes: dict[str, dict[str, bytes]]) -> None:
    run = study(tmp_path)
    killed(run, "labels", 4, Options(workers=1))
    key = next(key for key in run.output.list_keys() if key.startswith("cluster/c"))
    run.output.write(key, b"\0" * 40)
    command.execute(run, Options(workers=2))
    for key, data in contents(run).items():
        assert key.endswith(".jsonl") or data == wholes["zscore_l2"][key], "a ledger has one more line of the day"


@pytest.mark.parametrize("key", [SURVEY, FIT])
@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "other"])
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, wholes: dict[str, dict[str, bytes]], capsys: pytest.CaptureFixture[str], key: str, how: str
) -> None:
    run = study(tmp_path)
    killed(run, "fit", 20)
    data = bytearray(run.ledger.storage.read(key))
    data[len(data) // 2] ^= 1
    damaged = {"cut": data[:-9], "flipped": data, "empty": b"", "other": b"PK\3\4 nothing of it"}[how]
    run.ledger.storage.write(key, bytes(damaged))
    command.execute(run, Options(workers=2))
    assert contents(run) == wholes["zscore_l2"]
    assert f"{key}: not a checkpoint, or a damaged one: this pass begins again" in capsys.readouterr().err


def test_checkpoints_of_other_vectors_or_of_another_processor_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = study(tmp_path)
    one = Checkpoints(run.ledger, "one", "cpu-A")
    scaling = Scaling((Scale(np.arange(2.0), np.ones(2), unit=True),), (0.25,))
    one.keep_survey(scaling, np.ones((3, 2), dtype=np.float32))
    one.keep_fit(begun(np.ones((2, 2), dtype=np.float32), 0), Position())
    found = one.survey()
    assert found is not None
    np.testing.assert_array_equal(found[0].scales[0].mean, [0, 1])
    assert (found[0].shrinkage, found[0].scales[0].unit, found[0].scales[0].components) == ((0.25,), True, None)
    assert Checkpoints(run.ledger, "two", "cpu-A").fit() is None
    assert capsys.readouterr().err == ""
    assert Checkpoints(run.ledger, "one", "cpu-B").fit() is None
    assert "computed on cpu-A, this machine computes as cpu-B: this pass begins again" in capsys.readouterr().err
    assert Checkpoints(run.ledger, "one", "cpu-B", mix=True).fit() is not None
    with pytest.raises(TryAgainError, match="computed on cpu-A; this machine computes as cpu-B, whose vectors differ"):
        Checkpoints(run.ledger, "one", "cpu-B", is_shared=True).fit()


def test_batches_from_each_position_are_those_of_the_whole() -> None:
    random_vectors = np.random.default_rng(2).normal(size=(70, 3)).astype(np.float32)
    sizes = [9, 11, 3, 20, 7, 13, 7]
    parts = np.split(random_vectors, np.cumsum(sizes)[:-1])

    def from_(begin: Position, n: int, threads: int = 1) -> list[Any]:
        stream = batches_from(
            begin, lambda pool: [parts[i] for i in pool], sizes, 8, buffer_windows=15, seed=1, threads=threads
        )
        found = [next(stream) for _ in range(n)]
        stream.close()
        return found

    whole = from_(Position(), 60)
    places = [(i + 1, batch.then) for i, batch in enumerate(whole) if batch.then is not None]
    assert len(places) > 20
    for first, then in places[:12]:
        for threads in (1, 2):
            for one, other in zip(from_(then, 10, threads), whole[first : first + 10], strict=True):
                np.testing.assert_array_equal(one.vectors, other.vectors)


def test_a_fit_in_two_parts_is_the_whole() -> None:
    """Small clusters start anew on windows that are drawn, so the generator's state counts too."""
    vectors = np.random.default_rng(0).normal(size=(60, 40, 4)).astype(np.float32)
    first = np.concatenate([vectors[0, :5], np.full((2, 4), 99, dtype=np.float32)])
    plan, config = Schedule(40, 60, 4), Config(n_clusters=7)
    whole, parts = begun(first, 3), begun(first, 3)
    list(steps(vectors, whole, config, plan))
    list(steps(vectors[:23], parts, config, plan))
    list(steps(vectors[23:], parts, config, plan))
    np.testing.assert_array_equal(whole.centroids, parts.centroids)
    assert (whole.n_batches, whole.n_since) == (parts.n_batches, parts.n_since)


# Shares -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_shares_give_the_bytes_of_the_whole(tmp_path: Path, wholes: dict[str, dict[str, bytes]], n: int) -> None:
    """Twenty are more than there are partitions."""
    run = study(tmp_path)
    for i in reversed(range(n)):
        assert command.execute(run, Options(part=(i, n))).did == (i < 8)
        assert not command.execute(run, Options(part=(i, n))).did
    command.finalise(run, Options())
    assert contents(run) == wholes["zscore_l2"]


def test_what_shares_left_undone_the_whole_does(tmp_path: Path, wholes: dict[str, dict[str, bytes]]) -> None:
    run = study(tmp_path)
    with pytest.raises(StoreError, match="its centroids are not fitted yet"):
        command.finalise(run, Options())
    command.execute(run, Options(part=(1, 3)))
    with pytest.raises(StoreError, match=r"5 partitions have no labels of these centroids yet:\n  north 2021-06-01\n"):
        command.finalise(run, Options())
    killed(run, "labels", 1, Options(part=(0, 3)))
    command.execute(run, Options(workers=2))
    assert contents(run) == wholes["zscore_l2"]


def test_shares_that_begin_together_fit_once(
    tmp_path: Path, wholes: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = study(tmp_path)
    monkeypatch.setattr(fitting, "LOOK_EVERY_S", 0.05)
    marks = tmp_path / "marks"
    marks.mkdir()
    survey = checkpoint.Checkpoints.keep_survey

    def marked(self: Checkpoints, *args: Any) -> None:
        (marks / str(os.getpid())).touch()
        survey(self, *args)

    monkeypatch.setattr(checkpoint.Checkpoints, "keep_survey", marked)
    context = multiprocessing.get_context("fork")
    shares = [context.Process(target=command.execute, args=(run, Options(part=(i, 4)))) for i in range(4)]
    for share in shares:
        share.start()
    for share in shares:
        share.join()
    assert [share.exitcode for share in shares] == [0, 0, 0, 0]
    assert len(list(marks.iterdir())) == 1
    command.finalise(run, Options())
    assert contents(run) == wholes["zscore_l2"]


def test_a_share_on_another_processor_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = study(tmp_path)
    command.execute(run, Options(part=(0, 2)))
    monkeypatch.setattr(command, "blas_backend", lambda: "cpu-Other")
    with pytest.raises(TryAgainError, match="this machine computes as cpu-Other"):
        command.execute(run, Options(part=(1, 2)))
    assert command.execute(run, Options(part=(1, 2), mix=True)).did
