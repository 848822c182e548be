"""Watching which sockets a process and all that it starts open."""

import ipaddress
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

EVERY_S = 0.1
WAITING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
"""Tables of the kernel, and the state in them of a socket that waits for anybody."""


def is_open(ip: str) -> bool:
    """Return whether other machines reach an address of this one."""
    return not ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback


def listening(pid: int) -> set[tuple[str, str]]:
    """Return address and command of each socket that waits for anybody, of a process and all below it."""
    found = set()
    with suppress(psutil.NoSuchProcess):
        one = psutil.Process(pid)
        waiting = _waiting()
        for process in (one, *one.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess, OSError):
                for handle in os.scandir(f"/proc/{process.pid}/fd"):
                    with suppress(OSError):  # closed meanwhile
                        target = os.readlink(handle.path)  # noqa: PTH115 (one call of many)
                        if ip := waiting.get(target.removeprefix("socket:[").removesuffix("]")):
                            found.add((ip, " ".join(process.cmdline())[:300]))
    return found


def _waiting() -> dict[str, str]:
    """Return the address by inode of each socket of this machine that waits for anybody."""
    found = {}
    for table, state in WAITING.items():
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state:
                found[fields[9]] = _address(fields[1].split(":")[0])
    return found


def _address(text: str) -> str:
    words = struct.unpack(f">{len(text) // 8}I", bytes.fromhex(text))
    return socket.inet_ntop(
        socket.AF_INET if len(words) == 1 else socket.AF_INET6, struct.pack(f"={len(words)}I", *words)
    )


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
