"""Outputs that are folders of files: scores, pages."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from jobs.common.run import Run
from lake.digest import sha256


def publish(run: Run, folder: Path) -> dict[str, str]:
    """Move the files of a finished folder into a run's output, then list them in its ledger.

    Parameters
    ----------
    run
        The run; what it wrote before and the folder does not have is removed after the new files stand. Files that
        somebody else put into the output stay.
    folder
        A scratch folder.

    Returns
    -------
    dict
        SHA-256 by key.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return _put(run, {path.relative_to(folder).as_posix(): path.read_bytes for path in paths})


def publish_files(run: Run, files: Mapping[str, bytes]) -> dict[str, str]:
    """Write files, bytes by key, into a run's output as :func:`publish` does."""
    return _put(run, {key: partial(bytes, data) for key, data in sorted(files.items())})


def _put(run: Run, contents: Mapping[str, Callable[[], bytes]]) -> dict[str, str]:
    before = run.ledger.begin_files(contents)
    files: dict[str, str] = {}
    for key, read in contents.items():
        data = read()
        run.output.write_if_changed(key, data)
        files[key] = sha256(data)
    run.ledger.settle_files(files)
    for key in sorted(before - files.keys()):
        run.output.remove(key)
    run.ledger.end_files()
    return files
