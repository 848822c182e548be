"""Many workers: processes of this machine, a Dask cluster of three hosts with addresses of their own, a Slurm array.

    python -m benchmarks.hosts                    # as root, for network namespaces
    SLURM_CONF=… python -m benchmarks.hosts 200   # an array of 200 tasks as well

Each host is a network namespace behind a bridge. One is killed, one is stopped three
quarters of the time, one joins late. All share
this machine's cores and disk, so rates say what workers cost, not what machines bring.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from benchmarks.large import N_RECORDERS, write_study
from benchmarks.processes import Cost, measured
from benchmarks.report import FOLDER, Figure, report
from benchmarks.season import differing
from jobs.common.machines import CERTIFICATE, KEY, SCHEDULER_FILE, connected, write_certificate
from jobs.common.ordered import Team
from jobs.common.schedulers import Scheduler

PROCESSES: Final = (1, 2, 4, 8)
N_DAYS, HOURS = 3, 1
"""Days of each recorder, 27 partitions in all, and hours of sound in each."""
N_PARTITIONS: Final = 10_000
HOSTS: Final = {"dies": (0.0, 20.0), "slow": (0.0, None), "late": (15.0, None)}
"""Seconds from the run's start at which a host starts and is killed."""
BRIDGE, NETWORK = "dawnbench", "10.77.0"
SLOW: Final = (0.1, 0.3)
"""Seconds for which the processes of the slow host run, and are stopped, in turn."""
DAWN: Final = str(Path(sys.executable).with_name("dawnchorus"))
DASK: Final = str(Path(sys.executable).with_name("dask"))


def ip(line: str, *, check: bool = True) -> None:
    """Run a line of ``ip``."""
    subprocess.run(line.split(), check=check, stderr=None if check else subprocess.DEVNULL)


@contextmanager
def network() -> Iterator[None]:
    """Have a bridge with a namespace for each host."""
    _remove_network()
    try:
        ip(f"ip link add {BRIDGE} type bridge")
        ip(f"ip address add {NETWORK}.1/24 dev {BRIDGE}")
        ip(f"ip link set {BRIDGE} up")
        for number, host in enumerate(HOSTS, start=2):
            ip(f"ip netns add {host}")
            ip(f"ip link add v{host} type veth peer name eth0 netns {host}")
            ip(f"ip link set v{host} master {BRIDGE} up")
            ip(f"ip -n {host} address add {NETWORK}.{number}/24 dev eth0")
            ip(f"ip -n {host} link set eth0 up")
            ip(f"ip -n {host} link set lo up")
        yield
    finally:
        _remove_network()


def _remove_network() -> None:
    for host in HOSTS:
        ip(f"ip netns del {host}", check=False)
    ip(f"ip link del {BRIDGE}", check=False)


def signal_tree(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a process and all below it."""
    with suppress(psutil.NoSuchProcess):
        own = psutil.Process(process.pid)
        for one in [*own.children(recursive=True), own]:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all below it."""
    signal_tree(process, signal.SIGKILL)
    process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Path, Callable[[str], subprocess.Popen[bytes]]]]:
    """Have a scheduler on the bridge; yield the folder of its key, and a function that starts a host's worker."""
    key, started = folder / "key", []
    write_certificate(key)
    files = ["--tls-ca-file", key / CERTIFICATE, "--tls-cert", key / CERTIFICATE, "--tls-key", key / KEY]
    common = [*map(str, files), "--scheduler-file", str(key / SCHEDULER_FILE), "--dashboard-address", "127.0.0.1:0"]

    def start(words: list[str]) -> subprocess.Popen[bytes]:
        with (folder / "cluster.log").open("ab") as log:
            started.append(subprocess.Popen(words, stdout=log, stderr=log))
        return started[-1]

    def worker(host: str) -> subprocess.Popen[bytes]:
        address = f"{NETWORK}.{2 + list(HOSTS).index(host)}"
        dask = [DASK, "worker", *common, "--host", address, "--nthreads", "1"]
        return start(["ip", "netns", "exec", host, *dask])

    try:
        start([DASK, "scheduler", "--protocol", "tls", "--port", "0", *common, "--host", f"{NETWORK}.1"])
        yield key, worker
    finally:
        for process in started:
            kill_tree(process)


