"""Where recordings lie: on a disk, or in any file system that fsspec knows."""

import hashlib
import os
import posixpath
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

import fsspec
from fsspec.implementations.local import LocalFileSystem

from jobs.catalog.cache import Stand
from jobs.catalog.folders import absolute, find_files, has_audio_suffix, is_hidden, nothing_found
from jobs.catalog.sidecars import Card, is_sidecar, read_card
from lake.errors import InputError
from lake.storage import Storage


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
    """

    files: Sequence[PurePath]
    sidecars: Sequence[PurePath]
    tops: Sequence[PurePath]
    remote: Storage | None = None

    @property
    def folders(self) -> list[PurePath]:
        """Those of the named ones that are folders."""
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
        try:
            if self.remote is None:
                found = os.stat(path)  # noqa: PTH116 (a path made for each file takes longer than the call)
                return found.st_size, found.st_mtime_ns, found.st_ino
            info = self.remote.fs.info(self.key(path))
        except OSError:
            return None
        told = [str(info.get(key, "")) for key in ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated")]
        told.append(str(info.get("created", "")))
        return int(info["size"] or 0), int.from_bytes(hashlib.sha256("|".join(told).encode()).digest()[:7], "big"), 0

    @contextmanager
    def local(self, path: PurePath) -> Iterator[Path]:
        """Give a file's path on this machine, of a remote one a copy that is gone afterwards."""
        if self.remote is None:
            yield Path(path)
            return
        with tempfile.TemporaryDirectory(prefix="dawnchorus-") as folder:
            copy = Path(folder, path.name)
            self.remote.fs.get_file(self.key(path), str(copy))
            yield copy

    def cards(self) -> dict[PurePath, Card]:
        """Read what the cards' own files say, by their folder; those that cannot be read say nothing."""
        cards: dict[PurePath, Card] = {}
        for path in self.sidecars:
            try:
                content = Path(path).read_bytes() if self.remote is None else self.remote.fs.cat_file(self.key(path))
            except OSError:
                continue
            read_card(cards, path, content)
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
        tops = [Path(path) for _, path in systems]
        return Sources(*find_files(tops), tops=[absolute(top) for top in tops])
    if any(system != systems[0][0] for system, _ in systems):
        raise InputError(
            f"{', '.join(map(str, given))}: expected folders of one file system. Catalogue each by itself."
        )
    remote = Storage(str(given[0]))
    files: set[PurePath] = set()
    sidecars: set[PurePath] = set()
    for one, (system, path) in zip(given, systems, strict=True):
        below = [_path(found) for found in system.find(path)]
        if not below:
            raise InputError(f"{one}: expected a folder of recordings, found nothing there.")
        seen = [found for found in below if not is_hidden(found.relative_to(_path(path)))]
        audio = [found for found in seen if has_audio_suffix(found.name)]
        if not audio:
            raise InputError(nothing_found(str(one), seen))
        files.update(audio)
        sidecars.update(found for found in seen if is_sidecar(found.name))
    return Sources(sorted(files, key=str), sorted(sidecars, key=str), [_path(path) for _, path in systems], remote)


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
