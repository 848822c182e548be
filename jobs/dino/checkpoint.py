"""Checkpoints: everything that the next step depends on, written whole or not at all."""

import io
import pickle
from typing import Any, Final

import torch

from lake.errors import IdentityError, InputError, StoreError, StoreFormatError
from lake.storage import Storage

FOLDER: Final = "checkpoints"
VERSION: Final = 1
KEEP: Final = 2
"""Checkpoints of a training that stay."""


def save(storage: Storage, content: dict[str, Any], *, keep: int) -> str:
    """Write a checkpoint beside the others, durably, then remove the oldest.

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
    storage.write(key, buffer.getvalue())
    for old in keys(storage)[:-keep]:
        storage.remove(old)
    return key


def keys(storage: Storage) -> list[str]:
    """Return the keys of the checkpoints, oldest first."""
    return [key for key in storage.list_keys(FOLDER) if key.endswith(".pt")]


def latest(storage: Storage, *, config_id: str, digest: str, n_windows: int) -> dict[str, Any] | None:
    """Return the newest checkpoint's content, on the CPU, or ``None`` if there is none.

    Parameters
    ----------
    storage
        The run's folder.
    config_id, digest, n_windows
        Identity of the configuration, and of the windows; a training goes on with the same ones only.

    Raises
    ------
    StoreError
        If the checkpoint cannot be read.
    StoreFormatError
        If a newer release wrote it.
    IdentityError
        If it is of another configuration.
    InputError
        If it is of other windows.
    """
    found = keys(storage)
    if not found:
        return None
    name, content = storage.path(found[-1]), _read(storage, found[-1])
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
    """Tell whether the newest checkpoint, if there is one, is of other windows."""
    found = keys(storage)
    return bool(found) and _read(storage, found[-1])["digest"] != digest


def _read(storage: Storage, key: str) -> dict[str, Any]:
    """Return a checkpoint's content after checking what it is."""
    try:
        content: dict[str, Any] = torch.load(io.BytesIO(storage.read(key)), map_location="cpu", weights_only=True)
        version = content["version"]
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise StoreError(
            f"{storage.path(key)}: not a checkpoint, or a damaged one. Delete it: the training then goes on from"
            " the one before it, or from the start."
        ) from error
    if version > VERSION:
        raise StoreFormatError(
            f"{storage.path(key)}: its format is version {version}, this release reads up to {VERSION}."
            " Install a newer dawnchorus."
        )
    return content
