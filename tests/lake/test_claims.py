import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lake import claims
from lake.claims import Claim, claim, live_claims
from lake.constants import MS_PER_DAY
from lake.errors import TryAgainError
from lake.grid import Grid
from lake.ledger import Entry, Ledger
from lake.records import seal, unseal
from lake.storage import Storage


def held(storage: Storage) -> str:
    return ",".join(key for key in storage.list_keys("claims"))


def test_a_part_has_one_owner_and_other_parts_go_beside_it(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    with claim(storage, "mels", (0, 2), "plan"):
        assert held(storage) == "claims/0of2.json"
        with claim(storage, "mels", (1, 2), "plan"):
            assert len(live_claims(storage)) == 2
        for part in [(0, 2), (0, 1), (1, 3)]:
            owner = rf"'mels': part 0 of 2 .* process {os.getpid()}"
            with pytest.raises(TryAgainError, match=owner) as caught, claim(storage, "mels", part, "plan"):
                pytest.fail("two owners")
            assert caught.value.exit_code == 75
    assert held(storage) == ""


def test_the_dead_of_this_host_are_taken_over_at_once(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    code = f"""
import os, signal
from lake.claims import claim
from lake.storage import Storage
with claim(Storage({str(tmp_path)!r}), "mels", (0, 1), "plan"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    assert held(storage) == "claims/0of1.json"
    with claim(storage, "mels", (0, 1), "plan"):
        assert unseal(storage.read("claims/0of1.json"), "")["pid"] == os.getpid()


ELSEWHERE = {"host": "elsewhere", "pids": "", "pid": 1, "started": 0.0, "beat": "then"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_S", 0.05)
    monkeypatch.setattr(claims, "EXPIRES_S", 0.4)


@pytest.mark.usefixtures("quick")
def test_another_host_expires_when_it_was_seen_without_a_beat(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write("claims/0of1.json", json.dumps({**ELSEWHERE, "beat_s": time.time()}).encode())
    with pytest.raises(TryAgainError, match="process 1 on elsewhere"), claim(storage, "mels", (0, 1), "plan"):
        pytest.fail("two owners")
    for age_s in (61, -120):  # a clock of another host tells nothing
        storage.write("claims/0of1.json", json.dumps({**ELSEWHERE, "beat_s": time.time() - age_s}).encode())
        began_s = time.monotonic()
        with claim(storage, "mels", (0, 1), "plan"):
            assert unseal(storage.read("claims/0of1.json"), "")["host"] == socket.gethostname()
        assert time.monotonic() - began_s >= claims.EXPIRES_S


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("other", ["0of1", "0of3", "2of5"])
@pytest.mark.parametrize("ahead_s", [-120, 120, 1e6])
def test_two_hosts_with_clocks_apart_exclude_each_other(tmp_path: Path, ahead_s: float, other: str) -> None:
    storage = Storage(tmp_path)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            now_s = time.time() + ahead_s
            storage.write(f"claims/{other}.json", json.dumps({**ELSEWHERE, "beat_s": now_s}).encode())

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        while not held(storage):
            time.sleep(0.01)
        with pytest.raises(TryAgainError, match="process 1 on elsewhere"), claim(storage, "mels", (0, 1), "plan"):
            pytest.fail("two owners")
        assert [owner["host"] for owner in live_claims(storage)] == ["elsewhere"]
    finally:
        stop.set()
        thread.join()
    with claim(storage, "mels", (0, 1), "plan"):
        assert held(storage) == "claims/0of1.json", "what excludes it has expired, and is removed"


CHILD = """
import sys, time
from lake import claims
from lake.errors import TryAgainError
from lake.ledger import Entry, Ledger
from lake.storage import Storage
claims.BEAT_S, claims.EXPIRES_S = 0.05, 0.4
claims._here = lambda: {"host": sys.argv[2], "pids": ""}
storage = Storage(sys.argv[1])
try:
    with claims.claim(storage, "mels", (0, 1), "plan") as held:
        print("claimed", flush=True)
        for block in range(int(sys.argv[3])):
            Ledger(storage, held).add("2021-07-01", Entry("r", block, sys.argv[2], {}, [], [], {}))
            time.sleep(0.01)
except TryAgainError as error:
    print(error, flush=True)
    sys.exit(75)
"""


def start(folder: Path, host: str, n_lines: int) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", CHILD, str(folder), host, str(n_lines)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_who_was_suspended_for_long_stops_before_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "r/2021-07-01.jsonl"
    first = start(tmp_path, "one", 100_000)
    assert first.stdout is not None
    assert first.stdout.readline() == "claimed\n"
    while not path.exists():
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    try:
        n_before = path.read_bytes().count(b"\n")
        time.sleep(0.6)  # its last beat is old by any clock: a recent one is believed at once
        second = start(tmp_path, "two", 300)
        assert second.stdout is not None
        assert second.stdout.readline() == "claimed\n"
    except BaseException:
        first.kill()
        first.communicate()
        raise
    first.send_signal(signal.SIGCONT)
    said, _ = first.communicate()
    assert first.returncode == 75
    assert "the claim of this process" in said
    assert "is now held by process" in said
    assert said.count("\n") == 1
    assert held(Storage(tmp_path)) == "claims/0of1.json", "the other's claim stands"
    second.communicate()
    assert second.returncode == 0
    owners = [unseal(line, "")["inputs"] for line in path.read_bytes().split(b"\n")[n_before:-1]]
    assert owners.count("one") <= 1, "the line that it was in the middle of"
    assert owners.count("two") == 300
    assert owners[-300:] == ["two"] * 300
    assert held(Storage(tmp_path)) == ""


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("gone", [True, False])
def test_a_lost_claim_is_noticed_and_left_to_the_other(tmp_path: Path, *, gone: bool) -> None:
    storage = Storage(tmp_path)
    grid = Grid(0, MS_PER_DAY, 6000, 3000)
    other = seal({**ELSEWHERE, "beat_s": time.time(), "token": "theirs"})

    def work(mine: Claim) -> None:
        ledger = Ledger(storage, mine)
        ledger.settle_grid(grid, ["a"])
        if gone:
            storage.remove("claims/0of1.json")
        else:
            storage.write("claims/0of1.json", other)
        time.sleep(3 * claims.BEAT_S)
        assert storage.read_or_none("claims/0of1.json") == (None if gone else other), "no beat writes over it"
        refused: list[Callable[[], None]] = [
            lambda: ledger.add("2021-07-01", Entry("r", 0, "", {}, [], [], {})),
            lambda: ledger.settle_grid(grid, ["a", "b"]),
            lambda: ledger.settle_files({"a": "b"}),
            lambda: ledger.settle_commit("c", {}),
            lambda: ledger.open_run("mels", {"job": "x", "config_id": "1"}),
        ]
        for write in refused:
            with pytest.raises(TryAgainError, match="the claim of this process"):
                write()

    with pytest.raises(TryAgainError) as caught, claim(storage, "mels", (0, 1), "plan") as mine:
        work(mine)
    assert caught.value.exit_code == 75
    assert storage.list_keys() == (["grid.json"] if gone else ["claims/0of1.json", "grid.json"])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("data", [b"{", b"{}", b"null", b"\0" * 40, b'{"host": 3, "beat_s": "x"}', b'{"pid": []}'])
def test_a_damaged_claim_is_no_error_and_expires(tmp_path: Path, data: bytes) -> None:
    storage = Storage(tmp_path)
    storage.write("claims/0of1.json", data)
    storage.write("claims/notes.txt", b"")
    storage.write("claims/some.json", b"")
    assert len(live_claims(storage)) == 1
    with claim(storage, "mels", (0, 1), "plan"):
        assert unseal(storage.read("claims/0of1.json"), "")["pid"] == os.getpid()


def test_of_many_that_start_at_once_one_wins(tmp_path: Path) -> None:
    dead = {**ELSEWHERE, "beat_s": 0.0}
    Storage(tmp_path).write("claims/0of1.json", json.dumps(dead).encode())
    running = [start(tmp_path, f"host {i}", 200) for i in range(4)]
    said = [process.communicate()[0] for process in running]
    assert sorted(process.returncode for process in running) == [0, 75, 75, 75], said
    lines = (tmp_path / "r/2021-07-01.jsonl").read_bytes().split(b"\n")[:-1]
    assert len({unseal(line, "")["inputs"] for line in lines[-200:]}) == 1
    assert held(Storage(tmp_path)) == ""


@pytest.mark.usefixtures("quick")
def test_a_claim_without_its_words_yet_is_a_live_one_for_a_while(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write("claims/0of1.json", b"")
    with pytest.raises(TryAgainError, match=r"worked on by process \? on \?"), claim(storage, "mels", (0, 1), "plan"):
        pytest.fail("two owners")
    time.sleep(claims.EXPIRES_S)
    with claim(storage, "mels", (0, 1), "plan"):
        pass


def test_a_disk_that_cannot_be_written_any_more_hides_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path)

    def refuse(*_: object) -> None:
        raise TryAgainError("cannot be written")

    monkeypatch.setattr(Storage, "remove", refuse)
    with pytest.raises(ZeroDivisionError), claim(storage, "mels", (0, 1), "plan"):
        raise ZeroDivisionError


def test_a_beat_that_fails_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, failures = Storage(tmp_path), [TryAgainError("full"), OSError(5, "no network")]
    write, beaten = Storage.write, threading.Event()

    def flaky(self: Storage, key: str, data: bytes) -> None:
        if failures:
            raise failures.pop()
        write(self, key, data)
        beaten.set()

    monkeypatch.setattr(claims, "BEAT_S", 0.01)
    with claim(storage, "mels", (0, 1), "plan"):
        monkeypatch.setattr(Storage, "write", flaky)
        assert beaten.wait(10)
