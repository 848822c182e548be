"""One clustering of any team: threads, Dask workers, workers that die, come late or are of another kind."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusterings import CONFIG, contents, study
from daskclusters import Cluster
from numpy.typing import NDArray

from jobs.cluster import command, source
from jobs.cluster.config import Config
from jobs.cluster.exemplars import Candidates, exemplars, joined
from jobs.cluster.labels import Counted, no_totals, summed
from jobs.common.machines import connected, local_client
from jobs.common.ordered import Team, team
from jobs.common.run import Options
from lake.errors import DawnchorusError, InputError, StoreError, TryAgainError


@pytest.fixture
def kept_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every epoch of a fit read its vectors again, as it does where they are too many to be kept."""
    monkeypatch.setattr(source, "KEPT_BYTES", 0)


def expected(tmp_path: Path, config: Config = CONFIG) -> dict[str, bytes]:
    run = study(tmp_path / "expected", config)
    command.execute(run, Options(workers=1))
    return contents(run)


def check(tmp_path: Path, name: str, config: Config = CONFIG, workers: int = 2) -> None:
    run = study(tmp_path / name, config)
    assert command.execute(run, Options(workers=workers)).did
    assert contents(run) == expected(tmp_path, config)


# The same bytes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [2, 3, 16])
@pytest.mark.parametrize("normalise", ["zscore_l2", "whiten"])
def test_threads_change_no_byte(tmp_path: Path, workers: int, normalise: str, kept_nothing: None) -> None:
    check(tmp_path, "threads", CONFIG.model_copy(update={"normalise": normalise}), workers)


def test_two_workers_change_no_byte(tmp_path: Path, kept_nothing: None) -> None:
    with local_client(2):
        check(tmp_path, "kept")
        (tmp_path / "w").mkdir()
        check(tmp_path / "w", "whitened", CONFIG.model_copy(update={"normalise": "whiten"}))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4, 12])
def test_any_number_of_workers_changes_no_byte(tmp_path: Path, workers: int, kept_nothing: None) -> None:
    """Twelve are more than there are days, groups or numbers to try."""
    with local_client(workers):
        check(tmp_path, "workers")


def test_vectors_that_are_kept_are_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    in_order = Team.in_order

    def counting(self: Team, function: Any, tasks: Any, **options: Any) -> Iterator[Any]:
        tasks = list(tasks)
        asked.extend(task[0] for task in tasks if isinstance(task, tuple))
        return in_order(self, function, tasks, **options)

    monkeypatch.setattr(Team, "in_order", counting)
    run = study(tmp_path)
    command.execute(run, Options(workers=1))
    assert sorted(asked) == sorted(set(asked)), "once each, for all epochs"


# Workers that die, come late, or are not like the others ---------------------------------------------------


def meddling(monkeypatch: pytest.MonkeyPatch, meddle: Callable[[], None]) -> list[int]:
    """Do something right before the third pool of a fit is read."""
    pools: list[int] = []
    pool_reader = source.Kept.pool_reader

    def reader(self: source.Kept, scaling: Any) -> Any:
        read = pool_reader(self, scaling)

        def read_pool(numbers: list[int]) -> Any:
            pools.append(len(numbers))
            if len(pools) == 3:
                meddle()
            return read(numbers)

        return read_pool

    monkeypatch.setattr(source.Kept, "pool_reader", reader)
    return pools


@pytest.mark.slow
def test_a_scheduler_with_tls_whose_worker_is_killed_in_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_nothing: None
) -> None:
    cluster = Cluster(tmp_path)
    try:
        with connected(cluster.scheduler) as client:
            assert client is not None
            client.wait_for_workers(2, timeout=60)
            pids = client.run(os.getpid)

            def kill() -> None:
                os.kill(next(iter(pids.values())), signal.SIGKILL)

            pools = meddling(monkeypatch, kill)
            check(tmp_path, "killed")
            assert len(pools) > 3
            assert set(client.run(os.getpid).values()) != set(pids.values()), "one was started again"
    finally:
        cluster.stop()


