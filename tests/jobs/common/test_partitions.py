"""Partitions: here and on a local cluster; what fails, what dies, and what is told of it."""

import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dask.config
import psutil
import pytest
from distributed import Client, Future, Security
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from jobs.common import on_dask
from jobs.common.days import share
from jobs.common.machines import local_client
from jobs.common.memory import Memory
from jobs.common.partitions import map_partitions
from jobs.common.schedulers import current_client
from lake.errors import DawnchorusError, InputError, StoreError, TryAgainError

BLAS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def nothing(_: int) -> None:
    pass


def square(number: int) -> int:
    return number * number


def refuse(number: int, *, folder: Path, kind: type[Exception] = StoreError, times: int = 9) -> int:
    """Leave a file for each call, and fail the first times that task 3 is called."""
    called = folder / f"{number}-{len(list(folder.glob(f'{number}-*')))}"
    called.touch()
    if number == 3 and int(called.name.partition("-")[2]) < times:
        raise kind(f"shard {number} is damaged")
    return number


def surroundings(_: int) -> tuple[int, list[int], list[str | None]]:
    import numpy as np

    np.linalg.inv(np.eye(3))
    return os.getpid(), [pool["num_threads"] for pool in threadpool_info()], [os.environ.get(name) for name in BLAS]


def die(number: int, *, folder: Path, times: int = 9) -> int:
    """Kill the worker the first times that task 3 is called."""
    called = folder / f"{number}-{len(list(folder.glob(f'{number}-*')))}"
    called.touch()
    if number == 3 and int(called.name.partition("-")[2]) < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def slow(number: int, *, folder: Path) -> int:
    """Take a second when called again."""
    called = folder / f"{number}"
    if called.exists():
        time.sleep(1)
    called.touch()
    return number


def n_calls(folder: Path, number: int) -> int:
    return len(list(folder.glob(f"{number}-*")))


def day(number: int) -> str:
    return f"recorder {number}"


# Shares ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers()), st.integers(1, 12))
def test_shares_are_disjoint_and_complete(tasks: list[int], n: int) -> None:
    numbered = list(enumerate(tasks))
    shares = [share(numbered, (i, n)) for i in range(n)]
    assert sorted(task for mine in shares for task in mine) == numbered
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(mine == sorted(mine) for mine in shares)
    assert share(numbered, None) == numbered


# In this process -------------------------------------------------------------------------------------------


def test_alone() -> None:
    told: list[int] = []
    tasks = list(range(7))
    found = map_partitions(square, tasks, workers=1, advance=told.append, n_units=lambda task: task + 1)
    assert found == [square(task) for task in tasks]
    assert told == [task + 1 for task in tasks]
    assert map_partitions(square, [], workers=4, advance=nothing) == []
    ((pid, threads, _),) = map_partitions(surroundings, [1], workers=4, advance=nothing)
    assert pid == os.getpid(), "no cluster for one task"
    assert set(threads) == {1}


@pytest.mark.parametrize(
    ("kind", "told", "raised"),
    [
        (StoreError, "shard 3 is damaged", StoreError),
        (InputError, "shard 3 is damaged", InputError),
        (ValueError, r"ValueError: shard 3 is damaged \(.*test_partitions.py:\d+\)", DawnchorusError),
        (OSError, r"OSError: shard 3 is damaged \(.*test_partitions.py:\d+\)", DawnchorusError),
    ],
)
def test_what_fails_twice_is_told_when_the_rest_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: type[Exception], told: str, raised: type[Exception]
) -> None:
    done: list[int] = []
    function = partial(refuse, folder=tmp_path, kind=kind)
    message = (
        rf"^1 of 6 partitions failed twice; the others are written:\n  recorder 3: {told}\n"
        r"Fix the cause, then type the same command again: it continues with these\.$"
    )
    with pytest.raises(raised, match=message) as caught:
        map_partitions(function, range(6), workers=1, advance=done.append, n_units=lambda n: n, name_of=day)
    assert type(caught.value) is raised
    assert isinstance(caught.value.__cause__, kind)
    assert done == [0, 1, 2, 4, 5]
    assert [n_calls(tmp_path, number) for number in range(6)] == [1, 1, 1, 2, 1, 1]
    first = told.replace("\\", "").split(" (")[0]
    assert capsys.readouterr().err.startswith(f"1 partitions failed and are tried once more:\n  recorder 3: {first}")


def test_what_fails_once_costs_nothing(tmp_path: Path) -> None:
    done: list[int] = []
    function = partial(refuse, folder=tmp_path, kind=OSError, times=1)
    assert map_partitions(function, range(6), workers=1, advance=done.append, n_units=lambda n: n) == [0, 1, 2, 3, 4, 5]
    assert done == [0, 1, 2, 4, 5, 3], "it came last"


