"""Checkpoints: everything that the next step depends on, written whole or not at all."""

import io
import pickle
from typing import Any, Final

import torch

from jobs.common.terminal import complain
from jobs.common.training import group
from lake.digest import has_own_digest, with_digest
from lake.errors import IdentityError, InputError, StoreError, StoreFormatError
from lake.storage import Storage

FOLDER: Final = "checkpoints"
VERSION: Final = 1
KEEP: Final = 2
"""Checkpoints of a training that stay."""


def save(storage: Storage, content: dict[str, Any], *, keep: int) -> str:
    """Write a checkpoint next to the others, durably, then remove the oldest.

    Parameters
    ----------
    storage
        The run's folder.
    content
        With ``step``, the number of steps done, and whatever else :func:`latest` shall return.
    keep
        Number of checkpoints that stay.

    Returns
    -------
    str
        Its key.
    """
    buffer = io.BytesIO()
    torch.save({"version": VERSION, **content}, buffer)
    key = f"{FOLDER}/step-{content['step']:09d}.pt"
    storage.write(key, with_digest(buffer.getvalue()))
    there = keys(storage)
    here = there.index(key)
    for other in [*there[: max(0, here + 1 - keep)], *there[here + 1 :]]:  # later ones were damaged and passed over
        storage.remove(other)
    return key


def keys(storage: Storage) -> list[str]:
    """Return the keys of the checkpoints, oldest first."""
    return [key for key in storage.list_keys(FOLDER) if key.endswith(".pt")]


def latest(storage: Storage, *, config_id: str, digest: str, n_windows: int) -> dict[str, Any] | None:
    """Return the content and ``key`` of the newest checkpoint that is whole, on the CPU; ``None`` if there is none.

    Parameters
    ----------
    storage
        The run's folder.
    config_id, digest, n_windows
        Identity of the configuration, and of the windows; a training goes on with the same ones only.

    Raises
    ------
    StoreError
        If there are checkpoints, and all are damaged. One that is passed over gives a line of warning.
    StoreFormatError
        If a newer release wrote it.
    IdentityError
        If it is of another configuration.
    InputError
        If it is of other windows.
    """
    content = _newest_whole(storage)
    if content is None:
        return None
    name = storage.path(content["key"])
    if content["config_id"] != config_id:
        raise IdentityError(
            f"{name}: expected a training with configuration {config_id}, found one with"
            f" {content['config_id']}. Give the run a new name in the manifest."
        )
    if content["digest"] != digest:
        raise InputError(
            f"{name}: this training began on {content['n_windows']} windows, the cube now has {n_windows}"
            " others or more. Start it again with --refresh, or under a new name."
        )
    return content


def is_of_other_windows(storage: Storage, digest: str) -> bool:
    """Return whether the newest whole checkpoint, if there is one, is of other windows."""
    content = _newest_whole(storage)
    return content is not None and content["digest"] != digest


def _newest_whole(storage: Storage) -> dict[str, Any] | None:
    """Return content and ``key`` of the newest checkpoint that is whole, ``None`` if there are none."""
    damaged: list[StoreError] = []
    for key in reversed(keys(storage)):
        try:
            content = _read(storage, key)
        except StoreError as error:
            damaged.append(error)
            continue
        for problem in damaged if group.rank() == 0 else []:
            complain(f"warning: {problem} It now goes on from {key}.")
        return {**content, "key": key}
    if damaged:
        raise damaged[0]
    return None


def _read(storage: Storage, key: str) -> dict[str, Any]:
    """Return a checkpoint's content after checking that it is whole, and what it is."""
    data, problem = storage.read(key), None
    if has_own_digest(data) is not False:  # those of format 1 carry none
        try:
            content: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            version = content["version"]
        except (RuntimeError, ValueError, EOFError, LookupError, TypeError, pickle.UnpicklingError) as error:
            problem = error
        else:
            _require_known(storage.path(key), version)
            return content
    raise StoreError(
        f"{storage.path(key)}: not a checkpoint, or a damaged one. Delete it: the training then goes on from"
        " the one before it, or from the start."
    ) from problem


def _require_known(path: str, version: int) -> None:
    if version > VERSION:
        raise StoreFormatError(
            f"{path}: its format is version {version}, this release reads up to {VERSION}. Install a newer dawnchorus."
        )
