import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client, Security
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from jobs.common.partitions import _on_cluster, local_client, map_partitions, share
from lake.errors import InputError, StoreError, TryAgainError

BLAS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def nothing(_: int) -> None:
    pass


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 3:
        raise StoreError(f"shard {number} is damaged")
    return number


def surroundings(_: int) -> tuple[int, list[int], list[str | None]]:
    import numpy as np

    np.linalg.inv(np.eye(3))
    return os.getpid(), [pool["num_threads"] for pool in threadpool_info()], [os.environ.get(name) for name in BLAS]


def die(number: int) -> int:
    if number == 3:
        os._exit(9)
    return number


# Shares ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers()), st.integers(1, 12))
def test_shares_are_disjoint_and_complete(tasks: list[int], n: int) -> None:
    numbered = list(enumerate(tasks))
    shares = [share(numbered, (i, n)) for i in range(n)]
    assert sorted(task for mine in shares for task in mine) == numbered
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(mine == sorted(mine) for mine in shares)
    assert share(numbered, None) == numbered


@pytest.mark.parametrize("part", [(4, 4), (0, 0), (-1, 4)])
def test_a_share_that_is_none(part: tuple[int, int]) -> None:
    told = rf"--partition {part[0]}/{part[1]}: expected i/n with 0 <= i < n, for example 0/4 to 3/4\.$"
    with pytest.raises(InputError, match=told):
        share([1, 2], part)


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
    with pytest.raises(StoreError, match="shard 3 is damaged"):
        map_partitions(refuse, tasks, workers=1, advance=nothing)


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


def test_results_come_in_the_tasks_order(client: Client) -> None:
    told: list[int] = []
    tasks = list(range(25))
    found = _on_cluster(client, square, tasks, told.append, lambda task: task)
    assert found == [square(task) for task in tasks]
    assert sorted(told) == tasks


def test_workers_are_processes_of_one_thread(client: Client) -> None:
    found = _on_cluster(client, surroundings, list(range(8)), nothing, lambda _: 1)
    pids = {pid for pid, _, _ in found}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert {n for _, threads, _ in found for n in threads} == {1}
    assert {value for _, _, env in found for value in env} == {"1"}
    assert {worker["nthreads"] for worker in client.scheduler_info()["workers"].values()} == {1}


def test_an_error_of_a_task_reaches_the_caller_as_it_is(client: Client) -> None:
    with pytest.raises(StoreError, match=r"^shard 3 is damaged$") as caught:
        _on_cluster(client, refuse, list(range(10)), nothing, lambda _: 1)
    assert caught.value.exit_code == 4
    assert _on_cluster(client, square, [1, 2], nothing, lambda _: 1) == [1, 4], "the others go on"


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


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BLAS:
        monkeypatch.setenv(name, "3")
    with pytest.raises(TryAgainError, match=r"a worker process died .* fewer --workers"):
        map_partitions(die, list(range(6)), workers=2, advance=nothing)
    assert [os.environ[name] for name in BLAS] == ["3"] * len(BLAS), "the environment is as it was"
