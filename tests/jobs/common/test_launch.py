"""Processes of one launcher: their numbers, their exit codes, signals, and the ends of one and of the launcher."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from jobs.common import launch as module
from jobs.common.launch import gravest, launch, run_child
from lake.errors import BY_GRAVITY, DawnchorusError, InputError

Program = Callable[[str], str]
HERE = "import os, signal, sys, time\nfrom pathlib import Path\nrank = int(os.environ['DAWNCHORUS_RANK'])\n"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a function that writes a module of the given lines, which know their ``rank``, and returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def written(lines: str) -> str:
        (tmp_path / "started.py").write_text(HERE + lines)
        return "started"

    return written


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([0, 0], 0), ([0, 5], 5), ([75, 5], 75), ([75, 3, 0], 3), ([2, 3], 3), ([3, 4], 4), ([4, 1], 1),
        ([1, 137], 137), ([137, 143, 0], 143), ([75, 0, 4, 75], 4),
    ],
)  # fmt: skip
def test_the_gravest_code_counts(codes: list[int], code: int) -> None:
    assert gravest(codes) == gravest(codes[::-1]) == code


def test_every_exit_code_of_an_error_has_its_gravity() -> None:
    """A code that is left out of the order would count as graver than a bug."""
    kinds = [DawnchorusError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert {kind.exit_code for kind in kinds} | {0} == set(BY_GRAVITY)


def test_each_process_knows_its_place(program: Program, tmp_path: Path) -> None:
    name = program(
        "names = ('RANK', 'RANKS', 'LOCAL_RANK', 'NODES', 'MEETING')\n"
        "store = Path(os.environ['DAWNCHORUS_MEETING'])\n"
        "told = [os.environ[f'DAWNCHORUS_{name}'] for name in names]\n"
        "told += [oct(store.parent.stat().st_mode & 0o777), str(store.exists()), *sys.argv[1:]]\n"
        f"Path({str(tmp_path)!r}, f'told-{{rank}}').write_text('\\n'.join(told))\n"
    )
    meeting = tmp_path / "meet me: %j"
    meeting.mkdir(mode=0o700)
    assert launch(name, ["a b", "--", "-x"], 2, node=(1, 3), meeting=meeting) == 0
    told = [path.read_text().splitlines() for path in sorted(tmp_path.glob("told-*"))]
    common = ["3", str(meeting / "store"), "0o700", "False", "a b", "--", "-x"]
    assert told == [["2", "6", "0", *common], ["3", "6", "1", *common]]
    assert launch(name, [], 2) == 0
    alone = (tmp_path / "told-0").read_text().splitlines()
    assert alone[:4] == ["0", "2", "0", "1"]
    assert not Path(alone[4]).parent.exists(), "the folder is removed"


def test_codes_of_all_processes_count(program: Program) -> None:
    assert launch(program("sys.exit([0, 5, 75][rank])"), [], 3) == 75


def test_a_process_that_is_killed_is_named(program: Program, capfd: pytest.CaptureFixture[str]) -> None:
    assert launch(program("os.kill(os.getpid(), signal.SIGKILL) if rank else sys.exit(75)"), [], 2) == 137
    assert capfd.readouterr().err == "dawnchorus: process 1 was ended by SIGKILL.\n"


def test_where_one_fails_the_others_are_ended(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second heeds SIGTERM, the third does not; neither hides the code of the one that failed."""
    monkeypatch.setattr(module, "GRACE_S", 0.5)
    monkeypatch.setattr(module, "KILL_S", 0.5)
    name = program(
        "if rank == 0: time.sleep(0.5); sys.exit(3)\n"
        "if rank == 2: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "time.sleep(60)"
    )
    began_s = time.monotonic()
    assert launch(name, [], 3) == 3
    assert time.monotonic() - began_s < 20


def test_shares_do_not_need_each_other(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.0)
    name = program(f"if rank == 0: sys.exit(4)\ntime.sleep(1); Path({str(tmp_path)!r}, 'done').touch()")
    assert launch(name, [], 2, together=False) == 4
    assert (tmp_path / "done").exists()


