"""Watching which sockets a process and all that it starts open."""

import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

EVERY_S = 0.03


def is_open(ip: str) -> bool:
    """Return whether other machines reach an address of this one."""
    return not ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback


def listening(pid: int) -> set[tuple[str, str]]:
    """Return address and command of each socket that waits for others, of a process and all below it."""
    found = set()
    with suppress(psutil.NoSuchProcess):
        for process in (one := psutil.Process(pid), *one.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                waiting = [
                    each.laddr.ip
                    for each in process.net_connections(kind="inet")
                    if each.laddr and not each.raddr and each.status in {psutil.CONN_LISTEN, psutil.CONN_NONE}
                ]
                found |= {(ip, " ".join(process.cmdline())[:300]) for ip in waiting}
    return found


@contextmanager
def watching(pid: int) -> Iterator[set[tuple[str, str]]]:
    """Collect what :func:`listening` returns while the block runs."""
    found: set[tuple[str, str]] = set()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(EVERY_S):
            found.update(listening(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()
