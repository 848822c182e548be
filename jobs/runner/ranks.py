"""The command ``run`` as several processes of one launcher, on this machine."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.common.launch import launch
from jobs.common.processes import OWN, Place
from jobs.runner.execute import chosen, takes_shares
from jobs.runner.manifest import Manifest


def launch_ranks(
    manifest: Manifest, names: Sequence[str], n_local: int, node: tuple[int, int] | None, meeting: Path | None
) -> None:
    """Type this command again in each of several processes; exit with the gravest of their codes.

    It returns where they have taken all shares of extending runs, which this process has to finish.

    Parameters
    ----------
    manifest, names
        The manifest, and the runs; all if empty.
    n_local
        Processes on this machine.
    node, meeting
        Of several machines, the number of this one and of all, and a folder that they share.

    Raises
    ------
    InputError
        If the processes cannot work on the runs together.
    """
    i, n = node or (0, 1)
    shares = takes_shares(chosen(manifest, names), Place(n_ranks=n_local * n, launcher=OWN))
    code = launch("jobs", sys.argv[1:], n_local, node=(i, n), meeting=meeting, together=not shares)
    if code or node is not None or not shares:
        sys.exit(code)
