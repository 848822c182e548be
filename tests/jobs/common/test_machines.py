"""Schedulers that run already: keys, addresses, refusals; real processes and real TLS."""

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from daskclusters import Cluster, slow_pid
from distributed import Client

from jobs.common import machines
from jobs.common.machines import (
    CERTIFICATE,
    KEY,
    connected,
    write_certificate,
)
from jobs.common.memory import Memory
from jobs.common.partitions import map_partitions
from jobs.common.schedulers import Scheduler, current_client, parse_scheduler
from lake.errors import InputError, TryAgainError, UsageError


def nothing(_: int) -> None:
    pass


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.stop()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "CONNECT_S", 2.0)
    monkeypatch.setattr(machines, "FILE_WAIT_S", 0.3)


# With processes --------------------------------------------------------------------------------------------


def test_partitions_go_to_the_workers_of_a_scheduler(cluster: Cluster) -> None:
    with connected(cluster.scheduler) as client:
        assert client is not None
        assert client is current_client()
        client.wait_for_workers(2, timeout=60)
        pids = set(map_partitions(slow_pid, range(12), workers=2, advance=nothing))
        assert len(pids) == 2
        assert not pids & {os.getpid(), *(process.pid for process in cluster.processes)}
        assert map_partitions(slow_pid, range(3), workers=1, advance=nothing) == [os.getpid()] * 3
        assert set(map_partitions(slow_pid, [1], workers=2, advance=nothing)) < pids, "a single one too"
        told = (
            r"2 of the scheduler's 2 workers have too little memory: tls://\S+ has .* for 1 threads, .* to 909.49 TiB"
        )
        with pytest.raises(InputError, match=told):
            map_partitions(slow_pid, range(3), workers=2, advance=nothing, memory=Memory(10**15))
    assert current_client() is None


def test_all_of_it_listens_with_tls_and_the_dashboard_on_loopback_only(cluster: Cluster) -> None:
    with connected(cluster.scheduler) as client:
        assert client is not None
        client.wait_for_workers(2, timeout=60)
        info = client.scheduler_info()
    assert all(address.startswith("tls://127.0.0.1:") for address in [info["address"], *info["workers"]])
    family = [psutil.Process(process.pid) for process in cluster.processes]
    family += [child for process in family for child in process.children(recursive=True)]
    listening = {
        connection.laddr.ip
        for process in family
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_a_client_with_another_key_is_refused(
    cluster: Cluster, tmp_path: Path, soon: None, capfd: pytest.CaptureFixture[str]
) -> None:
    write_certificate(tmp_path / "other")
    address = json.loads(cluster.file.read_text())["address"]
    told = rf"^{address}: no Dask scheduler answers that has the same key .* started with the same certificate"
    with pytest.raises(TryAgainError, match=told), connected(Scheduler(address, tls=tmp_path / "other")):
        pass
    bare: Any = Client
    with pytest.raises(OSError, match=r"Timed out|TCP \(closed\)"):
        bare(address.replace("tls://", "tcp://"), timeout=2)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_a_scheduler_that_is_lost_ends_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own = Cluster(tmp_path)
    try:
        done: list[int] = []

        def advance(_: int) -> None:
            done.append(1)
            if len(done) == 3:
                own.processes[0].send_signal(signal.SIGKILL)

        with (
            connected(own.scheduler),
            pytest.raises(TryAgainError, match=r"^tls://\S+: the connection to the Dask .* is lost"),
        ):
            map_partitions(slow_pid, range(1000), workers=2, advance=advance)
        assert 3 <= len(done) < 100
    finally:
        own.stop()
    assert "distributed" not in capfd.readouterr().err


# Without ---------------------------------------------------------------------------------------------------


def test_a_key_is_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "key"
    paths = write_certificate(folder)
    assert paths == (folder / CERTIFICATE, folder / KEY)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert b"PRIVATE KEY" in paths[1].read_bytes()
    assert b"PRIVATE KEY" not in paths[0].read_bytes()
    before = [path.read_bytes() for path in paths]
    with pytest.raises(
        InputError, match=rf"{CERTIFICATE}, .*{KEY}: there already\. Use it \(--tls .*\), or name another"
    ):
        write_certificate(folder)
    assert [path.read_bytes() for path in paths] == before
    write_certificate(tmp_path / "b")
    assert (tmp_path / "b" / KEY).read_bytes() != before[1]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "127.0.0.1:1", "node7:8786", "ucx://node7:8786"])