@pytest.mark.slow
def test_a_worker_of_this_machine_that_is_killed_in_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept_nothing: None
) -> None:
    with local_client(2) as client:
        pids = sorted(client.run(os.getpid).values())
        meddling(monkeypatch, partial(os.kill, pids[0], signal.SIGKILL))
        check(tmp_path, "killed")
        assert sorted(client.run(os.getpid).values()) != pids
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_worker_that_comes_late_works_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_nothing: None
) -> None:
    with local_client(1) as client:
        assert client.cluster is not None
        meddling(monkeypatch, partial(client.cluster.scale, 2))
        check(tmp_path, "late")
        client.wait_for_workers(2, timeout=60)


@pytest.mark.slow
def test_a_step_that_kills_its_workers_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with local_client(1) as client, pytest.raises(TryAgainError, match="its worker process died, perhaps for want of"):
        list(Team(1, client).in_order(die, [1]))
    assert "a step failed and is tried once more" in capsys.readouterr().err


def test_workers_without_the_lake_or_of_another_kind_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = study(tmp_path)
    with local_client(1), monkeypatch.context() as patched:
        patched.setattr(command, "blas_backend", lambda: "cpu-Other")
        with pytest.raises(
            TryAgainError, match=r"computes as cpu-[\w-]+, the others as cpu-Other, whose vectors differ"
        ):
            command.execute(run, Options(workers=2))
        assert command.execute(run, Options(workers=2, mix=True)).did
        run.ledger.storage.remove("run.json")
        with pytest.raises(InputError, match="ledgers/clusters: expected the ledger of the run, found none on"):
            command.execute(run, Options(workers=2, mix=True))
    assert "Traceback" not in capsys.readouterr().err


# Teams ------------------------------------------------------------------------------------------------------


def squared(number: int) -> int:
    return number * number


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def failing(kind: type[Exception], number: int) -> int:
    if number == 3:
        raise kind(f"number {number} cannot be squared")
    return number


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_of_threads_are_in_order_and_few_are_ahead(threads: int) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    results = Team(threads).in_order(squared, numbers())
    assert [next(results) for _ in range(10)] == [i * i for i in range(10)]
    assert len(taken) <= 10 + 2 * threads
    results.close()


def test_results_of_workers_are_in_order_and_errors_keep_their_class(capsys: pytest.CaptureFixture[str]) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(300):
            taken.append(i)
            yield i

    with local_client(1):
        assert team(2).client is not None
        assert list(team(2).in_order(squared, range(50))) == [i * i for i in range(50)]
        results = team(2).in_order(squared, numbers())
        assert [next(results) for _ in range(10)] == [i * i for i in range(10)]
        assert len(taken) < 40
        results.close()
        assert list(team(2).in_order(squared, [])) == []
        for kind, raised in (
            (StoreError, StoreError),
            (TryAgainError, TryAgainError),
            (ZeroDivisionError, DawnchorusError),
        ):
            with pytest.raises(raised, match="number 3 cannot be squared"):
                list(team(2).in_order(partial(failing, kind), range(6)))
        assert list(team(2).in_order(squared, range(5))) == [0, 1, 4, 9, 16], "the workers are there for the next one"
    assert "tried once more: number 3 cannot be squared" in capsys.readouterr().err


def test_candidates_that_are_narrowed_on_the_way_give_the_same_exemplars(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)

    def day(i: int) -> Counted:
        n = 30
        near = Candidates(
            random.integers(3, size=n).astype(np.int16), random.integers(1, 9, n).astype(np.float32),
            np.full(n, i % 2, dtype=np.int32), np.arange(n, dtype=np.int64) + i * n, np.arange(n) // 5 + i * 6,
        )  # fmt: skip
        none: NDArray[np.int64] = np.zeros((3, 24), dtype=np.int64)
        return Counted(i % 2, n, np.bincount(near.cluster, minlength=3), none, float(i), near)

    days = [day(i) for i in range(20)]
    monkeypatch.setattr("jobs.cluster.labels.DAYS_HELD", 3)
    totals = no_totals(3, 2)
    found = summed(days, totals, 4)
    whole = joined([one.near for one in days])
    np.testing.assert_array_equal(exemplars(found, 3, 4), exemplars(whole, 3, 4))
    assert len(found.cell) < len(whole.cell)
    assert totals.n_windows.sum() == 600
    assert totals.squares[0] == sum(range(20))
