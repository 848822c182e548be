"""The records of a run other than the lines of its ledger: its settings, grid, files and last commit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lake.claims import Claim
from lake.errors import InputError
from lake.grid import Grid
from lake.identity import canonical, require_same
from lake.records import damaged, seal, unseal
from lake.storage import Storage

RUN_RECORD = "run.json"
GRID_RECORD = "grid.json"
UNFINISHED = "unfinished"
"""In the ledger of a run that is done as a whole, from before its output is touched until its receipt is written."""
CHECKPOINTS = ".checkpoints"
"""Folder of what a run that is not finished goes on from; nothing of it is left when it is."""
FILES_RECORD = "files.json"
COMMIT_RECORD = "commit.json"
OTHERS_RECORD = "others.json"
SUPERSEDED_RECORD = "superseded.json"
PUBLISHING = "publishing.json"
"""Lists what is replaced and written while the files of a folder are; gone when all of them stand."""
COMMITTING = "committing"
"""There while a finalise writes, and after one that was killed."""
ADVICE = {
    RUN_RECORD: "Restore it from a copy; or remove it and type `dawnchorus run`: it is written again.",
    GRID_RECORD: "Restore it from a copy; or remove the run's output and its ledger, and run it again.",
    FILES_RECORD: "Restore it from a copy; or remove it and type `dawnchorus run`: it is written again.",
    OTHERS_RECORD: "Restore it from a copy; or remove it: the files that it lists are then not compared any more.",
    COMMIT_RECORD: "Restore it from a copy; or remove it and type `dawnchorus run`: it is written again.",
    SUPERSEDED_RECORD: "Restore it from a copy; or remove it, and the files of the store that no other record lists.",
    PUBLISHING: "Remove it: files of a run that was stopped may then stay among those of the next.",
}
"""Advice for a damaged record, by its key."""


class RunRecords:
    """The records of one run, each a file in the folder of its ledger; see :class:`lake.ledger.Ledger`."""

    def __init__(self, storage: Storage, held: Claim | None = None) -> None:
        self.storage = storage
        self.held = held

    def require_claim(self) -> None:
        """Refuse to go on if another process took over the claim that this ledger is written under.

        Raises
        ------
        TryAgainError
            If the claim is lost.
        """
        if self.held is not None:
            self.held.require()

    def record(self) -> dict[str, Any] | None:
        """Return the run's record, or ``None`` before its first start."""
        record = self._record(RUN_RECORD)
        if record is not None:
            self._require(RUN_RECORD, record, {"job": str, "config": dict, "inputs": dict, "config_id": str})
        return record

    def open_run(self, run: str, wanted: Mapping[str, Any]) -> None:
        """Store a run's record, after checking that the name is not taken by another configuration.

        Parameters
        ----------
        run
            The run's name, for the message.
        wanted
            The record, with ``job``, ``algorithm``, ``config``, ``inputs`` and ``config_id``.

        Raises
        ------
        IdentityError
            If a record with another ``config_id`` is there.
        """
        stored = self.record()
        if stored is not None:
            require_same(run, stored, wanted)
            # The resolved configuration stays as it was first stored: same identity, same bytes.
            wanted = {**wanted, "config": stored["config"], "algorithm": stored["algorithm"]}
        self._settle(RUN_RECORD, wanted)

    def grid(self) -> tuple[Grid, list[str]] | None:
        """Return the grid and the order of recorders that the run has settled on, or ``None``."""
        record = self._record(GRID_RECORD)
        if record is None:
            return None
        self._require(GRID_RECORD, record, {"grid": dict, "recorders": list})
        try:
            return Grid(**record["grid"]), list(record["recorders"])
        except (TypeError, InputError) as error:
            raise damaged(self.storage.path(GRID_RECORD), f"no grid ({error})", ADVICE[GRID_RECORD]) from error

    def settle_grid(self, grid: Grid, recorders: Sequence[str]) -> None:
        """Store the grid and the order of recorders, which every later start of the run keeps."""
        self._settle(GRID_RECORD, {"grid": asdict(grid), "recorders": list(recorders)})

    def files(self) -> dict[str, str] | None:
        """Return SHA-256 by key of the files of a run whose output is a folder, or ``None``."""
        return self._digests(FILES_RECORD)

    def others(self) -> dict[str, str] | None:
        """Return SHA-256 by key of files that no job reads, such as metrics and checkpoints, or ``None``."""
        return self._digests(OTHERS_RECORD)

    def superseded(self) -> dict[str, str] | None:
        """Return SHA-256 by key of files of the arrays before those of the ledger's lines, or ``None``."""
        return self._digests(SUPERSEDED_RECORD)

    def settle_superseded(self, files: Mapping[str, str]) -> None:
        """Store which files, SHA-256 by key, are of the arrays before; see :mod:`lake.generations`."""
        self._settle(SUPERSEDED_RECORD, dict(files))

    def settle_files(self, files: Mapping[str, str], others: Mapping[str, str] | None = None) -> None:
        """Store the files of a run whose output is a folder; they must stand already.

        Parameters
        ----------
        files
            SHA-256 by key of the files that the run was made for: they are its content.
        others
            SHA-256 by key of the rest, which may differ each time.
        """
        self.require_claim()
        if others is not None:
            self.storage.write(OTHERS_RECORD, seal(others, indent=2))
        self.storage.write(FILES_RECORD, seal(files, indent=2))

    def begin_files(self, keys: Iterable[str]) -> set[str]:
        """Note which files are about to be written, and return all that this run may have written before, by key.

        Files that somebody else put into the folder are not among them.
        """
        self.require_claim()
        before = {**(self._digests(PUBLISHING) or {}), **(self.files() or {})}
        self.storage.write(PUBLISHING, seal(dict.fromkeys(sorted({*before, *keys}), ""), indent=2))
        return set(before)

    def end_files(self) -> None:
        """Take the note of :meth:`begin_files` away; what is no longer wanted must be gone."""
        self.storage.remove(PUBLISHING)

    def _digests(self, key: str) -> dict[str, str] | None:
        record = self._record(key)
        if record is not None:
            self._require(key, record, dict.fromkeys(record, str))
        return record

    def committed(self) -> tuple[str, dict[str, str]] | None:
        """Return what the last finalise stored: the identity of the shards, and SHA-256 by key of all other files."""
        record = self._commit()
        return None if record is None else (record["content_id"], dict(record["files"]))

    def begin_commit(self) -> None:
        """Mark that files other than shards are being written, so that they may not be those of the last commit."""
        self.storage.write(COMMITTING, b"")

    def announce(self, digests: Mapping[str, str]) -> None:
        """Record the files, SHA-256 by key, that a commit is about to write; readers accept them as well until it ends.

        On an object store, which cannot append, nothing is announced.
        """
        if digests and self.storage.is_local:
            self.storage.append(COMMITTING, seal({"files": dict(digests)}))

    def announced(self) -> dict[str, str]:
        """Return what was announced since the commit began that has not ended; nothing where none is under way."""
        found: dict[str, str] = {}
        for line in (self.storage.read_or_none(COMMITTING) or b"").split(b"\n")[:-1]:
            found |= unseal(line, self.storage.path(COMMITTING))["files"]
        return found

    def end_commit(self) -> None:
        """Take the mark away; the commit's record must stand already."""
        self.storage.remove(COMMITTING)

    def is_committing(self) -> bool:
        """Return whether a commit is being written, or was not ended."""
        return self.storage.exists(COMMITTING)

    def _commit(self) -> dict[str, Any] | None:
        record = self._record(COMMIT_RECORD)
        if record is not None:
            self._require(COMMIT_RECORD, record, {"content_id": str, "files": dict})
        return record

    def _record(self, key: str) -> dict[str, Any] | None:
        data = self.storage.read_or_none(key)
        return None if data is None else unseal(data, self.storage.path(key), ADVICE[key])

    def _require(self, key: str, record: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
        wrong = [name for name, kind in kinds.items() if not isinstance(record.get(name), kind)]
        if wrong:
            what = f"expected {', '.join(wrong)}, found {', '.join(record) or 'nothing'}"
            raise damaged(self.storage.path(key), what, ADVICE[key])

    def _settle(self, key: str, value: Mapping[str, Any], indent: int = 2) -> None:
        """Write a record unless it says the same already, in any format."""
        self.require_claim()
        stored = self._record(key)
        if stored is None or canonical(stored) != canonical(value):
            self.storage.write(key, seal(value, indent=indent))
