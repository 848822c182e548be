"""Sources of recordings: a disk, or any file system that fsspec knows."""

import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

import fsspec
from fsspec.implementations.local import LocalFileSystem

from jobs.catalog.cache import Stand
from jobs.catalog.folders import (
    UNFINISHED,
    UNFINISHED_HEADS,
    PassedOver,
    absolute,
    as_text,
    find_files,
    has_audio_suffix,
    is_hidden,
    nothing_found,
)
from jobs.catalog.remote import (
    LIST_DEADLINE_S,
    LOOK_DEADLINE_S,
    apart,
    ask_stand,
    begins_as,
    content,
    fetch,
    list_files,
)
from jobs.catalog.sidecars import Card, is_sidecar, read_card
from jobs.common.audio.probe import AudioError
from lake.errors import InputError
from lake.storage import Storage

SIDECAR_BYTES = 1 << 26
"""No more of a card's own files is read than this: years of lines."""


@dataclass(frozen=True)
class Sources:
    """All recordings that the user named, and the files beside them.

    Attributes
    ----------
    files, sidecars
        Absolute paths, sorted; those of a remote file system begin with ``/`` as well.
    tops
        The folders that the user named.
    remote
        The file system that they are in; ``None`` for this machine's.
    stands
        What the listing of a remote file system told of its files; a local one is asked for each.
    passed
        What may hold recordings and was not looked into.
    """

    files: Sequence[PurePath]
    sidecars: Sequence[PurePath]
    tops: Sequence[PurePath]
    remote: Storage | None = None
    stands: Mapping[PurePath, Stand | None] = field(default_factory=dict)
    passed: PassedOver = field(default_factory=PassedOver)

    @property
    def folders(self) -> list[PurePath]:
        """The named sources that are folders."""
        files = set(self.files)
        return [top for top in self.tops if top not in files]

    def url(self, path: PurePath) -> str:
        """Return a path as the user would name it."""
        return str(path) if self.remote is None else str(self.remote.fs.unstrip_protocol(self.key(path)))

    def key(self, path: PurePath) -> str:
        """Return a path as its file system knows it."""
        is_rooted = self.remote is None or self.remote.fs.root_marker == "/"
        return str(path) if is_rooted else str(path).lstrip("/")

    def stand(self, path: PurePath) -> Stand | None:
        """Return what tells that a file was not touched; ``None`` if it cannot be told."""
        if self.remote is not None:
            fs = self.remote.fs
            try:
                return self.stands.get(path) or apart(
                    fs, self.url(path), LOOK_DEADLINE_S, ask_stand, fs, self.key(path)
                )
            except AudioError:
                return None
        try:
            found = os.stat(path)  # noqa: PTH116 (a path made for each file takes longer than the call)
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns, found.st_ino

    @contextmanager
    def local(self, path: PurePath, n_bytes: int | None = None) -> Iterator[Path]:
        """Yield a file's path on this machine: its own, or that of a temporary copy of a remote one.

        Parameters
        ----------
        path
            The file.
        n_bytes
            Its size, if it is known.

        Raises
        ------
        AudioError
            If it cannot be copied, or not in time; see :func:`jobs.catalog.remote.fetch`.
        TryAgainError
            If there is no room for the copy.
        """
        if self.remote is None:
            yield Path(path)
            return
        with tempfile.TemporaryDirectory(prefix="dawnchorus-") as folder:
            copy = Path(folder, path.name)
            fetch(self.remote.fs, self.key(path), self.url(path), str(copy), n_bytes)
            yield copy

    def cards(self, on_unreadable: Callable[[PurePath, str], None] | None = None) -> dict[PurePath, Card]:
        """Read what the cards' own files say, by their folder; those that cannot be read are told, and say nothing."""
        cards: dict[PurePath, Card] = {}
        fs = LocalFileSystem() if self.remote is None else self.remote.fs
        for path in self.sidecars:
            key, url = self.key(path), self.url(path)
            try:
                said = apart(fs, as_text(url), LOOK_DEADLINE_S, content, fs, key, as_text(url), SIDECAR_BYTES)
            except AudioError as error:
                if on_unreadable:
                    on_unreadable(path, str(error))
                continue
            read_card(cards, path, said)
        return cards


def survey(given: Sequence[str | Path]) -> Sources:
    """Find all recordings below folders.

    Parameters
    ----------
    given
        Folders or single files: paths, or fsspec URLs of one file system.

    Raises
    ------
    InputError
        If paths and URLs, or URLs of several file systems, are mixed; if there is nothing to list.
    """
    systems = [_opened(str(one)) for one in given]
    if all(isinstance(system, LocalFileSystem) for system, _ in systems):
        folders = [Path(path) for _, path in systems]
        found = find_files(folders)
        return Sources(found.recordings, found.sidecars, [absolute(folder) for folder in folders], passed=found.passed)
    if any(system != systems[0][0] for system, _ in systems):
        raise InputError(
            f"{', '.join(map(str, given))}: expected folders of one file system. Catalogue each by itself."
        )
    remote = Storage(str(given[0]))
    stands: dict[PurePath, Stand | None] = {}
    sidecars: set[PurePath] = set()
    passed = PassedOver()
    for one, (system, path) in zip(given, systems, strict=True):
        listed = apart(system, str(one), LIST_DEADLINE_S, list_files, system, path, str(one))
        below = {_path(found): stand for found, stand in listed.items()}
        if not below:
            raise InputError(f"{one}: expected a folder of recordings, found nothing there.")
        top = _path(path)
        seen = [found for found in below if not is_hidden(found.relative_to(top))]
        audio = [found for found in seen if found == top or _is_recording(remote, found)]
        if not audio:
            raise InputError(nothing_found(str(one), seen))
        stands |= {found: below[found] for found in audio}
        sidecars.update(found for found in seen if is_sidecar(found.name))
        passed.count(found.name for found in seen)
    tops = [_path(path) for _, path in systems]
    files = sorted(stands, key=str)
    return Sources(files, sorted(sidecars, key=str), tops, remote, stands, passed)


def _opened(one: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a path or URL, and the path in it."""
    if "://" not in one:
        return LocalFileSystem(), one
    try:
        system, path = fsspec.core.url_to_fs(one)
    except (ValueError, ImportError) as error:
        raise InputError(f"{one}: expected a path, or a URL that fsspec opens ({error}).") from error
    return system, path


def common_root(sources: Sources) -> PurePath:
    """Return the deepest folder that holds all that the user named."""
    folders = set(sources.folders)
    return type(sources.tops[0])(posixpath.commonpath([top if top in folders else top.parent for top in sources.tops]))


def _path(key: str) -> PurePath:
    return PurePosixPath("/" + key.lstrip("/"))


def _is_recording(remote: Storage, path: PurePath) -> bool:
    """Return whether a file is a recording, by its name or, of one that has none, by its first bytes."""
    if path.name != UNFINISHED:
        return has_audio_suffix(path.name)
    one = Sources([path], [], [], remote)
    return begins_as(remote.fs, one.key(path), one.url(path), UNFINISHED_HEADS)
