import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lake import claims
from lake.claims import claim, live_claims
from lake.errors import TryAgainError
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
        assert json.loads(storage.read("claims/0of1.json"))["pid"] == os.getpid()


def test_another_host_expires_after_a_minute_without_a_beat(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    owner = {"host": "elsewhere", "pids": "", "pid": 1, "started": 0.0, "beat": "then"}
    storage.write("claims/0of1.json", json.dumps({**owner, "beat_s": time.time() - 5}).encode())
    with pytest.raises(TryAgainError, match="process 1 on elsewhere"), claim(storage, "mels", (0, 1), "plan"):
        pytest.fail("two owners")
    storage.write("claims/0of1.json", json.dumps({**owner, "beat_s": time.time() - 61}).encode())
    with claim(storage, "mels", (0, 1), "plan"):
        assert json.loads(storage.read("claims/0of1.json"))["host"] == socket.gethostname()


def test_of_many_that_start_at_once_one_wins(tmp_path: Path) -> None:
    code = f"""
import sys, time
from lake.claims import claim
from lake.errors import TryAgainError
from lake.storage import Storage
try:
    with claim(Storage({str(tmp_path)!r}), "mels", (0, 1), "plan"):
        time.sleep(2.5)
except TryAgainError:
    sys.exit(75)
"""
    dead = {"host": "elsewhere", "pids": "", "pid": 1, "started": 0.0, "beat": "then", "beat_s": 0.0}
    Storage(tmp_path).write("claims/0of1.json", json.dumps(dead).encode())
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert sorted(process.wait() for process in running) == [0, 75, 75, 75]


def test_who_comes_too_late_to_take_over_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, create = Storage(tmp_path), Storage.create
    dead = {"host": "elsewhere", "pids": "", "pid": 1, "started": 0.0, "beat": "then", "beat_s": 0.0}
    storage.write("claims/0of1.json", json.dumps(dead).encode())
    tried: list[str] = []

    def taken_meanwhile(self: Storage, key: str, data: bytes) -> bool:
        tried.append(key)
        return False if tried.count("claims/0of1.json.takeover") == 1 else create(self, key, data)

    monkeypatch.setattr(Storage, "create", taken_meanwhile)
    with claim(storage, "mels", (0, 1), "plan"):
        assert json.loads(storage.read("claims/0of1.json"))["pid"] == os.getpid()
    assert tried.count("claims/0of1.json.takeover") == 2


def test_a_claim_without_its_words_yet_is_a_live_one_for_a_minute(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write("claims/0of1.json", b"")
    with pytest.raises(TryAgainError, match=r"worked on by process \? on \?"), claim(storage, "mels", (0, 1), "plan"):
        pytest.fail("two owners")
    old = time.time() - 61
    os.utime(tmp_path / "claims/0of1.json", (old, old))
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
