"""The Dask scheduler that a command names, and the client of this moment, without an import of Dask.

Dask takes a quarter of a second to import, as long as all else that a command such as ``status`` does. So only
:mod:`jobs.common.machines` and :mod:`jobs.common.on_dask` import it, and they are imported where a cluster is used.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lake.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Scheduler:
    """A Dask scheduler that runs already.

    Attributes
    ----------
    address, file
        Its address, such as ``tls://node7:8786``, or the file that it wrote with ``--scheduler-file``.
    tls
        The folder with certificate and key, as :func:`write_certificate` makes it; ``None`` takes them from Dask's
        configuration (``distributed.comm.tls``).
    insecure
        Whether traffic may go unencrypted.
    """

    address: str | None = None
    file: Path | None = None
    tls: Path | None = None
    insecure: bool = False


def parse_scheduler(address: str | None, file: Path | None, tls: Path | None, *, insecure: bool) -> Scheduler | None:
    """Return the scheduler that the command line names, if it names one.

    Raises
    ------
    UsageError
        If it is named twice, or what goes with one is there without it.
    """
    if address is not None and file is not None:
        raise UsageError(f"--scheduler {address} and --scheduler-file {file}: expected one of them.")
    if address is None and file is None:
        if tls is not None or insecure:
            lone = "--insecure" if tls is None else f"--tls {tls}"
            raise UsageError(
                f"{lone}: expected --scheduler or --scheduler-file with it; a cluster of this machine has its key."
            )
        return None
    return Scheduler(address, file, tls, insecure)


def current_client() -> "Client | None":
    """Return the client that partitions of this moment go to, if any, as Dask itself defines it."""
    if "distributed" not in sys.modules:
        return None
    from distributed import Client  # noqa: PLC0415 (imported already)

    try:
        client: Client = Client.current(allow_global=False)
    except ValueError:
        return None
    return client
