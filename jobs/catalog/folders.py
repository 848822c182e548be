"""Find the files that are recordings, and the folder that stands for the recorder of each."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePath

from fsspec.implementations.local import LocalFileSystem

from jobs.catalog.remote import begins_as
from jobs.catalog.sidecars import is_sidecar
from jobs.common.audio.suffixes import AUDIO_SUFFIXES
from lake.errors import InputError

OTHER_SUFFIXES = frozenset({
    ".3gp", ".ac3", ".aa3", ".aax", ".amr", ".ape", ".avi", ".dff", ".dsf", ".dss", ".ds2", ".dts", ".m4b", ".m4r",
    ".mka", ".mkv", ".mov", ".mp1", ".mp2", ".mp4", ".mpc", ".mpeg", ".mpg", ".ra", ".sd2", ".shn", ".sud", ".tak",
    ".tta", ".voc", ".vox", ".weba", ".webm", ".wmv",
})  # fmt: skip
"""Suffixes, in lower case, of files that may hold sound and are not read: they are counted and named."""
SYSTEM_FOLDERS = frozenset({"$recycle.bin", "system volume information", "lost+found"})
"""Folders that operating systems leave on cards."""
NAMELESS_FOLDERS = frozenset({"audio", "data", "flac", "raw", "recordings", "sounds", "wav"})
"""Folders whose names, in lower case, say nothing about a recorder."""

UNFINISHED = "data"
"""Name of the file that a Frontier Labs recorder is writing; it stays when the power fails."""
UNFINISHED_HEADS = frozenset({b"fLaC", b"RIFF", b"\0\0\0\0", b""})
"""First bytes of such a file; others of that name are no sound."""

_DATE_FOLDER = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[_ T-].*)?")


@dataclass
class PassedOver:
    """Files and folders that may hold recordings and were not read.

    Attributes
    ----------
    links
        Links to folders, with what they point to.
    unlisted
        Folders that cannot be listed, with the reason.
    suffixes
        Files of :data:`OTHER_SUFFIXES`, counted by suffix.
    """

    links: dict[str, str] = field(default_factory=dict)
    unlisted: dict[str, str] = field(default_factory=dict)
    suffixes: Counter[str] = field(default_factory=Counter)

    def count(self, names: Iterable[str]) -> None:
        """Count the files that may hold sound among names."""
        self.suffixes.update(suffix for suffix in map(_suffix, names) if suffix in OTHER_SUFFIXES)

    def messages(self) -> Iterator[str]:
        """Yield a line for each kind of thing that was passed over."""
        if self.links:
            shown = _shown([f"{link} -> {target}" for link, target in sorted(self.links.items())])
            what = "1 link to a folder is" if len(self.links) == 1 else f"{len(self.links)} links to folders are"
            yield f"{what} not followed: {shown}. Name a linked folder itself to list it."
        if self.unlisted:
            shown = _shown([f"{folder} ({reason})" for folder, reason in sorted(self.unlisted.items())])
            what = "1 folder cannot" if len(self.unlisted) == 1 else f"{len(self.unlisted)} folders cannot"
            yield f"{what} be listed: {shown}. Make them readable and type the same command again."
        if self.suffixes:
            shown = ", ".join(f"{n} {suffix}" for suffix, n in sorted(self.suffixes.items()))
            yield f"files that may hold sound and are not read: {shown}. Convert them to WAV or FLAC to list them."


@dataclass(frozen=True)
class Listing:
    """The recordings below folders, the files that say something about them, and what was passed over."""

    recordings: list[Path]
    sidecars: list[Path]
    passed: PassedOver


def find_files(given: Sequence[Path]) -> Listing:
    """Return all recordings below folders, and the files that say something about them, sorted by path.

    Parameters
    ----------
    given
        Folders, or single files. Files count by their suffix, one of :data:`AUDIO_SUFFIXES`, or as
        :data:`UNFINISHED`; a name that starts with a dot is hidden. Links to folders are not followed, unless they are
        named here; they and folders that cannot be listed are in :class:`PassedOver`.

    Returns
    -------
    Listing
        Absolute paths, each once.

    Raises
    ------
    InputError
        If one of them does not exist or holds no recording; the message names them all.
    """
    found: dict[str, Path] = {}
    beside: dict[str, Path] = {}
    passed = PassedOver()
    problems: list[str] = []
    for folder in given:
        if folder.is_file():
            found[str(absolute(folder))] = absolute(folder)
            continue
        if not folder.is_dir():
            problems.append(f"{folder}: expected a folder of recordings, found nothing there.")
            continue
        names = list(_walk(folder, passed))
        below = [path for path in names if _is_recording(path)]
        found |= {str(path): path for path in below}
        beside |= {str(path): path for path in names if is_sidecar(path.name)}
        passed.count(path.name for path in names)
        if not below:
            problems.append(nothing_found(str(folder), names))
    if problems:
        raise InputError("\n".join([*problems, *passed.messages()]))
    return Listing([found[path] for path in sorted(found)], [beside[path] for path in sorted(beside)], passed)


def nothing_found(folder: str, others: Iterable[PurePath]) -> str:
    """Describe the files of a folder without recordings."""
    suffixes = Counter(_suffix(path.name) or "without a suffix" for path in others)
    listed = ", ".join(f"{n} {suffix}" for suffix, n in sorted(suffixes.items())) or "no files"
    return (
        f"{folder}: expected recordings (names ending in {' '.join(AUDIO_SUFFIXES)}, in any case), "
        f"found {listed}. Name the folder that holds them."
    )


def is_hidden(path: PurePath) -> bool:
    """Return whether a file, or a folder in its path, is hidden or one that operating systems leave."""
    return any(part.startswith(".") or part.lower() in SYSTEM_FOLDERS for part in path.parts)


def has_audio_suffix(name: str) -> bool:
    """Return whether a name ends as a recording's does."""
    return _suffix(name) in AUDIO_SUFFIXES


