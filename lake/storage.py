"""A folder on a local disk or an object store, with the few operations whose atomicity the lake relies on."""

import errno
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem, make_path_posix

from lake.errors import InputError, StoreError, of_system
from lake.keys import inside

REDIRECTING = {"7z", "jar", "libarchive", "reference", "rar", "tar", "zip"}
"""Protocols whose files lie wherever an archive or a table of references says, and that are written once or never."""
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Error numbers of file systems that cannot link."""
ABANDONED_S = 600
"""A file that nobody wrote to for so long, and that has no name yet, is of a killed process."""
_LARGE_BYTES = 2**20
_ASIDE = ".aside"


class Storage:
    """Bytes under keys below one fsspec URL.

    Parameters
    ----------
    url
        A local path, or any URL that fsspec knows.
    options
        Passed to fsspec (credentials, endpoints).

    Raises
    ------
    InputError
        If the URL is of an archive or of a file system of references.

    Notes
    -----
    On a local disk a write goes to a temporary file next to its target, is flushed to the disk and renamed, so a
    reader sees the old bytes or the new ones, also after a power cut. An object store's PUT has that
    property by itself.

    A key never leads out of the root (:func:`lake.keys.inside`). A folder of the root may be a link, as people put
    large folders on other disks. A file that is a link is replaced by a write, never followed.
    """

    def __init__(self, url: str | Path, **options: Any) -> None:  # noqa: ANN401 (fsspec's own options)
        # What other processes write meanwhile has to be seen: no listing is remembered.
        fs, path = _file_system(str(url), {"use_listings_cache": False, **options})
        self.fs: fsspec.AbstractFileSystem = fs
        self.root: str = path.rstrip("/")
        self.is_local = isinstance(fs, LocalFileSystem)

    @property
    def url(self) -> str:
        """The URL that xarray and zarr open."""
        return self.root if self.is_local else str(self.fs.unstrip_protocol(self.root))

    def below(self, key: str) -> "Storage":
        """Return the storage of a folder below this one."""
        other = object.__new__(Storage)
        other.fs, other.root, other.is_local = self.fs, self.path(key), self.is_local
        return other

    def path(self, key: str) -> str:
        """Return the full path of a key in its file system; ``StoreError`` if it would lead out of the root."""
        if not key:
            return self.root
        if not {"", "."}.isdisjoint(key.split("/")):
            raise StoreError(f"{self.root}: expected a key, found {key!r}: a part of it is empty or a single dot.")
        return f"{self.root}/{inside(key, self.root)}"

    def require_bucket(self) -> None:
        """Raise ``InputError`` if this is in a bucket that its object store does not have; folders are made on need."""
        bucket = self.root.partition("/")[0]
        if self.is_local or not bucket or self.fs.exists(bucket):
            return
        try:
            self.fs.ls(bucket)
        except PermissionError:  # some may write below a prefix and not ask for the bucket
            return
        except FileNotFoundError as error:
            raise InputError(
                f"{self.url}: expected a bucket that exists, found no {self.fs.unstrip_protocol(bucket)}. "
                "Correct the address, or create the bucket."
            ) from error

    def exists(self, key: str) -> bool:
        """Return whether something is stored under the key."""
        return bool(self.fs.exists(self.path(key)))

    def read(self, key: str) -> bytes:
        """Return the bytes under a key; ``FileNotFoundError`` if there are none."""
        if self.is_local:
            return Path(self.path(key)).read_bytes()
        return bytes(self.fs.cat_file(self.path(key)))

    def read_or_none(self, key: str) -> bytes | None:
        """Return the bytes under a key, or ``None``."""
        try:
            return self.read(key)
        except FileNotFoundError:
            return None

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Write bytes under a key, atomically and durably.

        Raises
        ------
        TryAgainError
            If the disk is full; what stood under the key before still stands.
        """
        if self.is_local:
            target = Path(self.path(key))
            aside = self._write_aside(target, data)
            try:
                aside.replace(target)
                _sync_folder(target.parent)
            except OSError as error:
                with suppress(OSError):
                    aside.unlink()
                raise _told(error, target) from error
        else:
            self.fs.pipe_file(self.path(key), bytes(data))

    def write_if_changed(self, key: str, data: bytes | memoryview) -> bool:
        """Write bytes under a key unless they are there already; return whether it wrote."""
        if self.read_or_none(key) == data:
            return False
        self.write(key, data)
        return True

    def link(self, key: str, source: "Storage", source_key: str, data: bytes) -> bool:
        """Give a file of another storage a second name under the key; return whether this disk could.

        Nothing is done where the file does not hold ``data``, or is itself a link. Files of a lake are replaced and
        never changed, so each name keeps its bytes.

        Raises
        ------
        TryAgainError
            If the disk is full or cannot be written.
        """
        if not (self.is_local and source.is_local):
            return False
        target, held = Path(self.path(key)), Path(source.path(source_key))
        aside = _aside_of(target)
        try:
            _make_folder(target.parent)
            if held.is_symlink() or (target.exists() and target.samefile(held)):
                return not held.is_symlink()
            os.link(held, aside)
            if aside.read_bytes() != data:  # the source grew meanwhile
                return False
            aside.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            if error.errno in NO_LINKS | {errno.EXDEV}:
                return False
            raise _told(error, target) from error
        finally:
            with suppress(OSError):
                aside.unlink()
        return True

    def create(self, key: str, data: bytes) -> bool:
        """Write bytes under a key only if nothing is there; return whether this call did.

        Raises
        ------
        TryAgainError
            If the disk is full or cannot be written.
        """
        if not self.is_local:
            try:
                self.fs.pipe_file(self.path(key), data, mode="create")
            except FileExistsError:
                return False
            return True
        target = Path(self.path(key))
        aside = self._write_aside(target, data)
        try:
            if not _create(target, aside, data):
                return False
        except OSError as error:
            raise _told(error, target) from error
        finally:
            with suppress(OSError):
                aside.unlink()
        _sync_folder(target.parent)
        return True

    def append(self, key: str, data: bytes) -> None:
        """Append bytes to a local file, durably.

        Raises
        ------
        StoreError
            If a link is there.
        TryAgainError
            If the disk is full or cannot be written; a part of the bytes may have been.
        """
        target = Path(self.path(key))
        if target.is_symlink():
            raise StoreError(f"{target}: expected a file, found a link, which is not followed. Remove it.")
        try:
            is_new = not target.exists()
            _make_folder(target.parent)
            with target.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                _sync_folder(target.parent)
        except OSError as error:
            raise _told(error, target) from error

    def remove(self, key: str) -> None:
        """Remove a key; nothing happens if it is not there.

        Raises
        ------
        TryAgainError
            If the disk cannot be written.
        """
        try:
            if self.exists(key):
                self.fs.rm_file(self.path(key))
        except FileNotFoundError:  # another process was faster
            return
        except OSError as error:
            raise _told(error, Path(self.path(key))) from error

    def remove_unfinished(self, *, least_age_s: float = 0) -> None:
        """Remove files that killed processes left half-written next to their target.

        Parameters
        ----------
        least_age_s
            Leave files that were written to since. Without it nobody else may be writing here.

        Raises
        ------
        TryAgainError
            If the disk cannot be written.
        """
        if self.is_local:
            for path in Path(self.root).rglob(f".*{_ASIDE}"):
                with suppress(FileNotFoundError):  # another process was done with it meanwhile
                    if time.time() - path.stat().st_mtime >= least_age_s:
                        self.remove(str(path.relative_to(self.root)))

    def list_keys(self, prefix: str = "") -> list[str]:
        """Return the keys of all files below a folder, sorted, relative to this storage's root."""
        found = self.fs.find(self.path(prefix)) if self.exists(prefix) else []
        return sorted(str(path)[len(self.root) + 1 :] for path in found if not _is_aside(str(path)))

    def free_bytes(self) -> int | None:
        """Return the free space for this user in bytes; ``None`` on an object store."""
        if not self.is_local:
            return None
        folder = Path(self.root)
        while not folder.exists():
            folder = folder.parent
        usage = os.statvfs(folder)
        return usage.f_bavail * usage.f_frsize

    def _write_aside(self, target: Path, data: bytes | memoryview) -> Path:
        aside = _aside_of(target)
        try:
            _make_folder(target.parent)
            with aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if len(data) >= _LARGE_BYTES:
                    _leave_cache(file.fileno())
        except OSError as error:
            with suppress(OSError):
                aside.unlink()
            raise _told(error, target) from error
        return aside