WAITING = (
    "signal.signal(signal.SIGTERM, lambda *_: (Path(sys.argv[1], f'told-{rank}').touch(), os._exit(75)))\n"
    "Path(sys.argv[1], f'pid-{rank}').write_text(str(os.getpid()))\n"
    "time.sleep(60)\n"
)


def launcher(name: str, folder: Path) -> "subprocess.Popen[str]":
    """Start a launcher of two waiting processes in a process of its own, and wait until they wait."""
    code = f"import sys; from jobs.common.launch import launch; sys.exit(launch({name!r}, [{str(folder)!r}], 2))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[3])])}
    started = subprocess.Popen([sys.executable, "-c", code], env=environment, text=True)
    until_s = time.monotonic() + 30
    while len(list(folder.glob("pid-*"))) < 2 or not all(path.read_text() for path in folder.glob("pid-*")):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    return started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_reach_all_processes_as_sigterm(program: Program, tmp_path: Path, number: signal.Signals) -> None:
    started = launcher(program(WAITING), tmp_path)
    started.send_signal(number)
    assert started.wait(20) == 75
    assert len(list(tmp_path.glob("told-*"))) == 2


def test_processes_end_with_a_launcher_that_is_killed(program: Program, tmp_path: Path) -> None:
    started = launcher(program(WAITING), tmp_path)
    pids = [int(path.read_text()) for path in tmp_path.glob("pid-*")]
    started.kill()
    started.wait(20)
    until_s = time.monotonic() + 20
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    assert len(list(tmp_path.glob("told-*"))) == 2


def test_a_process_that_had_no_time_to_heed_a_signal_may_come_again(program: Program, tmp_path: Path) -> None:
    started = launcher(program(WAITING.split("\n", 1)[1]), tmp_path)
    started.send_signal(signal.SIGTERM)
    assert started.wait(20) == 75


@pytest.mark.parametrize("mode", [0o755, 0o710, None])
def test_a_folder_that_others_can_enter_is_refused(mode: int | None, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    if mode is not None:
        folder.mkdir()
        folder.chmod(mode)
        assert stat.S_IMODE(folder.stat().st_mode) == mode
    with pytest.raises(InputError, match=r"--meet .*m: expected a folder of yours that nobody else can enter"):
        launch("started", [], 2, node=(0, 2), meeting=folder)


def test_several_machines_need_a_folder() -> None:
    with pytest.raises(InputError, match="--node 0/2: expected --meet FOLDER, on a disk that all nodes share"):
        launch("started", [], 2, node=(0, 2))


@pytest.mark.parametrize("code", [0, 3, 75, 137])
def test_a_child_gives_its_exit_code(code: int) -> None:
    assert run_child(["bash", "-c", f"exit {code}"]) == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_a_child_started_is_asked_to_stop_and_waited_for(tmp_path: Path, number: signal.Signals) -> None:
    """Bash ends at once; the program that it waits for puts its things in order first."""
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("whoever started the tests ignores this signal, as nohup does, and a child inherits that")
    orderly = (
        f"trap 'sleep 0.3; touch {tmp_path}/whole; exit 0' TERM; touch {tmp_path}/begun; while :; do sleep 0.05; done"
    )
    (tmp_path / "inner.sh").write_text(orderly)
    command = ["bash", "-c", f"bash {tmp_path}/inner.sh; true"]
    lines = f"import sys\nfrom jobs.common.launch import run_child\nsys.exit(run_child({command!r}))"
    parent = subprocess.Popen([sys.executable, "-c", lines], start_new_session=True)
    until_s = time.monotonic() + 20
    while not (tmp_path / "begun").exists() and time.monotonic() < until_s:
        time.sleep(0.02)
    started = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(number)
    assert parent.wait(timeout=20) == 75
    assert (tmp_path / "whole").exists()
    assert not [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_an_ignored_signal_stays_ignored() -> None:
    """As under ``nohup``."""
    lines = """
import os, signal, sys
from jobs.common.launch import run_child
signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.exit(run_child(['bash', '-c', f'kill -HUP {os.getpid()}; sleep 0.3; exit 4']))
"""
    assert subprocess.run([sys.executable, "-c", lines], check=False).returncode == 4