def test_a_scheduler_without_tls_is_refused(address: str, tmp_path: Path) -> None:
    told = rf"^{address}: expected a scheduler that speaks TLS .* `dawnchorus certificate FOLDER`.* --insecure"
    for scheduler in (
        Scheduler(address),
        Scheduler(address, tls=tmp_path),
        Scheduler(address, tls=tmp_path, insecure=True),
    ):
        with pytest.raises(InputError, match=told), connected(scheduler):
            pass


def test_a_scheduler_without_tls_is_taken_when_told_so(soon: None) -> None:
    with (
        pytest.raises(TryAgainError, match=r"^tcp://127.0.0.1:1: no Dask scheduler answers"),
        connected(Scheduler("tcp://127.0.0.1:1", insecure=True)),
    ):
        pass


def test_the_key_is_asked_for_and_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[Path | None, str]] = [
        (None, r"expected the certificate and key that it was started with, found none\. Add --tls FOLDER"),
        (tmp_path, rf"^--tls {tmp_path}: no {CERTIFICATE} there; `dawnchorus certificate FOLDER` makes both\.$"),
    ]
    for tls, told in cases:
        with pytest.raises(InputError, match=told), connected(Scheduler("tls://127.0.0.1:1", tls=tls)):
            pass
    write_certificate(tmp_path / "key")
    (tmp_path / "key" / KEY).chmod(0o640)
    with (
        pytest.raises(InputError, match=r"key\.pem: others can read this key\. Type `chmod 600 .*key\.pem`"),
        connected(Scheduler("tls://127.0.0.1:1", tls=tmp_path / "key")),
    ):
        pass


def test_a_key_in_the_configuration_of_dask_is_taken(cluster: Cluster) -> None:
    import dask.config

    certificate, key = str(cluster.key / CERTIFICATE), str(cluster.key / KEY)
    tls: dict[str, Any] = {"ca-file": certificate, "client": {"cert": certificate, "key": key}}
    with (
        dask.config.set({f"distributed.comm.tls.{name}": value for name, value in tls.items()}),
        connected(Scheduler(file=cluster.file)) as client,
    ):
        assert client is not None
        assert client.scheduler_info()["address"].startswith("tls://")


def test_the_file_of_a_scheduler(tmp_path: Path, soon: None) -> None:
    file = tmp_path / "scheduler.json"
    with (
        pytest.raises(
            TryAgainError, match=rf"^--scheduler-file {file}: not there after 0.3 s\. Start `dask scheduler "
        ),
        connected(Scheduler(file=file)),
    ):
        pass
    for text in ("{", "[]", '{"id": 1}'):
        file.write_text(text)
        told = r"expected the file that `dask scheduler --scheduler-file` writes, with an address \(\w+"
        with pytest.raises(InputError, match=told), connected(Scheduler(file=file)):
            pass
    file.write_text('{"address": "tcp://127.0.0.1:1"}')
    with (
        pytest.raises(InputError, match=r"^tcp://127.0.0.1:1: expected a scheduler that speaks TLS"),
        connected(Scheduler(file=file)),
    ):
        pass


def test_a_scheduler_on_the_command_line() -> None:
    file, tls = Path("s.json"), Path("key")
    assert parse_scheduler(None, None, None, insecure=False) is None
    assert parse_scheduler("tls://a:1", None, tls, insecure=False) == Scheduler("tls://a:1", None, tls)
    assert parse_scheduler(None, file, None, insecure=True) == Scheduler(None, file, None, insecure=True)
    with pytest.raises(UsageError, match=r"^--scheduler a and --scheduler-file s.json: expected one of them\.$"):
        parse_scheduler("a", file, None, insecure=False)
    with pytest.raises(UsageError, match=r"^--tls key: expected --scheduler or --scheduler-file with it"):
        parse_scheduler(None, None, tls, insecure=False)
    with pytest.raises(UsageError, match=r"^--insecure: expected --scheduler"):
        parse_scheduler(None, None, None, insecure=True)