def _file_system(url: str, options: dict[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a URL and the path in it."""
    redirecting = REDIRECTING & {part.partition("://")[0] for part in url.split("::")}
    if redirecting and "://" in url:
        raise InputError(
            f"{url}: expected a folder or an object store, found {redirecting.pop()}. Unpack or copy it into a folder."
        )
    if "://" not in url:  # colons in the name of a folder are no chain of file systems
        return LocalFileSystem(), make_path_posix(url)
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except Exception as error:  # each protocol's library has errors of its own
        raise InputError(
            f"{url}: cannot be opened ({error}). Expected a path, or the URL of an object store, s3://bucket/lake."
        ) from error
    return fs, path


def _create(target: Path, aside: Path, data: bytes) -> bool:
    """Give a whole file its name if nothing has it; return whether it did."""
    try:
        os.link(aside, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    else:
        return True
    try:  # a disk without links, such as exFAT: for a moment the file is there without its bytes
        with target.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    return True


def _aside_of(target: Path) -> Path:
    """Return a new name beside a file; a short one, as the file's own may have full length."""
    return target.with_name(f".{uuid.uuid4().hex[:16]}{_ASIDE}")


def _is_aside(path: str) -> bool:
    return path.endswith(_ASIDE)


def _leave_cache(handle: int) -> None:
    """Drop a file from the system's page cache; otherwise shards push out what is read again.

    Writing into memory that the system has not used yet costs four times as much (measured on a virtual machine).
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # advice only: a file system without a cache refuses it
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it that are not there, each with its entry in its parent on the disk."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        _sync_folder(one.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _told(error: OSError, target: Path) -> Exception:
    """Return the error that says what to do about a failed write."""
    return of_system(error, target) or error
