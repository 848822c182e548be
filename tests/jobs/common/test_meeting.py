"""Processes that agree on a file through a folder, also where killed ones have left theirs there."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.common import meeting
from jobs.common.meeting import agree
from lake.errors import InputError, TryAgainError

PROCESS = """
import sys
from pathlib import Path
from jobs.common.meeting import agree
agree(Path(sys.argv[1]), int(sys.argv[2]), 3, 60)
"""
ROOT = Path(__file__).parents[3]


def all_agree(folder: Path, n: int = 3, order: tuple[int, ...] = (2, 0, 1)) -> list[tuple[Path, bool]]:
    with ThreadPoolExecutor(n) as pool:
        found = {}
        for rank in order:
            found[rank] = pool.submit(agree, folder, rank, n, 20)
            time.sleep(0.15)
        return [found[rank].result() for rank in range(n)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_take_the_same_new_file(order: tuple[int, ...], tmp_path: Path) -> None:
    folder = tmp_path / "ledgers" / "net" / ".meeting"
    first = all_agree(folder, order=order)
    second = all_agree(folder, order=order)
    assert len(set(first)) == len(set(second)) == 1
    (one, is_one_host), (other, _) = first[0], second[0]
    assert is_one_host
    assert one != other
    assert other.read_bytes() == b""
    assert not one.exists(), "the file of an earlier launch is removed"
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_processes_on_two_hosts_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = iter(["a", "a", "b"])
    monkeypatch.setattr(meeting, "_host", lambda: next(hosts))
    assert {is_one_host for _, is_one_host in all_agree(tmp_path / "m")} == {False}


@pytest.mark.parametrize("left", [(0,), (1, 2), (0, 2), (0, 1, 2)])
def test_what_killed_processes_left_is_never_taken(left: tuple[int, ...], tmp_path: Path) -> None:
    """Each has left its file; of process 0 also an offer that others had taken, with content in the store."""
    folder = tmp_path / "m"
    folder.mkdir(mode=0o700)
    (folder / "old").write_bytes(b"another training's addresses")
    files = {
        0: {"file": "old", "words": ["w0", "w1", "w2"], "one_host": True},
        1: {"word": "w1", "host": "h", "took": "old"},
        2: {"word": "w2", "host": "h", "took": "old"},
    }
    for i in left:
        (folder / f"rank-{i}.json").write_text(json.dumps(files[i]))
    found = all_agree(folder, order=(1, 0, 2))
    assert len(set(found)) == 1
    assert found[0][0].name != "old"


def test_a_launch_that_was_killed_and_started_again(tmp_path: Path) -> None:
    """Processes 0 and 1 wait for a third that does not come, and are killed with SIGKILL."""
    folder = tmp_path / "m"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    waiting = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(folder), str(i)], env=environment) for i in range(2)
    ]
    until_s = time.monotonic() + 30
    while not (folder / "rank-1.json").exists() or len(list(folder.glob("[0-9a-f]*"))) < 1:
        assert time.monotonic() < until_s
        time.sleep(0.05)
    for process in waiting:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (killed,) = [path for path in folder.iterdir() if "rank" not in path.name]
    found = all_agree(folder)
    assert len(set(found)) == 1
    assert found[0][0] != killed


def test_who_does_not_come_is_named(tmp_path: Path) -> None:
    with pytest.raises(TryAgainError, match="of 3 processes that train together, number 1, 2 did not come"):
        agree(tmp_path / "m", 0, 3, 0)
    with pytest.raises(TryAgainError, match="number 0 did not come"):
        agree(tmp_path / "m", 2, 3, 0)


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    folder.chmod(0o750)
    with pytest.raises(InputError, match=r"m: expected a folder of yours that nobody else can enter"):
        agree(folder, 0, 2, 1)
