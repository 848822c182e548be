"""Bytes that go over Dask's connections, and those of the results among them; workers import this by its name."""

from unittest.mock import patch

from dask.sizeof import sizeof
from distributed import Client
from distributed.comm.tcp import TCP

SENT, GATHERED = [0], [0]


def count_sent() -> None:
    """Count from now on the bytes that this process writes to others over Dask's connections, without TLS's own."""
    write = TCP.write

    async def counting(self: TCP, *args: object, **options: object) -> int:
        n_bytes: int = await write(self, *args, **options)  # type: ignore[no-untyped-call] # distributed has no types
        SENT[0] += n_bytes
        return n_bytes

    patch.object(TCP, "write", counting).start()


def sent_bytes() -> int:
    """Return the bytes that this process has written."""
    return SENT[0]


def count_gathered(client: Client) -> None:
    """Count from now on the bytes of the results that a client fetches."""
    gather = client.gather

    def counting(futures: object, **options: object) -> object:
        found: object = gather(futures, **options)  # type: ignore[no-untyped-call] # distributed has no types
        GATHERED[0] += sizeof(found)
        return found

    patch.object(client, "gather", counting).start()


def gathered_bytes() -> int:
    """Return the bytes of the results that were fetched."""
    return GATHERED[0]
