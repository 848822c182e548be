"""Files that a command writes where its user says: nothing is replaced that no command has written itself."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lake.digest import sha256, sha256_of
from lake.errors import UsageError
from lake.storage import Storage
from lake.threads import in_threads

RECORD = ".dawnchorus.json"
"""Lists, in a folder that commands write to, the SHA-256 of what they wrote, by key."""
MOST_NAMED = 20
WRITERS = 4
"""Files that are written at once; each waits for the disk."""

Known = dict[str, list[str]]
"""Digests by key: one, or two while a file is replaced."""


def refuse_others(folder: Path, keys: Iterable[str], *, known: Known | None = None, option: str = "--out") -> None:
    """Refuse to replace files that were not written by a command of ours, or were changed since.

    Parameters
    ----------
    folder, keys
        Where a command is going to write.
    known
        Digests that are ours besides those of the folder's record.
    option
        That names the files, for the message.

    Raises
    ------
    UsageError
        With the files.
    """
    ours = _record(folder)
    for key, digests in (known or {}).items():
        ours[key] = [*ours.get(key, []), *digests]
    others = [str(folder / key) for key in keys if not _is_free(folder / key, ours.get(key, []))]
    if others:
        more = [f"and {len(others) - MOST_NAMED} more"] if len(others) > MOST_NAMED else []
        listed = "\n".join(f"  {other}" for other in [*others[:MOST_NAMED], *more])
        raise UsageError(
            f"{option}: expected no file there, or one that this command wrote and nobody changed; found\n{listed}\n"
            "Name another place, or add --force to replace them."
        )


def write_outputs(folder: Path, files: Mapping[str, bytes], *, force: bool = False, option: str = "--out") -> None:
    """Write files, each whole or not at all, and record their digests.

    Parameters
    ----------
    folder, files
        Where to, and bytes by key.
    force
        Replace what others wrote or changed. A file that has these bytes already is nobody's loss.
    option
        That names the files, for the message.

    Raises
    ------
    UsageError
        As :func:`refuse_others`; then nothing is written.
    StoreError
        If a key leads out of the folder.
    TryAgainError
        If the disk is full.

    Notes
    -----
    The digests are recorded before the files are written, next to those of what they replace: whatever a killed command
    left, the next one knows it as ours.
    """
    storage = Storage(folder.absolute())
    for key in files:
        storage.path(key)
    wanted = {key: [sha256(data)] for key, data in files.items()}
    if not force:
        refuse_others(folder, files, known=wanted, option=option)
    known = _record(folder)
    _settle(storage, {**known, **{key: [*known.get(key, []), *digest] for key, digest in wanted.items()}})
    for _ in in_threads(lambda key: storage.write(key, files[key]), files, WRITERS):
        pass
    _settle(storage, {**known, **wanted})


def _is_free(path: Path, ours: Sequence[str]) -> bool:
    """Return whether a path is nobody's file, such as an empty one of `mktemp`, or ours."""
    if not path.exists():
        return True
    return path.is_file() and (path.stat().st_size == 0 or sha256_of(path) in ours)


def _record(folder: Path) -> Known:
    """Return the digests of a folder's record; what is damaged in it is no digest of any file."""
    try:
        files = dict(json.loads((folder / RECORD).read_bytes())["files"])
        return {str(key): [str(digest) for digest in digests] for key, digests in files.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _settle(storage: Storage, known: Known) -> None:
    text = json.dumps({"dawnchorus": "written files", "files": known}, indent=1, sort_keys=True)
    storage.write_if_changed(RECORD, text.encode() + b"\n")
