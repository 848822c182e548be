"""Checkpoints of a run that is made as a whole: arrays beside its ledger, bound to what they were computed from."""

import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jobs.common.terminal import complain
from lake.digest import has_own_digest, with_digest
from lake.ledger import Ledger
from lake.run_records import CHECKPOINTS

MADE_OF: Final = "made_of"
SUFFIX: Final = ".npz"


def save(ledger: Ledger, name: str, arrays: Mapping[str, NDArray[Any]], *, made_of: str) -> None:
    """Write a checkpoint, whole or not at all, in place of the last one of its name.

    Parameters
    ----------
    ledger
        The run's ledger, with its claim.
    name, arrays
        Name of the checkpoint, and what :func:`load` shall return.
    made_of
        Digest of all that the arrays follow from.
    """
    ledger.require_claim()
    buffer = io.BytesIO()
    content: dict[str, Any] = {**arrays, MADE_OF: np.array(made_of)}
    np.savez(buffer, **content)
    ledger.storage.write(_key(name), with_digest(buffer.getvalue()))


def load(ledger: Ledger, name: str, *, made_of: str) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a checkpoint; ``None`` if there is none, it is damaged, or it follows from something else.

    One that is there and not used gives a line on standard error.
    """
    data = ledger.storage.read_or_none(_key(name))
    if data is None:
        return None
    path = ledger.storage.path(_key(name))
    if not has_own_digest(data):
        complain(f"warning: {path}: expected a checkpoint, found damaged bytes. It is not used: that part begins anew.")
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    if str(arrays.pop(MADE_OF)) != made_of:
        complain(f"note: {path}: a checkpoint of other settings, inputs or processors. It is not used.")
        return None
    return arrays


def remove(ledger: Ledger) -> None:
    """Remove all checkpoints, and what killed processes left of some."""
    ledger.require_claim()
    folder = ledger.storage.below(CHECKPOINTS)
    if not folder.exists(""):
        return
    folder.remove_unfinished()
    for key in folder.list_keys():
        if key.endswith(SUFFIX):  # a recorder may have the folder's name, and its lines there
            folder.remove(key)
    if folder.is_local:
        with suppress(OSError):
            Path(folder.root).rmdir()


def _key(name: str) -> str:
    return f"{CHECKPOINTS}/{name}{SUFFIX}"