def test_threads_of_this_process(tmp_path: Path) -> None:
    found = map_partitions(surroundings, range(6), workers=3, advance=nothing, in_threads=True)
    assert {pid for pid, _, _ in found} == {os.getpid()}, "no cluster"
    assert {n for _, threads, _ in found for n in threads} == {1}
    done: list[int] = []
    function = partial(refuse, folder=tmp_path, kind=OSError)
    with pytest.raises(DawnchorusError, match="1 of 6 partitions failed twice; the others are written"):
        map_partitions(function, range(6), workers=3, advance=done.append, n_units=lambda n: n, in_threads=True)
    assert done == [0, 1, 2, 4, 5]
    assert [n_calls(tmp_path, number) for number in range(6)] == [1, 1, 1, 2, 1, 1]
    with pytest.raises(TryAgainError, match=r"^shard 3 is damaged$"):
        map_partitions(partial(refuse, folder=tmp_path, kind=TryAgainError), range(6), workers=2, advance=nothing,
                       in_threads=True)  # fmt: skip


@pytest.mark.parametrize("kind", [TryAgainError, KeyboardInterrupt])
def test_what_ends_a_run_ends_it_at_once(tmp_path: Path, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^shard 3 is damaged$"):
        map_partitions(partial(refuse, folder=tmp_path, kind=kind), range(6), workers=1, advance=nothing)
    assert n_calls(tmp_path, 4) == 0


def test_the_gravest_failure_decides_how_a_run_ends(tmp_path: Path) -> None:
    kinds: dict[int, type[Exception]] = {0: InputError, 1: InputError}
    with pytest.raises(InputError, match="2 of 2 partitions failed twice"):
        map_partitions(partial(fail, kinds=kinds), [0, 1], workers=1, advance=nothing)
    with pytest.raises(StoreError, match=r"partition 1 of 2: 0\n  partition 2 of 2: 1\n"):
        map_partitions(partial(fail, kinds={**kinds, 1: StoreError}), [0, 1], workers=1, advance=nothing)
    with pytest.raises(DawnchorusError) as caught:
        map_partitions(partial(fail, kinds={0: StoreError, 1: KeyError}), [0, 1], workers=1, advance=nothing)
    assert caught.value.exit_code == 1


def fail(number: int, *, kinds: dict[int, type[Exception]]) -> None:
    raise kinds[number](str(number))


def test_memory_decides_how_many_work_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    short = Memory(task_bytes=1000, allowed_bytes=1999)
    found = map_partitions(surroundings, [1, 2, 3], workers=4, advance=nothing, memory=short)
    assert {pid for pid, _, _ in found} == {os.getpid()}, "one fits, and that is this process"
    assert capsys.readouterr().err == (
        "3 workers would need up to 2.93 kiB of memory, 1.95 kiB may be used: only 1 start. --max-memory allows more.\n"
    )
    told = r"needs up to 0.98 kiB of memory, 900 B may be used\. Raise --max-memory, .* smaller shard_windows\.$"
    with pytest.raises(InputError, match=told):
        map_partitions(square, [1, 2], workers=1, advance=nothing, memory=Memory(1000, 900))


def torch_threads(_: int) -> int:
    import torch

    return torch.get_num_threads()


def test_torch_has_its_threads_back_afterwards() -> None:
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert map_partitions(torch_threads, [1, 2], workers=1, advance=nothing) == [1, 1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


# On a cluster ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_client(2) as client:
        yield client


def test_results_come_in_the_tasks_order_and_few_are_in_flight(client: Client) -> None:
    told: list[int] = []
    in_flight: list[int] = []
    tasks = list(range(25))

    def advance(n: int) -> None:
        told.append(n)
        in_flight.append(len(client.futures))

    assert map_partitions(square, tasks, workers=2, advance=advance, n_units=lambda n: n) == [n * n for n in tasks]
    assert sorted(told) == tasks
    assert max(in_flight) <= 4 + 1, "two for each thread, and the one that has ended"
    in_flight.clear()
    bound = Memory(task_bytes=10, allowed_bytes=19)
    map_partitions(square, tasks, workers=2, advance=advance, memory=bound)
    assert max(in_flight) <= 1 + 1


def test_workers_are_processes_of_one_thread(client: Client) -> None:
    found = map_partitions(surroundings, range(8), workers=2, advance=nothing)
    pids = {pid for pid, _, _ in found}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert {n for _, threads, _ in found for n in threads} == {1}
    assert {value for _, _, env in found for value in env} == {"1"}
    assert {worker["nthreads"] for worker in client.scheduler_info()["workers"].values()} == {1}


def test_failures_on_a_cluster_are_told_as_those_here(client: Client, tmp_path: Path) -> None:
    function = partial(refuse, folder=tmp_path)
    with pytest.raises(StoreError, match=r"1 of 10 partitions failed twice.*\n  recorder 3: shard 3 is damaged\n"):
        map_partitions(function, range(10), workers=2, advance=nothing, name_of=day)
    assert [n_calls(tmp_path, number) for number in range(10)] == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1]
    with pytest.raises(DawnchorusError, match=r"ValueError: shard 3 is damaged \(.*test_partitions.py:\d+\)"):
        map_partitions(partial(function, kind=ValueError), range(10), workers=2, advance=nothing)
    with pytest.raises(TryAgainError, match=r"^shard 3 is damaged$"):
        map_partitions(partial(function, kind=TryAgainError), range(2000), workers=2, advance=nothing)
    assert n_calls(tmp_path, 1999) == 0, "it ended at once"
    assert map_partitions(square, [1, 2], workers=2, advance=nothing) == [1, 4], "the workers go on"


def test_a_worker_that_dies_is_survived(client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = dask.config.get("distributed.worker.memory.terminate")
    done: list[int] = []
    found = map_partitions(partial(die, folder=tmp_path, times=1), range(12), workers=2, advance=done.append)
    assert found == list(range(12))
    assert len(done) == 12
    first, *lines = capfd.readouterr().err.splitlines()
    assert first == f"{len(lines)} partitions failed and are tried once more:"
    assert all(": its worker process died, perhaps for want of memory" in line for line in lines), (
        "and nothing of Dask's"
    )
    assert dask.config.get("distributed.worker.memory.terminate") == before


def test_a_result_that_dies_with_its_worker_is_made_again(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_error, killed = on_dask.error_of, list[int]()

    def late(client: Client, future: Future[int]) -> BaseException | None:
        """Look at the first task that has ended only when its worker is gone."""
        if not killed:
            ((worker, *_),) = client.who_has([future]).values()  # type: ignore[no-untyped-call]
            killed.append(client.run(os.getpid, workers=[worker])[worker])
            os.kill(killed[0], signal.SIGKILL)
            while future.status == "finished":
                time.sleep(0.001)
        return found_error(client, future)

    monkeypatch.setattr(on_dask, "error_of", late)
    assert map_partitions(partial(slow, folder=tmp_path), range(6), workers=2, advance=nothing) == list(range(6))
    assert killed


def test_a_task_that_kills_its_workers_is_told_of_and_the_rest_is_done(client: Client, tmp_path: Path) -> None:
    done: list[int] = []
    told = r"^1 of 12 partitions failed twice.*\n  recorder 3: its worker process died, .* fewer --workers"
    with pytest.raises(TryAgainError, match=told) as caught:
        map_partitions(partial(die, folder=tmp_path), range(12), workers=2, advance=done.append, name_of=day)
    assert caught.value.exit_code == 75
    assert len(done) == 11, "only the guilty one is blamed"
    assert n_calls(tmp_path, 3) == 2


def test_nothing_listens_beyond_this_machine(client: Client) -> None:
    here = psutil.Process()
    listening = [
        (process.pid, connection.laddr)
        for process in [here, *here.children(recursive=True)]
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4, "scheduler, dashboard, workers"
    assert {address.ip for _, address in listening} == {"127.0.0.1"}
    assert client.dashboard_link.startswith(("http://127.0.0.1:", "https://127.0.0.1:"))


def test_traffic_is_encrypted_and_a_stranger_is_refused(client: Client, tmp_path: Path) -> None:
    """On a shared machine an open port of Dask would be somebody else's shell."""
    bare, stranger = (ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) for _ in range(2))
    for context in (bare, stranger):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    other = Security.temporary().get_tls_config_for_role("client")  # type: ignore[no-untyped-call] # it is not typed
    for name in ("key", "cert"):
        (tmp_path / name).write_text(other[name])
    stranger.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    friend = client.security.get_connection_args("client")["ssl_context"]
    client.wait_for_workers(2, timeout=60)
    info = client.scheduler_info()
    addresses = [info["address"], *info["workers"]]
    assert len(addresses) == 3
    for address in addresses:
        assert address.startswith("tls://127.0.0.1:")
        port = int(address.rpartition(":")[2])
        assert answers(port, friend), "with the key it says hello"
        assert not answers(port, bare), "without a key"
        assert not answers(port, stranger), "with a key of one's own"
        assert not answers(port, None), "without TLS"


def answers(port: int, context: ssl.SSLContext | None) -> bool:
    """Tell whether a server sends anything to one who connects in this way."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            if context is None:
                plain.sendall(b"\x00" * 64)
                return plain.recv(1) not in {b"", b"\x15"}  # the end, or an alert of TLS
            with context.wrap_socket(plain) as tls:
                return tls.recv(1) != b""
        except (ssl.SSLError, ConnectionError):
            return False


def test_the_cluster_of_a_run_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BLAS:
        monkeypatch.setenv(name, "3")
    with local_client(2, Memory(10**9, 3 * 10**9)) as own:
        assert current_client() is own
        limits = {worker["memory_limit"] for worker in own.scheduler_info()["workers"].values()}
        assert limits == {3 * 10**9 // 2}, "a worker that takes more is ended"
        pids = {pid for pid, _, _ in map_partitions(surroundings, range(4), workers=2, advance=nothing)}
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert [os.environ[name] for name in BLAS] == ["3"] * len(BLAS), "the environment is as it was"