def parents_of(files: Iterable[PurePath]) -> list[PurePath]:
    """Return the folder of each file; files of one folder share one object, which is hashed and compared in no time."""
    known: dict[str, PurePath] = {}
    folders = []
    for file in files:
        key = os.path.dirname(str(file))  # noqa: PTH120 (a path made for each file takes twice as long)
        folders.append(known.get(key) or known.setdefault(key, file.parent))
    return folders


def as_text(name: str) -> str:
    """Return a name as text: bytes that are no UTF-8 are written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def absolute(path: Path) -> Path:
    """Return a path without ``.`` and ``..``; links stay, because their names may be the recorders'."""
    return Path(os.path.normpath(path.absolute()))


def _walk(top: Path, passed: PassedOver) -> Iterator[Path]:
    """Yield all files below a folder that are not hidden; note links to folders, and folders that cannot be listed."""

    def note(error: OSError) -> None:
        passed.unlisted[as_text(str(error.filename))] = error.strerror or str(error)

    for folder, folders, names in os.walk(absolute(top), onerror=note):
        folders[:] = [name for name in folders if not is_hidden(PurePath(name))]
        for path in (Path(folder, name) for name in folders):
            if path.is_symlink():
                passed.links[as_text(str(path))] = as_text(str(path.readlink()))
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _shown(texts: Sequence[str], most: int = 8) -> str:
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _is_recording(path: Path) -> bool:
    if path.name != UNFINISHED:
        return has_audio_suffix(path.name)
    return begins_as(LocalFileSystem(), str(path), as_text(str(path)), UNFINISHED_HEADS)


def _suffix(name: str) -> str:
    stem, dot, suffix = name.lower().rpartition(".")
    return dot + suffix if stem else ""


def find_home(folder: PurePath, stops: Collection[PurePath] = ()) -> PurePath:
    """Return the folder that stands for the recorder of the files in a folder.

    Folders of a date (``20210622``, ``20210622_STUDY``, ``2021-06-22``) are passed over towards the root, and so are
    :data:`NAMELESS_FOLDERS` that are not among ``stops``, the folders that the user named.
    """
    home = folder
    while home.name:
        is_nameless = home.name.lower() in NAMELESS_FOLDERS and home not in stops
        if not (is_nameless or folder_date(home)):
            return home
        home = home.parent
    return folder


def folder_date(folder: PurePath) -> date | None:
    """Return the date that a folder is named after, such as ``20210622_STUDY``."""
    match = _DATE_FOLDER.fullmatch(folder.name)
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None