def on_hosts(folder: Path) -> tuple[Cost, float]:
    """Run the chain while hosts come and go; return its cost, and the seconds of a partition that does nothing.

    Those partitions go to the host that came late, the only one that is left.
    """
    with network(), cluster(folder) as (key, worker):
        running: dict[str, subprocess.Popen[bytes]] = {}

        def live(host: str, start_s: float, end_s: float | None) -> None:
            time.sleep(start_s)
            process = running[host] = worker(host)
            if end_s is not None:
                time.sleep(end_s - start_s)
                kill_tree(process)
            while host == "slow" and process.poll() is None:
                for number, pause_s in zip((signal.SIGCONT, signal.SIGSTOP), SLOW, strict=True):
                    signal_tree(process, number)
                    time.sleep(pause_s)

        for host, (start_s, end_s) in HOSTS.items():
            threading.Thread(target=live, args=(host, start_s, end_s), daemon=True).start()
        words = [DAWN, "run", "hosts.toml", "--scheduler-file", str(key / SCHEDULER_FILE), "--tls", str(key)]
        cost = measured(words, folder, folder / "commands.log")
        kill_tree(running["slow"])
        with connected(Scheduler(file=key / SCHEDULER_FILE, tls=key)) as client:
            assert client is not None
            began = time.perf_counter()
            list(Team(2, client).in_order(_nothing, range(N_PARTITIONS)))
            each_s = (time.perf_counter() - began) / N_PARTITIONS
    return cost, each_s


def _nothing(number: int) -> int:
    return number


def array(folder: Path, n_tasks: int) -> Cost:
    """Run the shares as an array of Slurm's, then finalise."""
    words = f"cd {folder} && exec {DAWN} run array.toml --workers 1 --partition $SLURM_ARRAY_TASK_ID/{n_tasks}"
    sbatch = ["sbatch", "--wait", f"--array=0-{n_tasks - 1}", f"--output={folder}/array-%a.log", f"--wrap={words}"]
    cost = measured(sbatch, folder, folder / "commands.log")
    return cost + measured([DAWN, "finalise", "array.toml", "mels"], folder, folder / "commands.log")


def main(n_tasks: int) -> None:
    """Measure and report."""
    folder = FOLDER / "hosts"
    shutil.rmtree(folder, ignore_errors=True)
    write_study(folder, N_DAYS, hours=HOURS)
    text, n_windows = (folder / "study.toml").read_text(encoding="utf-8"), N_RECORDERS * N_DAYS * HOURS * 600
    figures, first = [], f"processes-{PROCESSES[0]}"

    def same(name: str, cost: Cost) -> Figure:
        n_files, others = differing(folder / first, folder / name, ("mels",))
        says = f"{n_files} files"
        if cost.code or not n_files or others:
            says += f", exit code {cost.code}, {len(others)} differ from {first}: MISS"
        elif name != first:
            says += f", the same bytes as {first}: pass"
        return Figure(name, n_windows / cost.seconds, "windows/s", f"{cost.seconds:.1f} s; {says}")

    def run(name: str, do: Callable[[], Cost]) -> None:
        (folder / f"{name.partition('-')[0]}.toml").write_text(text.replace('"lake"', f'"{name}"'), encoding="utf-8")
        figures.append(same(name, do()))
        print(figures[-1], flush=True)

    for n in PROCESSES:
        words = [DAWN, "run", "processes.toml", "--workers", str(n)]
        run(f"processes-{n}", partial(measured, words, folder, folder / "commands.log"))
    if os.geteuid() == 0 and shutil.which("ip"):
        found: list[float] = []

        def hosts() -> Cost:
            cost, each_s = on_hosts(folder)
            found.append(each_s)
            return cost

        run("hosts", hosts)
        figures.append(Figure(f"one of {N_PARTITIONS:,} partitions that do nothing, on hosts", 1000 * found[0], "ms"))
    if n_tasks:
        run("array", partial(array, folder, n_tasks))
    report("hosts", figures)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 0)
