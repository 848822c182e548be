"""Outputs that are folders of files: scores, pages."""

import hashlib
from pathlib import Path

from jobs.common.run import Run


def publish(run: Run, folder: Path) -> dict[str, str]:
    """Put the files of a finished folder into a run's output, then list them in its ledger.

    Parameters
    ----------
    run
        The run; what its output held before and the folder does not is removed after the new files stand.
    folder
        A scratch folder.

    Returns
    -------
    dict
        SHA-256 by key.
    """
    run.ledger.require_claim()
    files: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            key = path.relative_to(folder).as_posix()
            run.output.write_if_changed(key, data)
            files[key] = hashlib.sha256(data).hexdigest()
    run.ledger.settle_files(files)
    for key in run.output.list_keys():
        if key not in files:
            run.output.remove(key)
    return files
