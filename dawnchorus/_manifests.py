"""Running a manifest: execute, status, verify."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from jobs.common.memory import parse_size
from jobs.common.run import Options
from jobs.common.terminal import print_line
from jobs.runner.dryrun import describe_runs
from jobs.runner.execute import execute_runs, verify_runs
from jobs.runner.manifest import read_manifest
from jobs.runner.state import states

Say = Callable[[str], None]


def run(
    manifest: str | Path,
    runs: str | Sequence[str] = (),
    *,
    workers: int = 2,
    max_memory: str | None = None,
    device: str | None = None,
    refresh: bool = False,
    audio: bool = True,
    dry_run: bool = False,
    say: Say | None = None,
) -> None:
    """Execute all runs of a manifest in order, or those named; what is done is skipped.

    It can be killed at any moment and called again: it continues where it stopped, with the same bytes.

    Parameters
    ----------
    manifest
        The manifest, a TOML file (``docs/manifests.md``).
    runs
        The runs to execute: one, or several; all if none is named.
    workers
        Processes that work side by side on this machine. A script that has more than one calls this below
        ``if __name__ == "__main__":``, as each of them imports it.
    max_memory
        What all workers may take, such as ``"8GB"``; most of the machine's if left out.
    device
        ``"cpu"`` or ``"cuda"``; chosen by what is there if left out.
    refresh
        Do a finished run again.
    audio
        Whether an atlas may hold sound; recorders catch speech.
    dry_run
        Write nothing: say what would be done, and the disk, files and memory that it takes.
    say
        Called with a line for each run; prints it if left out.

    Raises
    ------
    InputError
        With every problem of the manifest at once, or if it has no such run.
    IdentityError
        If a run's name is taken by a run with another configuration.
    StoreError
        If an input is not done or damaged.
    QuarantineError
        After everything is done, if more recordings were set aside than the manifest allows.
    TryAgainError
        If another process owns a run, or the disk is full.

    Examples
    --------
    >>> import dawnchorus
    >>> dawnchorus.run("data/demo/manifest.toml", "clusters", workers=1)
    clusters: done, nothing to do
    """
    options = Options(
        workers=workers, max_memory_bytes=parse_size(max_memory), device=device, refresh=refresh, audio=audio
    )
    execute = describe_runs if dry_run else execute_runs
    execute(read_manifest(Path(manifest)), _each(runs), options, say or print_line)


def status(manifest: str | Path) -> pd.DataFrame:
    """Return a table of the runs of a manifest and where each stands.

    Parameters
    ----------
    manifest
        The manifest, a TOML file.

    Returns
    -------
    pandas.DataFrame
        run, job, state and detail, in the order in which runs are executed. A state is ``done``, ``partial``,
        ``stale`` (an input changed since), ``missing``, ``running``, ``different`` (the name is taken by another
        configuration) or ``damaged`` (a record is, or is lost); the detail says why, or how much.

    Raises
    ------
    InputError
        With every problem of the manifest at once.

    Examples
    --------
    >>> import dawnchorus
    >>> table = dawnchorus.status("data/demo/manifest.toml")
    >>> table.set_index("run")["state"]["mels"]
    'done'
    """
    rows = [(one.name, one.job, one.state, one.detail) for one in states(read_manifest(Path(manifest)))]
    return pd.DataFrame(rows, columns=["run", "job", "state", "detail"])


def verify(manifest: str | Path, runs: str | Sequence[str] = (), *, say: Say | None = None) -> None:
    """Compare every file that runs have written with their ledgers.

    Parameters
    ----------
    manifest
        The manifest, a TOML file.
    runs
        The runs to compare: one, or several; all if none is named.
    say
        Called with a line for each run; prints it if left out.

    Raises
    ------
    InputError
        With every problem of the manifest at once, or if it has no such run.
    StoreError
        With one line for each file that is damaged, missing or in no ledger, after all were compared.

    Examples
    --------
    >>> import dawnchorus
    >>> dawnchorus.verify("data/demo/manifest.toml", "clusters")  # doctest: +ELLIPSIS
    clusters: ... files in the ledger, 0 of them differ
    """
    verify_runs(read_manifest(Path(manifest)), _each(runs), say or print_line)


def _each(runs: str | Sequence[str]) -> Sequence[str]:
    return (runs,) if isinstance(runs, str) else runs
